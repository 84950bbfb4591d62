"""The nodes of a cluster as offers: a partition is a region, a machine's GRES or its processors an instance type."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from predictor.hardware import CPU, GpuCatalogue
from scheduler.domain.card_names import card_of_driver
from scheduler.domain.offers import Offer
from scheduler.services.seed import parts_of
from scheduler.storage.ids import new_id

SINFO = ("sinfo", "--Node", "--noheader", "--format=%R|%N|%G|%c|%T")
BACKEND = "slurm"

_GPUS = re.compile(r"gpu(?::(\w[\w.-]*))?:(\d+)(?:\(.*\))?")
_FLAGS = "*~#!%$@^-+"
"""What `sinfo` puts behind a state: not responding, saving power, to be rebooted …"""
_NOT_RESPONDING = "*"
_TAKES_JOBS = frozenset({"idle", "mixed", "allocated", "completing", "reserved", "planned"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Nodes of a partition that are alike."""

    partition: str
    gres: str | None
    """The GRES type as the cluster calls it, empty where it has no type; None on nodes without GPUs."""
    count: int
    """Of GPUs, or of processors, on one node."""

    @property
    def instance_type(self) -> str:
        """As `request_of` reads it."""
        if self.gres is None:
            return f"cpu:{self.count}"
        return f"gpu:{self.gres}:{self.count}" if self.gres else f"gpu:{self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """What `sinfo` has said."""

    of_kind: Mapping[Kind, int]
    """Nodes that take jobs now; 0 where all of a kind are down."""
    shared: tuple[str, ...]
    """Nodes that stand in several partitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What no cluster says of itself."""

    provider: str
    micros_per_gpu_hour: int
    country: str | None
    day: str
    max_nodes: int = 1
    """That one job may have; they are whole ones then."""
    interconnect_gbps: float | None = None
    """Between them; None where nobody has said."""


def read_nodes(text: str, partitions: Sequence[str] = ()) -> Nodes:
    """The kinds of nodes in some partitions, or in all."""
    found: Counter[Kind] = Counter()
    where: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line.count("|") != SINFO[-1].count("|"):
            continue
        partition, node, gres, cpus, state = (part.strip() for part in line.split("|"))
        if partitions and partition not in partitions:
            continue
        up = not state.endswith(_NOT_RESPONDING) and state.rstrip(_FLAGS) in _TAKES_JOBS
        where.setdefault(node, set()).add(partition)
        for kind in _kinds(partition, gres, cpus):
            found[kind] += up
    return Nodes(of_kind=dict(found), shared=tuple(sorted(node for node, names in where.items() if len(names) > 1)))


def _kinds(partition: str, gres: str, cpus: str) -> list[Kind]:
    gpus = [match for entry in _entries(gres) if (match := _GPUS.fullmatch(entry))]
    if gpus:
        return [Kind(partition=partition, gres=one[1] or "", count=int(one[2])) for one in gpus if int(one[2])]
    return [Kind(partition=partition, gres=None, count=int(cpus))] if cpus.isdigit() and int(cpus) else []


def _entries(gres: str) -> list[str]:
    """`gpu:a100:4(S:0,1),shard:8` in its parts; a comma in parentheses parts nothing."""
    return re.split(r",(?![^(]*\))", gres)


def offers_of(
    nodes: Nodes, terms: Terms, gpus: GpuCatalogue, names: Mapping[str, str]
) -> tuple[list[Offer], tuple[str, ...]]:
    """Offers, and the GRES types that no GPU type is known for. `names` says what some of them are."""
    offers: dict[tuple[str, str], Offer] = {}
    unknown: set[str] = set()
    for kind, count in nodes.of_kind.items():
        gpu_type = CPU if kind.gres is None else names.get(kind.gres) or card_of_driver(kind.gres, gpus)
        if gpu_type is None:
            unknown.add(kind.gres or "(no type)")
            continue
        offers[kind.partition, kind.instance_type] = _offer(kind, count, gpu_type, terms)
    return list(offers.values()), tuple(sorted(unknown))


def _offer(kind: Kind, nodes: int, gpu_type: str, terms: Terms) -> Offer:
    several = terms.max_nodes > 1 and kind.gres is not None
    return Offer(
        id=new_id(), provider=terms.provider, region=kind.partition, country=terms.country, jurisdiction=None,
        provider_hq=None, instance_type=kind.instance_type, gpu_type=gpu_type, node_gpus=kind.count,
        sold_gpus=parts_of(kind.count), max_nodes=max(1, min(terms.max_nodes, nodes)) if several else 1,
        capacity_gpus=nodes * kind.count,
        on_demand_micros_per_gpu_hour=terms.micros_per_gpu_hour, spot_micros_per_gpu_hour=None, price_date=terms.day,
        billing_increment_s=1, minimum_s=0, provision_s=0.0,
        interconnect_gbps=terms.interconnect_gbps if several else None, tenancy="dedicated",
        backend=BACKEND, assumed=(), source="sinfo",
    )  # fmt: skip
