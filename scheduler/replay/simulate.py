"""Play a trace under one policy: a discrete-event simulation of submissions, placements and ends.

Nothing here decides what is good: the policy weighs, the holdings say what is free, the domain says what a use costs.
Machines are given back the moment their work ends, and the jobs that wait for them are asked first.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scheduler.domain.arrays import Floats, Ints
from scheduler.domain.cost import OOM_SHARE
from scheduler.domain.settlement import bill
from scheduler.replay.attempts import Attempt, Journal
from scheduler.replay.market import Holdings
from scheduler.replay.menu import Judged, Rows
from scheduler.replay.policies import Policy, Weighed, expect, second_try, with_risk
from scheduler.replay.world import World

WINDOW_CELLS = 2_000_000
"""Jobs × rows that are weighed together: enough for arrays to pay, few enough for them to fit in memory."""

_MOMENT_S = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Jobs of one kind that were weighed together: `Weighed`, in hours."""

    rows: Rows
    terms: Ints
    hours: Floats
    """(jobs, rows), as are the others."""
    done_s: Floats | None
    lost_hours: Floats | None
    judged: Judged | None


class _Likely(NamedTuple):
    """What a job chooses if the cheapest lots on these terms are free when it comes."""

    row: int
    terms: int
    second: int
    """The terms of its second try, on which its first rests."""


class _Event(NamedTuple):
    """A machine falls free, or a job has waited in vain. Events of one time come in the order they were foreseen."""

    at_s: float
    number: int
    attempt: int | None
    """The attempt that ends."""
    job: int
    """Whose deadline is out of reach from now on, where no attempt ends."""


def replay(world: World, policy: Policy) -> Journal:
    """Place and end every job."""
    run = _Run(world, policy)
    for job, now in enumerate(world.jobs.submit_s.tolist()):
        run.play_until(now)
        run.submit(job, now)
    run.play_until(np.inf)
    if run.waiting:
        raise AssertionError(f"{len(run.waiting)} jobs wait although every machine is free")
    return run.journal


