"""The ways of choosing that a replay compares.

A choice is always the row of the menu with the lowest price × seconds among those that are free now; policies differ
in the rows they believe in and in the seconds they expect to pay for. After a job has run out of memory every policy
does the same: it goes where Pythia would send it next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler.domain.cost import MAX_SECONDS, Runs, reckon
from scheduler.domain.quantiles import quantile
from scheduler.domain.spec import Constraints
from scheduler.replay.market import Floats
from scheduler.replay.menu import Flags, Ints, Judged, Menu, fastest_of_each_lot, or_likeliest
from scheduler.replay.world import Rows, World

HOUR_S = 3600.0
_MICROS_PER_SECOND = 1_000_000
_PRICE = 3600 * _MICROS_PER_SECOND
"""Micro-dollars an hour at which a bill is a whole number of micro-dollars a second: billed seconds in disguise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a policy weighs for jobs of one kind."""

    rows: Rows
    """Of the menu."""
    family: Ints
    """Of each row."""
    seconds: Floats
    """(jobs, rows), or (1, rows) where all jobs are alike: billed seconds that a price is multiplied with."""
    done_s: Floats | None
    """(jobs, rows): from the decision to the end of the work, to be compared with the deadline; None: who cares."""
    unlikely: bool = False
    """No row fits with the asked probability: the job was asked again for the likeliest."""


Weigh = Callable[[World, int, Rows], Options]
"""The options of some jobs of a kind, before any of them has been tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A way of choosing."""

    name: str
    says: str
    """What it does, in a few words."""
    weigh: Weigh


def _pythia(world: World, kind: int, jobs: Rows) -> Options:
    return expect(world, world.classes[kind].after(()), jobs)


def _catalogue(world: World, kind: int, jobs: Rows) -> Options:
    menu = world.classes[kind].menu
    return _by_the_hour(menu, or_likeliest(menu, menu.holds_weights))


def _hour(world: World, kind: int, jobs: Rows) -> Options:
    menu = world.classes[kind].menu
    rows = fastest_of_each_lot(menu, or_likeliest(menu, menu.accepted))
    hour = np.full((1, len(rows)), HOUR_S)
    return Options(rows=rows, family=menu.family[rows], seconds=_expected_s(menu, rows, hour, hour, hour), done_s=None)


def _always(gpu_type: str) -> Weigh:
    """Always this GPU type, in any of its variants; jobs whose menu has none of it go where a catalogue sends them."""

    def weigh(world: World, kind: int, jobs: Rows) -> Options:
        menu = world.classes[kind].menu
        named = [
            family.gpu_type == gpu_type or family.gpu_type.startswith(gpu_type + "-")
            for family in world.market.families
        ]
        of_type = np.array(named, dtype=np.bool_)[menu.family]
        believed = of_type & menu.accepted if (of_type & menu.accepted).any() else of_type
        return _by_the_hour(menu, believed if believed.any() else menu.holds_weights)

    return weigh


def _usual(world: World, kind: int, jobs: Rows) -> Options:
    """All jobs of a call have the same usual count: the caller sees to it."""
    known = world.classes[kind]
    rows = known.usual[int(world.jobs.usual_count[jobs[0]])]
    return Options(rows=rows, family=known.menu.family[rows], seconds=np.full((1, len(rows)), HOUR_S), done_s=None)


def _oracle(world: World, kind: int, jobs: Rows) -> Options:
    menu = world.classes[kind].menu
    rows = np.arange(len(menu))
    used = menu.provision_s + menu.startup_s + world.runs_s(kind, jobs, rows)
    seconds = np.where(world.fits(kind, jobs, rows), billed_s(menu, rows, used), np.inf)
    return Options(rows=rows, family=menu.family, seconds=seconds, done_s=used)


def expect(world: World, judged: Judged, jobs: Rows) -> Options:
    """What Pythia expects to pay, as its decisions reckon it, and when the work is done with the asked probability."""
    menu, rows = judged.menu, judged.worth
    work = world.jobs.work[jobs][:, None]
    p10, p50, p90 = (work * column[rows] for column in (menu.p10_s, menu.p50_s, menu.p90_s))
    seconds = _expected_s(menu, rows, p10, p50, p90)
    seconds[menu.startup_s[rows] + p90 > MAX_SECONDS] = np.inf
    run = quantile(p10, p50, p90, _ASKED.min_deadline_probability)
    done = menu.provision_s[rows] + menu.startup_s[rows] + run
    return Options(rows=rows, family=menu.family[rows], seconds=seconds, done_s=done, unlikely=judged.unlikely)


_ASKED = Constraints()


def billed_s(menu: Menu, rows: Rows, used_s: Floats) -> Floats:
    """`money.billed_seconds` for (jobs, rows) at once."""
    step = menu.billing_increment_s[rows]
    billed: Floats = np.ceil(np.maximum(used_s, menu.minimum_s[rows]) / step) * step
    return billed


def _expected_s(menu: Menu, rows: Rows, p10: Floats, p50: Floats, p90: Floats) -> Floats:
    """Billed seconds whose price is the expected cost, by the reckoning of decisions."""
    runs = Runs(
        provision_s=menu.provision_s[rows],
        startup_s=menu.startup_s[rows],
        p10_s=p10,
        p50_s=p50,
        p90_s=p90,
        oom_probability=1.0 - menu.fit[rows],
        micros_per_hour=np.full(len(rows), _PRICE, dtype=np.int64),
        billing_increment_s=menu.billing_increment_s[rows],
        minimum_s=menu.minimum_s[rows],
    )
    return reckon(runs).expected_micros / _MICROS_PER_SECOND


def _by_the_hour(menu: Menu, allowed: Flags) -> Options:
    rows = fastest_of_each_lot(menu, allowed)
    return Options(rows=rows, family=menu.family[rows], seconds=np.full((1, len(rows)), HOUR_S), done_s=None)


PYTHIA = Policy(
    name="pythia", says="lowest expected cost of the whole job that fits and meets its deadline", weigh=_pythia
)
CATALOGUE = Policy(name="catalogue", says="lowest $/h whose memory holds the weights", weigh=_catalogue)
HOUR = Policy(name="hour", says="lowest cost that fits if every job took an hour", weigh=_hour)
H100 = Policy(name="h100", says="always H100, as few as it fits on", weigh=_always("H100"))
USUAL = Policy(name="user", says="the GPU count of the trace on the reference card", weigh=_usual)
ORACLE = Policy(name="oracle", says="lowest true cost that truly fits and meets its deadline", weigh=_oracle)

POLICIES = (PYTHIA, CATALOGUE, HOUR, H100, USUAL, ORACLE)
