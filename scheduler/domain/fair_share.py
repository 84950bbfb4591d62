"""Who is next: priority first, then the tenant that has used least of its share, then who came first."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import UUID

from scheduler.domain.room import Headroom

WINDOW_S = 24 * 3600.0
"""Use is looked back on for a day: long enough to even out, short enough that nobody pays for last month."""


class Queued(Protocol):
    """What a place in the queue depends on."""

    @property
    def job_id(self) -> UUID: ...
    @property
    def tenant_id(self) -> UUID: ...
    @property
    def priority(self) -> int: ...
    @property
    def gpu_seconds(self) -> float:
        """What it would use on its best option."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenancy:
    """A tenant's share and quotas, and what it has used."""

    tenant_id: UUID
    share: float
    max_gpus: int | None
    max_micros_per_month: int | None
    gpu_seconds: float
    """Held over the last `WINDOW_S`."""
    gpus: int
    """Held now."""
    month_micros: int
    """Spent this month, with what its live attempts may yet cost."""

    @property
    def headroom(self) -> Headroom:
        """What is left of the quotas."""
        return headroom(self.max_gpus, self.max_micros_per_month, gpus=self.gpus, month_micros=self.month_micros)

    @property
    def use(self) -> float:
        """What it has used for its share: the less, the sooner it is next."""
        return self.gpu_seconds / self.share


def headroom(max_gpus: int | None, max_micros_per_month: int | None, *, gpus: int, month_micros: int) -> Headroom:
    """What is left of quotas; a quota may have been lowered below what is held."""
    return Headroom(
        gpus=None if max_gpus is None else max(0, max_gpus - gpus),
        most_gpus=max_gpus,
        micros=None if max_micros_per_month is None else max(0, max_micros_per_month - month_micros),
        most_micros=max_micros_per_month,
    )


Q = TypeVar("Q", bound=Queued)


def in_standing_order(jobs: Iterable[Q], tenants: Mapping[UUID, Tenancy]) -> list[Q]:
    """The queue, first to last.

    Within a priority the tenant with the least use per share is next, and its next job is counted as used at once: a
    tenant with a thousand jobs does not come a thousand times before one with a single job.
    """
    levels: dict[int, dict[UUID, list[Q]]] = defaultdict(lambda: defaultdict(list))
    for job in jobs:
        levels[job.priority][job.tenant_id].append(job)
    used = {tenant: standing.gpu_seconds for tenant, standing in tenants.items()}
    order: list[Q] = []
    for priority in sorted(levels, reverse=True):
        order += _take_turns(levels[priority], tenants, used)
    return order


def _take_turns(
    by_tenant: Mapping[UUID, Sequence[Q]], tenants: Mapping[UUID, Tenancy], used: dict[UUID, float]
) -> list[Q]:
    queues = {tenant: sorted(jobs, key=lambda job: job.job_id, reverse=True) for tenant, jobs in by_tenant.items()}

    def turn(tenant: UUID) -> tuple[float, UUID]:
        share = tenants[tenant].share if tenant in tenants else 1.0
        # of equal use, who came first
        return used.get(tenant, 0.0) / share, queues[tenant][-1].job_id

    heap = [(*turn(tenant), tenant) for tenant in queues]
    heapq.heapify(heap)
    order: list[Q] = []
    while heap:
        *_, tenant = heapq.heappop(heap)
        job = queues[tenant].pop()
        order.append(job)
        used[tenant] = used.get(tenant, 0.0) + job.gpu_seconds
        if queues[tenant]:
            heapq.heappush(heap, (*turn(tenant), tenant))
    return order
