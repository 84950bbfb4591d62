"""One round for the jobs that wait: who starts now and where, who holds a reserved start, who waits on.

In the order of standing each job takes its best free option; the first that finds none gets a reserved start, which
the later ones may not delay. Then all who start are assigned anew together, where that costs less: the same jobs, the
same limits, another distribution. At last those who were left out are asked once more what is free for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from scheduler.domain.assignment import Assignment, Method, Problem, assign
from scheduler.domain.backfill import Reservation, Shelf, kept_for, may_start, reserve_start
from scheduler.domain.options import Option
from scheduler.domain.room import Headroom, Kept

MOST_COLUMNS = 40
"""Options of one job that the assignment weighs, its best ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job that waits, with all that it could run on, the best first."""

    job_id: UUID
    tenant_id: UUID
    priority: int
    options: Sequence[Option]
    free_to_move: bool
    """False where only its own best will do: its objective is not the cost."""

    @property
    def gpu_seconds(self) -> float:
        """What it would use on its best option."""
        return self.options[0].gpu_count * self.options[0].use_p50_s if self.options else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """What a round came to."""

    starts: Mapping[UUID, Option]
    """Who starts now, and on what."""
    reserved: Reservation | None
    kept: Mapping[UUID, Kept]
    """What the reserved start leaves to whoever is decided next."""
    solved: Assignment | None
    """None where there was nothing to choose."""
    greedy_micros: int
    """What the same jobs would have cost one by one."""

    def held_for(self, job_id: UUID) -> Reservation | None:
        """The reserved start, if it is this job's."""
        return self.reserved if self.reserved is not None and self.reserved.job_id == job_id else None


@dataclass(slots=True)
class _Round:
    shelves: dict[UUID, Shelf]
    headroom: Mapping[UUID, Headroom]
    gpus: dict[UUID, int]
    micros: dict[UUID, int]
    held: Reservation | None = None

    def first_possible(self, job: Waiting) -> Option | None:
        return next((option for option in job.options if self.possible(job, option)), None)

    def possible(self, job: Waiting, option: Option) -> bool:
        shelf = self.shelves.get(option.offer_id)
        return shelf is not None and self.within_quota(job, option) and may_start(option, shelf, self.held)

    def within_quota(self, job: Waiting, option: Option) -> bool:
        left = self.headroom.get(job.tenant_id, Headroom())
        gpus, micros = self.gpus.get(job.tenant_id, 0), self.micros.get(job.tenant_id, 0)
        return (left.gpus is None or gpus + option.gpu_count <= left.gpus) and (
            left.micros is None or micros + option.p90_micros <= left.micros
        )

    def start(self, job: Waiting, option: Option) -> None:
        self.shelves[option.offer_id].take(option.gpu_count, option.use_p90_s)
        self.gpus[job.tenant_id] = self.gpus.get(job.tenant_id, 0) + option.gpu_count
        self.micros[job.tenant_id] = self.micros.get(job.tenant_id, 0) + option.p90_micros

    def block(self, job: Waiting) -> None:
        """The most urgent job that does not fit gets the reserved start; one that its own quota stops does not."""
        if self.held is None:
            allowed = [option for option in job.options if self.within_quota(job, option)]
            self.held = reserve_start(job.job_id, allowed, self.shelves)


def arrange(
    queue: Sequence[Waiting],
    shelves: Mapping[UUID, Shelf],
    headroom: Mapping[UUID, Headroom],
    *,
    seconds: float,
) -> Arrangement:
    """Decide a round for a queue in the order of standing; about `seconds` may go into the assignment."""
    one_by_one = _fresh(shelves, headroom)
    greedy: dict[UUID, Option] = {}
    for job in queue:
        option = one_by_one.first_possible(job)
        if option is None:
            one_by_one.block(job)
        else:
            greedy[job.job_id] = option
            one_by_one.start(job, option)
    movers = [job for job in queue if job.job_id in greedy]
    solved = _assign(movers, greedy, shelves, headroom, one_by_one.held, seconds) if len(movers) > 1 else None
    starts = dict(greedy) if solved is None else solved[1]
    final = _fresh(shelves, headroom)
    for job in movers:
        final.start(job, starts[job.job_id])
    final.held = one_by_one.held
    for job in queue:  # moving some may have made room for others
        if job.job_id in starts or (final.held is not None and job.job_id == final.held.job_id):
            continue
        option = final.first_possible(job)
        if option is not None:
            starts[job.job_id] = option
            final.start(job, option)
    kept = {} if final.held is None else {
        final.held.option.offer_id: kept_for(final.held, final.shelves[final.held.option.offer_id])
    }  # fmt: skip
    return Arrangement(
        starts=starts, reserved=final.held, kept=kept, solved=None if solved is None else solved[0],
        greedy_micros=sum(option.expected_micros for option in greedy.values()),
    )  # fmt: skip


