"""What a replay plays: the jobs, what each kind of them may choose from, and what would really happen there.

Only the oracle may look at the truth before it chooses; every other policy learns it by running the job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from scheduler.domain.arrays import Flags, Floats, Ints
from scheduler.domain.fit import Tried
from scheduler.replay.market import Market
from scheduler.replay.menu import Judged, Menu, Rows, judge
from scheduler.replay.residuals import Residuals


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """One cell per job, in the order of submission."""

    ids: tuple[str, ...]
    submit_s: Floats
    deadline_s: Floats
    """On the clock of `submit_s`; infinite where there is none."""
    kind: Ints
    """Place in `World.classes`."""
    work: Floats
    """How many units of its kind's work the job is."""
    usual_count: Ints
    """How many GPUs its user takes."""
    time_level: Floats
    """(jobs, GPU types): the draw that makes its run time on a card, see `Residuals`."""
    need_level: Floats
    """The draw that makes its need of memory: the same share of every card's distribution, as it is the same job."""

    def __len__(self) -> int:
        return len(self.submit_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What one unit of a kind's work would really take, one cell per row of its menu."""

    run_s: Floats
    """Before the job's own draw, without start-up."""
    fit: Floats
    """The share of jobs of this kind that fit there."""
    usable_gib: Floats
    """Of one GPU."""
    peak_gib: Floats
    """Before the job's own draw, on the fullest GPU."""
    card: Ints
    """Which column of `Jobs.time_level` is this row's GPU type."""
    gpu_type: tuple[str, ...]
    """What the card really is, where its offer's name leaves that open."""
    time: Residuals | None
    """Of the menu's questions; None where a unit of work always takes what was measured."""
    memory: Residuals | None
    """None where nobody measured the peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """Jobs of one kind: their menu, the truth about it, and the rows that their users know."""

    name: str
    menu: Menu
    truth: Truth
    usual: Mapping[int, Rows]
    """The rows that a user takes who takes so many GPUs of the reference card."""
    again: Callable[[Sequence[Tried]], Menu] | None = None
    """The same rows, judged after crashes; None where nothing runs out of memory, nor for `tried_at`."""
    tried_at: Callable[[int], Tried] | None = None
    """What a crash on a row teaches."""
    _judged: dict[tuple[int, ...], Judged] = field(default_factory=dict)

    def after(self, crashes: tuple[int, ...] = ()) -> Judged:
        """The menu as it looks after crashes on these rows; each set of crashes is judged once."""
        key = tuple(sorted(crashes))
        if key not in self._judged:
            menu = self.menu
            if key and self.again is not None and self.tried_at is not None:
                menu = self.again([self.tried_at(row) for row in key])
            self._judged[key] = judge(menu)
        return self._judged[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A market, jobs, and what they are."""

    market: Market
    classes: tuple[Class, ...]
    jobs: Jobs
    basis: str
    """What its figures are: measured or modelled."""
    reference: str
    """The GPU type that users take."""
    crash_micros: int = 0
    """What Pythia reckons a crash to cost beside machines, see `Constraints.out_of_memory_usd`."""
    notes: tuple[str, ...] = ()
    """What was assumed, for the report."""

    def runs_s(self, kind: int, jobs: Rows, rows: Rows) -> Floats:
        """(jobs, rows): how long jobs of a kind would really run, without start-up."""
        truth = self.classes[kind].truth
        whole: Floats = self.jobs.work[jobs][:, None] * truth.run_s[rows][None, :]
        if truth.time is None:
            return whole
        questions = self.classes[kind].menu.question[rows]
        return whole * truth.time.factors(questions, self.jobs.time_level[jobs], truth.card[rows])

    def run_s(self, kind: int, job: int, row: int) -> float:
        """`runs_s` of one job on one row: asked for every placement, so without arrays."""
        truth = self.classes[kind].truth
        whole = float(self.jobs.work[job] * truth.run_s[row])
        if truth.time is None:
            return whole
        question = int(self.classes[kind].menu.question[row])
        return whole * truth.time.factor(question, float(self.jobs.time_level[job, truth.card[row]]))

    def fits(self, kind: int, jobs: Rows, rows: Rows) -> Flags:
        """(jobs, rows): whether they would fit."""
        enough: Flags = self.jobs.need_level[jobs][:, None] <= self.classes[kind].truth.fit[rows][None, :]
        return enough

    def holds(self, kind: int, job: int, row: int) -> bool:
        """`fits` of one job on one row."""
        return bool(self.jobs.need_level[job] <= self.classes[kind].truth.fit[row])

    def peak_gib(self, kind: int, job: int, row: int) -> float | None:
        """Peak of a job that fits, no more than the card has, whatever was drawn; None where it was not measured."""
        truth = self.classes[kind].truth
        if truth.memory is None:
            return None
        question = int(self.classes[kind].menu.question[row])
        peak = float(truth.peak_gib[row]) * truth.memory.factor(question, float(self.jobs.need_level[job]))
        return min(peak, float(truth.usable_gib[row]))
