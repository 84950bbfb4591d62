"""All candidates that can win as columns: one cell for each lot with each layout, judged together.

Thousands of candidates are judged per decision; as columns that takes a few milliseconds, as objects ten times that.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.arrays import Flags, Floats, Ints
from scheduler.domain.candidates import Proposals
from scheduler.domain.cost import Costs, Runs, escalate, over_all_attempts, reckon
from scheduler.domain.money import usd_to_micros
from scheduler.domain.outlook import Outlook
from scheduler.domain.pruning import MOST_SHORT, all_of, undercut
from scheduler.domain.quantiles import given_fit
from scheduler.domain.room import OPEN, Room, ever_within_quota, left_of, over_quota, waited_for
from scheduler.domain.sharing import Card, Sharing
from scheduler.domain.spec import JobSpec, Objective
from scheduler.domain.spot import NEVER_S, checkpoint_s
from scheduler.domain.stock import Inventory
from scheduler.domain.verdicts import FEASIBLE, NEARNESS, Code, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """A row that stands for a card which is held already."""

    card: Card
    sharing: Sharing
    verdict: Verdict | None
    """What speaks against it; None where nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """One cell per candidate."""

    lot: Ints
    """Place in the stock's lots."""
    stands_for: Ints
    """The lot itself and those on the same terms that it undercuts, which share its reasons."""
    cell: Ints
    """Place in `Outlook`."""
    costs: Costs
    done_s: Floats
    """From the order to the end, not exceeded with the probability that a deadline is asked to be met with; `NEVER_S`
    later than any where it is not even as likely to fit."""
    gpu_count: Ints
    free: Ints
    """GPUs of its offer that are free now."""
    left: Ints
    """What of them this job may have; the others are kept for waiting jobs."""
    provision_s: Floats
    """Until its machine can take work; less than the offer says where one is warm."""
    micros_per_hour: Ints
    tie: Ints
    """Where the offer stands in the fixed order of offers: provider, region, instance type, id."""
    spot: Flags
    layout_place: Ints
    """Where the layout stands among those of its group."""
    nearness: Ints
    """How far the candidate came: `FEASIBLE`, or the nearness of the reason that stopped it."""
    number: Floats
    """The reason's number."""
    later: Flags
    """Whether its offer and the tenant's quota are large enough at all; where not, no waiting helps."""
    joins: tuple[Join, ...] = ()
    """The last rows: cards to join, which take nothing of their offers' capacity."""

    @property
    def own(self) -> int:
        """How many rows, from the first, are places of the job's own."""
        return len(self.lot) - len(self.joins)

    def join(self, row: int) -> Join | None:
        """The card that a row joins; None for a place of its own."""
        return self.joins[row - self.own] if row >= self.own else None

    def keys(self, objective: Objective) -> tuple[NDArray[np.generic], ...]:
        """What candidates are ranked by, the first first; the later ones only break ties, the same way every time."""
        costs = self.costs
        by_cost = (costs.expected_micros, costs.use_p50_s)
        by_time = (costs.use_p50_s, costs.use_p90_s, costs.expected_micros)
        first = by_time if objective is Objective.TIME else by_cost
        shared = np.arange(len(self.lot)) >= self.own  # where all else is equal, nobody is disturbed
        return (*first, self.gpu_count, self.tie, self.spot, self.layout_place, shared)


class _Terms(NamedTuple):
    """What of each lot's terms a warm machine changes."""

    provision_s: Floats
    minimum_s: Ints
    paid_s: Ints | None


@dataclass(frozen=True, slots=True)
class _Reasons:
    """The first reason against each candidate, looked for in the order of nearness, and its number."""

    near: Ints
    number: Floats

    @property
    def silent(self) -> Flags:
        """Where nothing was found yet."""
        return np.asarray(self.near == FEASIBLE)

    def stop(self, code: Code, over: Floats | Ints) -> None:
        """Find this against those over nothing."""
        hit = self.silent & (over > 0)
        self.near[hit] = NEARNESS[code]
        self.number[hit] = over[hit]


