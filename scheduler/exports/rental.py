"""A placement and its command in words that any engine has: what to rent, for how much at most, and what to run."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from predictor.hardware import GpuCatalogue
from scheduler.domain.decision import Judged
from scheduler.domain.errors import NothingToExport
from scheduler.domain.runtime_limit import RuntimeLimit, runtime_limit
from scheduler.domain.spec import JobSpec, beyond_plain

_SECRET = re.compile(r"(?i)(^|_)(token|secret|password|passwd|credentials?|api_?key|access_?key|private_?key)(_|$)")
"""Names of variables whose values have no place in a file that people keep beside their code."""
_MICROS_PER_CENT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rental:
    """What to rent and run. Money is per machine and hour."""

    name: str
    provider: str
    region: str
    instance_type: str | None
    """Where a whole machine is taken: of several sizes that cost the same a list names only the largest."""
    gpu_type: str
    gpu_vendor: str
    gpu_gb: float
    """What a seller writes of one card's memory."""
    gpus_per_node: int
    nodes: int
    spot: bool
    cents_per_node_hour: int
    limit_s: int | None
    image: str | None
    command: tuple[str, ...]
    working_dir: str | None
    env: Mapping[str, str]
    secrets: tuple[str, ...]
    """Variables whose values whoever launches it has to give."""

    @property
    def usd_per_node_hour(self) -> float:
        """As the engines want it, in their files only."""
        return self.cents_per_node_hour / 100

    def command_line(self, *before: str) -> str:
        """The command for the shell that both engines put in front of it, every word quoted, nothing expanded; and
        what is to run it, if anything."""
        line = f"exec {shlex.join([*before, *self.command])}"
        return line if self.working_dir is None else f"cd {shlex.quote(self.working_dir)} && {line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What of a placement a rental is made of."""

    provider: str
    region: str
    instance_type: str
    node_gpus: int
    """Of a whole machine."""
    gpu_type: str
    gpu_count: int
    spot: bool
    micros_per_gpu_hour: int


def rental_of(spec: JobSpec, chosen: Judged, gpus: GpuCatalogue) -> Rental:
    """The rental that a candidate is; NothingToExport where it is none that an engine could make."""
    offer = chosen.offer
    place = Place(
        provider=offer.provider, region=offer.region, instance_type=offer.instance_type, node_gpus=offer.node_gpus,
        gpu_type=chosen.variant_assumed or offer.gpu_type, gpu_count=chosen.gpu_count, spot=chosen.spot,
        micros_per_gpu_hour=chosen.micros_per_gpu_hour,
    )  # fmt: skip
    limit = runtime_limit(spec.constraints, {} if chosen.forecast is None else chosen.forecast.to_json())
    return rent(spec, place, limit, gpus)


def rent(spec: JobSpec, place: Place, limit: RuntimeLimit | None, gpus: GpuCatalogue) -> Rental:
    """The rental that a placement is; NothingToExport where it is none that an engine could make."""
    run = spec.run
    if run is None:
        raise NothingToExport("the job spec has no run.command, so there is nothing to write down")
    if more := beyond_plain(run):
        raise NothingToExport(f"a task file cannot carry out run.{more[0]}; leave it out")
    gpu = gpus.variants(place.gpu_type)[0]
    if not gpu.is_accelerator or gpu.slice_of is not None:
        raise NothingToExport(f"{place.gpu_type} is no whole GPU; constrain gpu_types")
    nodes = max(1, place.gpu_count // place.node_gpus)
    per_node = place.gpu_count // nodes
    secrets = tuple(name for name in run.env if _SECRET.search(name))
    return Rental(
        name=_name(spec.name),
        provider=place.provider,
        region=place.region,
        instance_type=place.instance_type if per_node == place.node_gpus else None,
        gpu_type=gpu.name,
        gpu_vendor=gpu.vendor.casefold(),
        gpu_gb=gpu.memory_gb_nominal,
        gpus_per_node=per_node,
        nodes=nodes,
        spot=place.spot,
        cents_per_node_hour=-(-place.micros_per_gpu_hour * per_node // _MICROS_PER_CENT),
        limit_s=None if limit is None else math.ceil(limit.seconds),
        image=run.image,
        command=tuple(run.command),
        working_dir=run.working_dir,
        env={name: value for name, value in run.env.items() if name not in secrets},
        secrets=secrets,
    )


def _name(name: str) -> str:
    """A name that both engines take: lower case, beginning with a letter, of 41 characters at most."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")
    named = plain if plain[:1].isalpha() and len(plain) > 1 else f"job-{plain}".rstrip("-")
    return named[:41].rstrip("-")
