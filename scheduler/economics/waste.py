"""What was paid for and not used, and why: the cost of ended attempts and idle machines, taken apart.

Every paid dollar is counted once at most, so the causes add up. Of a completed attempt's bill the seconds before and
after its work are its cold start; of the rest, whatever the cheapest candidate that would have held the measured
peak would not have cost was not needed. Nothing of a bill whose work was not kept was of use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from scheduler.domain.states import Outcome

K = TypeVar("K")

MOST_JOBS = 10


class Cause(StrEnum):
    """Why something that was paid for was of no use."""

    TOO_LARGE = "too_large_card"
    """Another card, no fewer of them, would have done for less."""
    TOO_MANY = "too_many_cards"
    """Fewer cards would have done for less."""
    IDLE = "idle_machine"
    """It waited for a job."""
    OUT_OF_MEMORY = "out_of_memory"
    """The attempt ran out of memory, and all of it had to be done again."""
    COLD_START = "cold_start"
    """From the order of the machine until the work began, and what billing rounds up."""
    NOT_KEPT = "not_kept"
    """The attempt failed, was stopped, or lost its machine."""
    HEADROOM = "headroom"
    """Memory above the peak where nothing cheaper would have held it: no dollars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Better:
    """The cheapest candidate of the decision on which the measured peak would have fit, cheaper than what was paid."""

    gpu_type: str
    gpu_count: int
    provider: str
    micros: int
    """Of the whole use, its run drawn out by as much as the run that was measured."""
    before_s: float
    """Of this use, until its work begins."""
    run_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """An ended attempt, as the database has it."""

    tenant: str
    user: str | None
    job_id: UUID
    job: str
    gpu_type: str
    gpu_count: int
    outcome: Outcome
    micros: int
    billed_s: int
    runtime_s: float | None
    """Of its work; of its command where the work's is not known."""
    usable_gib: float | None
    """Of one GPU."""
    peak_gib: float | None
    """Of the fullest GPU; None where nothing measured the need, or others had the rest."""
    better: Better | None = None
    held_s: float | None = None
    """Of a machine that was shared, with others or alone; None: as long as was billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Some time of machines of one type that waited."""

    tenant: str
    gpu_type: str
    gpu_count: int
    micros: int
    billed_s: int
    usable_gib: float | None = None


@dataclass(slots=True, kw_only=True)
class Sums:
    """What was paid, and what of it was of no use."""

    paid_micros: int = 0
    paid_gpu_hours: float = 0.0
    micros: int = 0
    gpu_hours: float = 0.0
    gib_hours: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    cause: Cause
    micros: int
    gpu_hours: float
    gib_hours: float


@dataclass(slots=True, kw_only=True)
class JobWaste:
    """A job with what it wasted."""

    job_id: UUID
    job: str
    tenant: str
    user: str | None
    sums: Sums = field(default_factory=Sums)
    by_cause: dict[Cause, int] = field(default_factory=dict)
    """Micro-dollars."""
    saving_micros: int = 0
    gpu_type: str = ""
    gpu_count: int = 0
    """Of its last attempt."""
    better: Better | None = None

    @property
    def cause(self) -> Cause:
        """The dearest."""
        return max(self.by_cause, key=lambda cause: self.by_cause[cause])


@dataclass(frozen=True, slots=True, kw_only=True)
class Waste:
    """All of it; groups in the order of the dollars that were of no use."""

    total: Sums
    by_cause: tuple[tuple[str, Sums], ...]
    by_tenant: tuple[tuple[str, Sums], ...]
    by_user: tuple[tuple[str | None, Sums], ...]
    """None: nobody was named, or a machine was idle."""
    by_gpu_type: tuple[tuple[str, Sums], ...]
    saving_micros: int
    """That right-sizing would have saved: the bills of completed attempts above those of the better candidates."""
    right_sized: int
    """Attempts that it would have moved."""
    jobs: tuple[JobWaste, ...]
    """The ten that wasted most."""