def tabulate(
    proposals: Proposals,
    outlook: Outlook,
    spec: JobSpec,
    *,
    now: datetime,
    spent_micros: int,
    taken: Set[UUID] = frozenset(),
    room: Room = OPEN,
    every: bool = False,
) -> Table:
    """Reckon and judge every candidate that can win; with `every`, also those that cannot while others are free.

    Offers in `taken` have nothing left, whatever was read.
    """
    stock, constraints = proposals.inventory.stock, spec.constraints
    free = proposals.inventory.free(taken)[stock.lot_offer[proposals.places]]
    count = stock.lot_count[proposals.places]
    ever = count <= stock.capacity[stock.lot_offer[proposals.places]]
    # what others keep, what was assigned to this job or is warm is a matter between it and that one offer
    concerns = room.concerns | proposals.inventory.warm.keys()
    apart = np.array([offer.id in concerns for offer in stock.offers], dtype=np.bool_) if concerns else None
    alone = None if apart is None else apart[stock.lot_offer[proposals.places]]
    lacks = count - free
    if room.ahead:  # what is kept lacks more than what is taken: neither speaks for the other
        lacks[(lacks <= 0) & waited_for(room, stock.offers)[stock.lot_offer[proposals.places]]] = MOST_SHORT
    seen = all_of(proposals.places) if every else undercut(stock, proposals.places, lacks, ever, alone)
    place, group = proposals.places[seen.at], proposals.groups[seen.at]
    free, count, ever = free[seen.at], count[seen.at], ever[seen.at]
    sizes = np.diff(outlook.first)[group]
    row = np.repeat(np.arange(len(place)), sizes)
    layout_place = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    cell = outlook.first[group][row] + layout_place
    offer = stock.lot_offer[place]
    per_hour = stock.lot_price[place] * count
    hazard = stock.lot_hazard[place]
    terms = _terms_of(proposals.inventory, offer, count, hazard)
    runs = Runs(
        provision_s=terms.provision_s[row],
        startup_s=outlook.startup_s[cell],
        p10_s=outlook.p10_s[cell],
        p50_s=outlook.p50_s[cell],
        p90_s=outlook.p90_s[cell],
        oom_probability=outlook.oom_probability[cell],
        micros_per_hour=per_hour[row],
        billing_increment_s=stock.billing_increment_s[offer][row],
        minimum_s=terms.minimum_s[row],
        interruptions_per_hour=hazard[row] if hazard.any() else None,
        checkpoint_s=checkpoint_s(proposals.board.workload),
        paid_s=None if terms.paid_s is None else terms.paid_s[row],
        egress_micros=_egress(stock.egress[offer], spec.output_gib)[row] if spec.output_gib else None,
    )
    costs = reckon(runs)
    done_s = _done_s(runs, outlook.fit[cell], constraints.min_deadline_probability)
    left = left_of(free[row], room, stock.offers, offer[row], costs.use_p90_s)
    later = ever[row] & ever_within_quota(room, count[row], costs.try_p90_micros)
    reasons = _Reasons(outlook.near[cell], outlook.number[cell])
    if constraints.deadline is not None:
        reasons.stop(Code.DEADLINE, done_s - (constraints.deadline - now).total_seconds())
    roomier = {"headroom": outlook.headroom[cell], "roomy_from": outlook.roomy_from[cell]}
    # whether it is free now says little of when the first try will have crashed
    costs = over_all_attempts(costs, **roomier, possible=reasons.silent & later)
    if constraints.max_cost_usd is not None:
        reasons.stop(Code.BUDGET, costs.p90_micros + spent_micros - usd_to_micros(constraints.max_cost_usd))
    quota_gpus, quota_micros = over_quota(room, count[row], costs.try_p90_micros)
    reasons.stop(Code.QUOTA_SPEND, quota_micros)
    reasons.stop(Code.QUOTA, quota_gpus)
    reasons.stop(Code.CAPACITY, count[row] - free[row])
    reasons.stop(Code.KEPT, count[row] - left)
    crash_micros = usd_to_micros(constraints.out_of_memory_usd)
    costs = escalate(costs, runs.oom_probability, **roomier, possible=reasons.silent, crash_micros=crash_micros)
    return Table(
        lot=place[row], stands_for=seen.stands_for[row], cell=cell, costs=costs, done_s=done_s, gpu_count=count[row],
        free=free[row], left=left, provision_s=runs.provision_s, micros_per_hour=per_hour[row], tie=offer[row],
        spot=(hazard > 0)[row], layout_place=layout_place, nearness=reasons.near, number=reasons.number, later=later,
    )  # fmt: skip


def _terms_of(inventory: Inventory, offer: Ints, count: Ints, hazard: Floats) -> _Terms:
    """Of each lot, as its offer says or, where a machine of its size is warm, as that machine stands."""
    stock = inventory.stock
    provision_s, minimum_s = stock.provision_s[offer], stock.minimum_s[offer]
    if not inventory.warm:
        return _Terms(provision_s, minimum_s, None)
    paid_s = np.zeros(len(offer), dtype=np.int64)
    for offer_id, warm in inventory.warm.items():
        place = stock.place_of.get(offer_id)
        # machines that wait for work are kept on demand
        here = (offer == place) & (count == warm.gpus) & (hazard == 0)
        provision_s[here], minimum_s[here], paid_s[here] = warm.ready_s, 0, warm.paid_s
    return _Terms(provision_s, minimum_s, paid_s)


def _egress(micros_per_gib: Ints, gib: float) -> Ints:
    """What leaves, in whole micro-dollars for each offer."""
    return np.asarray(np.rint(micros_per_gib * gib), dtype=np.int64)


def _done_s(runs: Runs, fit: Floats, probability: float) -> Floats:
    within_s = runs.provision_s + runs.startup_s + runs.run_within(given_fit(probability, fit))
    return np.where(fit < probability, NEVER_S, within_s)
