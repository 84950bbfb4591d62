"""What providers sell: a GPU type in a region, at a price, with capacity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from uuid import UUID

from predictor.layout import MAX_GPUS

CONTAINER_BACKENDS = frozenset({"dstack", "kubernetes"})
"""Execution backends that run nothing without `run.image`."""

PLAIN_BACKENDS = frozenset({"dstack", "kubernetes"})
"""Those that carry out a command and its image and environment, and beside them no more than what is named here:"""
BESIDE: Mapping[str, frozenset[str]] = {"kubernetes": frozenset({"secrets"})}
FILES = frozenset({"inputs", "outputs"})
STAGING = {"kubernetes": "PYTHIA_KUBERNETES_STAGING_IMAGE"}
"""The setting with which one of them carries out `FILES` as well."""

Tenancy = Literal["shared", "dedicated", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One GPU type of one provider in one region. Prices are micro-dollars per GPU-hour, times are seconds."""

    id: UUID
    provider: str
    region: str
    """Empty where the price list does not say."""
    country: str | None
    """ISO 3166-1 alpha-2, where the machine stands."""
    jurisdiction: str | None
    """What the price list itself says (`EU`, `EEA`, `other`); used only where the country is unknown."""
    provider_hq: str | None
    """ISO 3166-1 alpha-2, where the company sits."""
    instance_type: str
    gpu_type: str
    """A GPU type, or a bare name (`H100`) that stands for several variants."""
    node_gpus: int
    sold_gpus: tuple[int, ...]
    """GPU counts of one machine that are sold, ascending; several machines are always whole ones."""
    max_nodes: int
    capacity_gpus: int
    reserved_gpus: int = 0
    on_demand_micros_per_gpu_hour: int | None
    spot_micros_per_gpu_hour: int | None
    price_date: str
    billing_increment_s: int
    minimum_s: int
    provision_s: float
    interconnect_gbps: float | None
    """Between machines; None where it is not known."""
    tenancy: Tenancy
    backend: str
    """Which execution backend runs jobs placed here."""
    assumed: tuple[str, ...] = ()
    """Names of the fields that no price list states."""
    source: str
    egress_micros_per_gib: int | None = None
    """For each GiB that leaves the provider's network; None where no price list says, which is taken as nothing."""

    @property
    def free_gpus(self) -> int:
        """GPUs that nobody holds; never negative, although capacity may be lowered below what is reserved."""
        return max(0, self.capacity_gpus - self.reserved_gpus)

    def counts(self) -> tuple[int, ...]:
        """Every GPU count that can be bought and laid out: parts of one machine as sold, then whole machines."""
        return _counts(self.sold_gpus, self.node_gpus, self.max_nodes)


@lru_cache(maxsize=4096)
def _counts(sold_gpus: tuple[int, ...], node_gpus: int, max_nodes: int) -> tuple[int, ...]:
    # thousands of offers share a few dozen machines
    parts = tuple(count for count in sold_gpus if count <= MAX_GPUS)
    return parts + tuple(node_gpus * nodes for nodes in range(2, min(max_nodes, MAX_GPUS // node_gpus) + 1))