def find_waste(uses: Sequence[Use], idle: Sequence[Idle]) -> Waste:
    """Take bills apart and add them up."""
    total = Sums()
    causes: dict[str, Sums] = {}
    tenants: dict[str, Sums] = {}
    users: dict[str | None, Sums] = {}
    types: dict[str, Sums] = {}
    jobs: dict[UUID, JobWaste] = {}
    for use in uses:
        job = jobs.setdefault(use.job_id, JobWaste(job_id=use.job_id, job=use.job, tenant=use.tenant, user=use.user))
        groups = [total, job.sums, _of(tenants, use.tenant), _of(users, use.user), _of(types, use.gpu_type)]
        _pay(groups, use)
        for part in _parts(use):
            _add([*groups, _of(causes, part.cause)], part)
            job.by_cause[part.cause] = job.by_cause.get(part.cause, 0) + part.micros
        job.gpu_type, job.gpu_count = use.gpu_type, use.gpu_count
        if use.better is not None:
            job.saving_micros += use.micros - use.better.micros
            job.better = use.better
    for one in idle:
        groups = [total, _of(tenants, one.tenant), _of(users, None), _of(types, one.gpu_type)]
        _pay(groups, one)
        _add([*groups, _of(causes, Cause.IDLE)], _whole(Cause.IDLE, one))
    wasteful = sorted((job for job in jobs.values() if job.sums.micros > 0), key=lambda job: -job.sums.micros)
    return Waste(
        total=total,
        by_cause=_ordered(causes),
        by_tenant=_ordered(tenants),
        by_user=_ordered(users),
        by_gpu_type=_ordered(types),
        saving_micros=sum(job.saving_micros for job in jobs.values()),
        right_sized=sum(use.better is not None for use in uses),
        jobs=tuple(wasteful[:MOST_JOBS]),
    )


def _parts(use: Use) -> list[_Part]:
    if use.outcome is Outcome.OUT_OF_MEMORY:
        return [_whole(Cause.OUT_OF_MEMORY, use)]
    if use.outcome is not Outcome.COMPLETED:
        return [_whole(Cause.NOT_KEPT, use)]
    held_s = use.held_s or float(use.billed_s)
    # of a shared machine's seconds only some are billed: the same share of the start as of the run
    run_s = min(use.runtime_s or 0.0, held_s) * (use.billed_s / held_s) if held_s else 0.0
    before_s = use.billed_s - run_s
    cold = _share(use.micros, before_s / use.billed_s) if use.billed_s else 0
    start_hours, run_hours = use.gpu_count * before_s / 3600, use.gpu_count * run_s / 3600
    usable = use.usable_gib or 0.0
    spare = 0.0 if use.peak_gib is None else max(usable - use.peak_gib, 0.0)
    start = _Part(cause=Cause.COLD_START, micros=cold, gpu_hours=start_hours, gib_hours=start_hours * usable)
    better = use.better
    if better is None:
        return [start, _Part(cause=Cause.HEADROOM, micros=0, gpu_hours=0.0, gib_hours=run_hours * spare)]
    needed = _share(better.micros, better.run_s / (better.before_s + better.run_s))
    size = _Part(
        cause=Cause.TOO_MANY if better.gpu_count < use.gpu_count else Cause.TOO_LARGE,
        micros=max(use.micros - cold - needed, 0),
        # fewer cards run longer: what they would have used is not wasted
        gpu_hours=max(run_hours - better.gpu_count * better.run_s / 3600, 0.0),
        gib_hours=run_hours * spare,
    )
    return [start, size]


def _whole(cause: Cause, bill: Use | Idle) -> _Part:
    hours = bill.gpu_count * bill.billed_s / 3600
    return _Part(cause=cause, micros=bill.micros, gpu_hours=hours, gib_hours=hours * (bill.usable_gib or 0.0))


def _share(micros: int, share: float) -> int:
    return int((micros * Decimal(repr(share))).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def _of(groups: dict[K, Sums], name: K) -> Sums:
    return groups.setdefault(name, Sums())


def _pay(groups: Sequence[Sums], bill: Use | Idle) -> None:
    for sums in groups:
        sums.paid_micros += bill.micros
        sums.paid_gpu_hours += bill.gpu_count * bill.billed_s / 3600


def _add(groups: Sequence[Sums], part: _Part) -> None:
    for sums in groups:
        sums.micros += part.micros
        sums.gpu_hours += part.gpu_hours
        sums.gib_hours += part.gib_hours


def _ordered(groups: dict[K, Sums]) -> tuple[tuple[K, Sums], ...]:
    return tuple(sorted(groups.items(), key=lambda one: (-one[1].micros, -one[1].gib_hours, str(one[0] or ""))))