def _fresh(shelves: Mapping[UUID, Shelf], headroom: Mapping[UUID, Headroom]) -> _Round:
    copies = {offer: Shelf(shelf.free, list(shelf.releases)) for offer, shelf in shelves.items()}
    return _Round(copies, headroom, {}, {})


def _assign(
    movers: Sequence[Waiting],
    greedy: Mapping[UUID, Option],
    shelves: Mapping[UUID, Shelf],
    headroom: Mapping[UUID, Headroom],
    held: Reservation | None,
    seconds: float,
) -> tuple[Assignment, dict[UUID, Option]] | None:
    """The same jobs, assigned together; None where nobody had a choice."""
    columns: list[tuple[int, Option]] = []
    chosen: list[int] = []
    for place, job in enumerate(movers):
        own = greedy[job.job_id]
        others = job.options[:MOST_COLUMNS] if job.free_to_move else ()
        offered = [own, *(option for option in others if option is not own and option.offer_id in shelves)]
        chosen.append(len(columns))
        columns += [(place, option) for option in offered]
    if len(columns) == len(movers):
        return None
    limits = _Limits(shelves, headroom, held)
    for column, (place, option) in enumerate(columns):
        limits.use(column, movers[place].tenant_id, option)
    problem = Problem(
        job=np.array([place for place, _ in columns], dtype=np.int64),
        cost=np.array([option.expected_micros for _, option in columns], dtype=np.int64),
        use_column=np.array(limits.columns, dtype=np.int64),
        use_limit=np.array(limits.rows, dtype=np.int64),
        use_amount=np.array(limits.amounts, dtype=np.int64),
        limit=np.array(limits.limit, dtype=np.int64),
    )
    solved = assign(problem, np.array(chosen, dtype=np.int64), seconds=seconds)
    return solved, {movers[columns[c][0]].job_id: columns[c][1] for c in solved.columns.tolist()}


class _Limits:
    """Rows of the assignment: what is free of each offer, what the reserved start leaves, what quotas leave."""

    def __init__(
        self, shelves: Mapping[UUID, Shelf], headroom: Mapping[UUID, Headroom], held: Reservation | None
    ) -> None:
        self._shelves, self._headroom, self._held = shelves, headroom, held
        self._row_of: dict[tuple[str, UUID], int] = {}
        self.limit: list[int] = []
        self.columns: list[int] = []
        self.rows: list[int] = []
        self.amounts: list[int] = []

    def use(self, column: int, tenant_id: UUID, option: Option) -> None:
        """What a column takes of each limit that it meets."""
        shelf, held, left = self._shelves[option.offer_id], self._held, self._headroom.get(tenant_id, Headroom())
        self._take(column, ("free", option.offer_id), shelf.free, option.gpu_count)
        if held is not None and held.option.offer_id == option.offer_id and option.use_p90_s > held.start_s:
            spare = shelf.free_at(held.start_s) - held.option.gpu_count
            self._take(column, ("spare", option.offer_id), spare, option.gpu_count)
        if left.gpus is not None:
            self._take(column, ("gpus", tenant_id), left.gpus, option.gpu_count)
        if left.micros is not None:
            self._take(column, ("micros", tenant_id), left.micros, option.p90_micros)

    def _take(self, column: int, name: tuple[str, UUID], limit: int, amount: int) -> None:
        if name not in self._row_of:
            self._row_of[name] = len(self.limit)
            self.limit.append(limit)
        self.columns.append(column)
        self.rows.append(self._row_of[name])
        self.amounts.append(amount)


def record(arrangement: Arrangement, jobs: int, took_s: float) -> dict[str, object]:
    """What a decision keeps of the round that it was part of. Costs in micro-dollars."""
    solved, held = arrangement.solved, arrangement.reserved
    return {
        "waiting": jobs,
        "started": len(arrangement.starts),
        "method": str(Method.GREEDY if solved is None else solved.method),
        "cost_micros": arrangement.greedy_micros if solved is None else solved.cost_micros,
        "greedy_micros": arrangement.greedy_micros,
        "bound_micros": None if solved is None else solved.bound_micros,
        "gap": None if solved is None else round(solved.gap, 6),
        "seconds": round(took_s, 3),
        "reserved_job": None if held is None else str(held.job_id),
        "reserved_in_s": None if held is None else round(held.start_s, 1),
    }
