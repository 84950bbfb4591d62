"""The ways of choosing that a replay compares.

A choice is the row of a menu with the lowest price × seconds among those that are free at that moment; policies differ
in the rows they believe in and in the seconds they expect to pay for. After a job has run out of memory every policy
does the same: it goes where Pythia would send it next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler.domain.arrays import Flags, Floats, Ints
from scheduler.domain.cost import MAX_SECONDS, NO_ESCALATION, OOM_SHARE
from scheduler.replay.menu import Judged, Menu, Rows, fastest_on_each_terms, or_likeliest
from scheduler.replay.world import World

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What a policy thinks of the rows it believes in, for some jobs of one kind."""

    rows: Rows
    """Of the menu."""
    terms: Ints
    """Of each row."""
    seconds: Floats
    """(jobs, rows), or (1, rows) where all jobs are alike: billed seconds that a price is multiplied with."""
    done_s: Floats | None = None
    """(jobs, rows): from the decision to the end of the work, to be compared with the deadline; None: who cares."""
    wasted_s: Floats | None = None
    """(jobs, rows): billed seconds that running out of memory would lose; None: nobody thinks of that."""
    judged: Judged | None = None
    """What is known of running out of memory before it happens, where `wasted_s` is given."""


Weigh = Callable[[World, int, Rows], Weighed]
"""Weighs some jobs of a kind, all with the same usual count, before any of them has been tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A way of choosing."""

    name: str
    says: str
    """What it does, in a few words."""
    weigh: Weigh


def expect(world: World, judged: Judged, jobs: Rows) -> Weighed:
    """What Pythia expects to pay, and when the work is done with the asked probability.

    The mean bill and the wasted part of `cost.reckon`, as seconds: the quantiles of a kind are scaled by each job's
    work, not drawn anew for each, and the price comes in when it is known.
    """
    work = world.jobs.work[jobs][:, None]
    seconds = billed_s(judged, judged.before_s + work * judged.levels_s[:, None, :]).mean(axis=0)
    seconds[judged.before_s + work * judged.p90_s > MAX_SECONDS] = np.inf
    return Weighed(
        rows=judged.rows,
        terms=judged.terms,
        seconds=seconds,
        done_s=judged.before_s + work * judged.asked_s,
        wasted_s=billed_s(judged, judged.before_s + OOM_SHARE * work * judged.p50_s),
        judged=judged,
    )


def with_risk(mean: Floats, lost: Floats, judged: Judged) -> Floats:
    """`cost.escalate` for (…, rows), costs that are not to be had now infinite; `lost` is all that a crash costs."""
    by_headroom = mean[..., judged.by_headroom]
    cheapest = np.minimum.accumulate(by_headroom[..., ::-1], axis=-1)[..., ::-1]
    nothing = np.full((*mean.shape[:-1], 1), np.inf)  # past the roomiest there is none
    roomier = np.concatenate([cheapest, nothing], axis=-1)[..., judged.roomy_at]
    second = np.minimum(roomier, NO_ESCALATION * mean)
    chance = judged.oom_probability
    expected: Floats = (1.0 - chance) * mean + chance * (lost + second)
    return expected


def second_try(mean: Floats, judged: Judged, best: Rows) -> Rows:
    """For (jobs, rows) and the best row of each job: the row of its second try, the best itself where none is dearer
    than trying twice as many GPUs there."""
    jobs = np.arange(len(best))
    by_headroom = mean[:, judged.by_headroom]
    roomy = np.where(np.arange(mean.shape[1]) >= judged.roomy_at[best][:, None], by_headroom, np.inf)
    at = roomy.argmin(axis=1)
    cheaper = roomy[jobs, at] < NO_ESCALATION * mean[jobs, best]
    return np.where(cheaper, judged.by_headroom[at], best)


def _pythia(world: World, kind: int, jobs: Rows) -> Weighed:
    return expect(world, world.classes[kind].after(), jobs)


def _catalogue(world: World, kind: int, jobs: Rows) -> Weighed:
    menu = world.classes[kind].menu
    return _by_the_hour(menu, or_likeliest(menu, menu.holds_weights))


def _hour(world: World, kind: int, jobs: Rows) -> Weighed:
    menu = world.classes[kind].menu
    rows = fastest_on_each_terms(menu, or_likeliest(menu, menu.accepted))
    used = menu.provision_s + menu.startup_s + HOUR_S
    return Weighed(rows=rows, terms=menu.terms[rows], seconds=billed_s(menu, used)[None, rows])


def _always(gpu_type: str) -> Weigh:
    """Always this GPU type, in any of its variants; jobs whose menu has none of it go where a catalogue sends them."""

    def weigh(world: World, kind: int, jobs: Rows) -> Weighed:
        menu = world.classes[kind].menu
        of_type = world.market.of_type(gpu_type)[menu.terms]
        for believed in (of_type & menu.accepted, of_type & menu.holds_weights):
            if believed.any():
                return _by_the_hour(menu, believed)
        return _catalogue(world, kind, jobs)

    return weigh


def _usual(world: World, kind: int, jobs: Rows) -> Weighed:
    known = world.classes[kind]
    rows = known.usual[int(world.jobs.usual_count[jobs[0]])]
    return Weighed(rows=rows, terms=known.menu.terms[rows], seconds=np.full((1, len(rows)), HOUR_S))


def _oracle(world: World, kind: int, jobs: Rows) -> Weighed:
    menu = world.classes[kind].menu
    rows = np.arange(len(menu))
    used = menu.provision_s + menu.startup_s + world.runs_s(kind, jobs, rows)
    seconds = np.where(world.fits(kind, jobs, rows), billed_s(menu, used), np.inf)
    return Weighed(rows=rows, terms=menu.terms, seconds=seconds, done_s=used)


def billed_s(menu: Menu | Judged, used_s: Floats) -> Floats:
    """`money.billed_seconds` for (jobs, rows) at once."""
    step = menu.billing_increment_s
    billed: Floats = np.ceil(np.maximum(used_s, menu.minimum_s) / step) * step
    return billed


def _by_the_hour(menu: Menu, allowed: Flags) -> Weighed:
    rows = fastest_on_each_terms(menu, allowed)
    return Weighed(rows=rows, terms=menu.terms[rows], seconds=np.full((1, len(rows)), HOUR_S))


PYTHIA = Policy(
    name="pythia", says="lowest expected cost of the whole job that fits and meets its deadline", weigh=_pythia
)
CATALOGUE = Policy(name="catalogue", says="lowest $/h whose memory holds the weights", weigh=_catalogue)
HOUR = Policy(name="hour", says="lowest cost that fits, if every job took an hour", weigh=_hour)
H100 = Policy(name="h100", says="always H100, as few as it fits on", weigh=_always("H100"))
USER = Policy(name="user", says="the user's own choice: the GPU count of the trace on the reference card", weigh=_usual)
ORACLE = Policy(name="oracle", says="lowest true cost that truly fits and meets its deadline", weigh=_oracle)

POLICIES = (PYTHIA, CATALOGUE, HOUR, H100, USER, ORACLE)