class _Run:
    def __init__(self, world: World, policy: Policy) -> None:
        self.journal = Journal()
        self.waiting: set[int] = set()
        self._world = world
        self._policy = policy
        self._holdings = Holdings(world.market)
        self._events: list[_Event] = []
        self._foreseen = 0
        self._queues: dict[int, list[int]] = {}
        """By terms the jobs that wait for a lot, the oldest first; one that has gone elsewhere is passed over."""
        self._weighed: dict[int, tuple[_Group, int]] = {}
        """Of each job that is not placed for good, its group and its place there."""
        self._likely: dict[int, _Likely] = {}
        self._crashes: dict[int, tuple[int, ...]] = {}
        self._weighed_until = 0
        self._window = max(1, WINDOW_CELLS // max(len(one.menu) for one in world.classes))
        self._cheapest: Floats = self._holdings.micros_per_hour.copy()

    def submit(self, job: int, now: float) -> None:
        if job >= self._weighed_until:
            self._weigh_window()
        likely = self._likely.pop(job, None)
        if likely and self._holdings.is_cheapest(likely.terms) and self._holdings.is_cheapest(likely.second):
            self._place(job, likely.row, likely.terms, now)
        else:
            self._decide(job, now)

    def play_until(self, now: float) -> None:
        while self._events and self._events[0].at_s <= now:
            event = heapq.heappop(self._events)
            if event.attempt is not None:
                self._end(self.journal.attempts[event.attempt], event.at_s)
            elif event.job in self.waiting:
                self._decide(event.job, event.at_s)

    def _weigh_window(self) -> None:
        jobs = self._world.jobs
        window = np.arange(self._weighed_until, min(self._weighed_until + self._window, len(jobs)))
        self._weighed_until = int(window[-1]) + 1
        alike = np.stack([jobs.kind[window], jobs.usual_count[window]], axis=1)
        for kind, count in np.unique(alike, axis=0).tolist():
            chosen = window[(alike == (kind, count)).all(axis=1)]
            self._foretell(chosen, self._keep(chosen, self._policy.weigh(self._world, kind, chosen)))

    def _keep(self, jobs: Rows, weighed: Weighed) -> _Group:
        if weighed.judged is not None and weighed.judged.unlikely:
            self.journal.unlikely.update(jobs.tolist())
        group = _Group(
            rows=weighed.rows,
            terms=weighed.terms,
            hours=np.broadcast_to(weighed.seconds / 3600.0, (len(jobs), len(weighed.rows))),
            # what will never end is never in time
            done_s=None if weighed.done_s is None else np.where(weighed.seconds == np.inf, np.inf, weighed.done_s),
            lost_hours=None if weighed.wasted_s is None else weighed.wasted_s / 3600.0,
            judged=weighed.judged,
        )
        self._weighed.update((job, (group, place)) for place, job in enumerate(jobs.tolist()))
        return group

    def _foretell(self, jobs: Rows, group: _Group) -> None:
        """Choose for all of them at once as if everything were free.

        What is held of a market only makes lots dearer, and no cost falls when a price rises: a choice stands if its
        own lots, and those of its second try, are still the cheapest when the job comes.
        """
        price = self._cheapest[group.terms]
        cost = price * group.hours
        if group.done_s is not None:
            left = (self._world.jobs.deadline_s - self._world.jobs.submit_s)[jobs]
            cost[group.done_s > left[:, None]] = np.inf
        mean = cost
        if group.judged is not None and group.lost_hours is not None:
            cost = with_risk(mean, price * group.lost_hours + self._world.crash_micros, group.judged)
        best = cost.argmin(axis=1)
        second = best if cost is mean or group.judged is None else second_try(mean, group.judged, best)
        found = zip(
            jobs.tolist(), cost.min(axis=1).tolist(), group.rows[best].tolist(), group.terms[best].tolist(),
            group.terms[second].tolist(), strict=True,
        )  # fmt: skip
        self._likely.update(
            (job, _Likely(row, terms, then)) for job, least, row, terms, then in found if least != np.inf
        )

    def _decide(self, job: int, now: float) -> bool:
        """Place a job or leave it waiting; whether it was placed."""
        group, place = self._weighed[job]
        price = self._holdings.micros_per_hour[group.terms]
        cost = price * group.hours[place]
        left = self._world.jobs.deadline_s[job] - now
        if group.done_s is not None and left != np.inf:
            late = group.done_s[place] > left
            if late.all():
                self.journal.late.add(job)
            else:
                cost[late] = np.inf
        if cost.min() == np.inf:
            self._wait(job, now)
            return False
        if group.judged is not None and group.lost_hours is not None:
            cost = with_risk(cost, price * group.lost_hours[place] + self._world.crash_micros, group.judged)
        best = int(cost.argmin())
        self.waiting.discard(job)
        self._place(job, int(group.rows[best]), int(group.terms[best]), now)
        return True

    def _place(self, job: int, row: int, terms: int, now: float) -> None:
        world, one = self._world, self._world.market.terms[terms]
        kind = int(world.jobs.kind[job])
        offer = self._holdings.reserve(terms)
        completed = world.holds(kind, job, row)
        run_s = world.run_s(kind, job, row) * (1.0 if completed else OOM_SHARE)
        used_s = one.provision_s + float(world.classes[kind].menu.startup_s[row]) + run_s
        closed = bill(
            used_s,
            gpu_count=one.gpu_count,
            micros_per_gpu_hour=world.market.prices[offer],
            billing_increment_s=one.billing_increment_s,
            minimum_s=one.minimum_s,
        )
        self._foresee(now + used_s, attempt=len(self.journal.attempts), job=job)
        self.journal.attempts.append(
            Attempt(job, offer, row, one.gpu_count, now, used_s, run_s, completed, closed.billed_s, closed.cost_micros)
        )
        if completed:
            del self._weighed[job]

    def _end(self, attempt: Attempt, now: float) -> None:
        opened = self._holdings.release(attempt.offer, attempt.gpu_count)
        if not attempt.completed:
            self._learn(attempt)
            self._decide(attempt.job, now)
        self._serve(opened, now)

    def _learn(self, attempt: Attempt) -> None:
        """The job has run out of memory: whatever the policy, it now goes where Pythia would send it."""
        job = attempt.job
        self._crashes[job] = (*self._crashes.get(job, ()), attempt.row)
        judged = self._world.classes[int(self._world.jobs.kind[job])].after(self._crashes[job])
        jobs = np.array([job])
        self._keep(jobs, expect(self._world, judged, jobs))

    def _foresee(self, at_s: float, *, attempt: int | None = None, job: int) -> None:
        heapq.heappush(self._events, _Event(at_s, self._foreseen, attempt, job))
        self._foreseen += 1

    def _wait(self, job: int, now: float) -> None:
        if job in self.waiting:
            return
        group, place = self._weighed[job]
        deadline_s = self._world.jobs.deadline_s[job]
        if group.done_s is not None and deadline_s != np.inf:
            last_moment = float(deadline_s - group.done_s[place].min())
            if last_moment >= now:  # a moment later nothing is in time any more, and what is late may be free
                self._foresee(last_moment + _MOMENT_S, job=job)
        self.waiting.add(job)
        for terms in set(self._weighed[job][0].terms.tolist()):
            heapq.heappush(self._queues.setdefault(terms, []), job)

    def _serve(self, opened: list[int], now: float) -> None:
        """Ask the waiting jobs, the oldest first, while anything is left on the terms that have opened."""
        passed: list[tuple[int, int]] = []
        while opened := [terms for terms in opened if self._holdings.is_open(terms) and self._queued(terms)]:
            terms = min(opened, key=lambda one: self._queues[one][0])
            job = heapq.heappop(self._queues[terms])
            if not self._decide(job, now):
                passed.append((terms, job))
        for terms, job in passed:
            heapq.heappush(self._queues[terms], job)

    def _queued(self, terms: int) -> bool:
        """Whether a job waits on these terms; those at the front that wait no more are dropped."""
        queue = self._queues.get(terms, [])
        while queue and queue[0] not in self.waiting:
            heapq.heappop(queue)
        return bool(queue)
