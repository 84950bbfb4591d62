"""All candidates as columns: one cell for each lot (GPUs of an offer) with each layout, judged together.

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

from scheduler.domain.candidates import Proposals
from scheduler.domain.cost import Costs, Runs, reckon
from scheduler.domain.money import usd_to_micros
from scheduler.domain.offers import Offer
from scheduler.domain.outlook import Outlook
from scheduler.domain.quantiles import Floats, Ints, quantile
from scheduler.domain.room import OPEN, Room, ever_within_quota, kept_gpus, over_quota
from scheduler.domain.spec import Constraints, Objective
from scheduler.domain.verdicts import NEARNESS, Code

Flags = NDArray[np.bool_]

FEASIBLE = len(NEARNESS)
"""The nearness of a candidate that nothing speaks against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One cell per candidate."""

    lot: Ints
    """Place in `Proposals.lots`."""
    cell: Ints
    """Place in `Outlook.cells`."""
    costs: Costs
    gpu_count: Ints
    free: Ints
    micros_per_hour: Ints
    tie: Ints
    """Where the offer stands in the fixed order of offers: provider, region, instance type, id."""
    layout_place: Ints
    """Where the layout stands among those of its group."""
    nearness: Ints
    """How far the candidate came: `FEASIBLE`, or the nearness of the reason that stopped it."""
    number: Floats
    """The reason's number."""
    later: Flags
    """Whether its offer and the tenant's quota are large enough at all; where not, no waiting helps."""

    def keys(self, objective: Objective) -> tuple[NDArray[np.generic], ...]:
        """What candidates are ranked by, the first first; the later ones only break ties, the same way every time."""
        costs = self.costs
        by_cost = (costs.expected_micros, costs.use_p50_s)
        by_time = (costs.use_p50_s, costs.use_p90_s, costs.expected_micros)
        first = by_time if objective is Objective.TIME else by_cost
        return (*first, self.gpu_count, self.tie, self.layout_place)


class Shortages(NamedTuple):
    """What each candidate lacks now; zero or less where it lacks nothing."""

    gpus: Ints
    quota_gpus: Ints
    quota_micros: Ints


def tabulate(
    proposals: Proposals,
    outlook: Outlook,
    constraints: Constraints,
    *,
    now: datetime,
    spent_micros: int,
    taken: Set[UUID],
    room: Room = OPEN,
) -> Table:
    """Reckon and judge every candidate. Offers in `taken` have nothing left, whatever the inventory said."""
    lots = proposals.lots
    first = np.array(outlook.first, dtype=np.int64)
    group = np.array([lot.group for lot in lots], dtype=np.int64)
    sizes = first[group + 1] - first[group]
    lot = np.repeat(np.arange(len(lots)), sizes)
    layout_place = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    cell = first[group][lot] + layout_place
    # what belongs to an offer is read once, not once for each of its lots
    offers = proposals.offers
    place = np.array([lot.place for lot in lots], dtype=np.int64)
    count = np.array([lot.gpu_count for lot in lots], dtype=np.int64)
    price = np.array([lot.price.micros_per_gpu_hour for lot in lots], dtype=np.int64)
    free = np.array([0 if taken and offer.id in taken else offer.free_gpus for offer in offers], dtype=np.int64)[place]
    per_hour = price * count
    runs = Runs(
        provision_s=np.array([offer.provision_s for offer in offers], dtype=np.float64)[place][lot],
        startup_s=outlook.startup_s[cell],
        p10_s=outlook.p10_s[cell],
        p50_s=outlook.p50_s[cell],
        p90_s=outlook.p90_s[cell],
        oom_probability=outlook.oom_probability[cell],
        micros_per_hour=per_hour[lot],
        billing_increment_s=np.array([offer.billing_increment_s for offer in offers], dtype=np.int64)[place][lot],
        minimum_s=np.array([offer.minimum_s for offer in offers], dtype=np.int64)[place][lot],
    )
    costs = reckon(runs)
    free_to_it = free[lot] - kept_gpus(room, offers, place[lot], costs.use_p90_s)
    short = Shortages(count[lot] - free_to_it, *over_quota(room, count[lot], costs.p90_micros))
    nearness, number = _judge(outlook, cell, runs, costs, constraints, now, spent_micros, short)
    capacity = np.array([offer.capacity_gpus for offer in offers], dtype=np.int64)[place]
    return Table(
        lot=lot, cell=cell, costs=costs, gpu_count=count[lot], free=free_to_it, micros_per_hour=per_hour[lot],
        tie=_tie_order(offers)[place][lot], layout_place=layout_place, nearness=nearness, number=number,
        later=(count <= capacity)[lot] & ever_within_quota(room, count[lot], costs.p90_micros),
    )  # fmt: skip


def _judge(
    outlook: Outlook,
    cell: Ints,
    runs: Runs,
    costs: Costs,
    constraints: Constraints,
    now: datetime,
    spent_micros: int,
    short: Shortages,
) -> tuple[Ints, Floats]:
    """The first reason against each candidate, in the order of nearness, and its number."""
    by_cell = [FEASIBLE if outlook.verdict is None else NEARNESS[outlook.verdict.code] for outlook in outlook.cells]
    numbers = [outlook.verdict.number or 0.0 if outlook.verdict else 0.0 for outlook in outlook.cells]
    nearness = np.array(by_cell, dtype=np.int64)[cell]
    number = np.array(numbers, dtype=np.float64)[cell]

    def stop(code: Code, over: Floats | Ints) -> None:
        hit = (nearness == FEASIBLE) & (over > 0)
        nearness[hit] = NEARNESS[code]
        number[hit] = over[hit]

    if constraints.deadline is not None:
        run = quantile(runs.p10_s, runs.p50_s, runs.p90_s, constraints.min_deadline_probability)
        available = (constraints.deadline - now).total_seconds()
        stop(Code.DEADLINE, runs.provision_s + runs.startup_s + run - available)
    if constraints.max_cost_usd is not None:
        stop(Code.BUDGET, costs.p90_micros + spent_micros - usd_to_micros(constraints.max_cost_usd))
    stop(Code.QUOTA_SPEND, short.quota_micros)
    stop(Code.QUOTA, short.quota_gpus)
    stop(Code.CAPACITY, short.gpus)
    return nearness, number


def _tie_order(offers: tuple[Offer, ...]) -> Ints:
    keys = [(offer.provider, offer.region, offer.instance_type, offer.id) for offer in offers]
    order = np.empty(len(offers), dtype=np.int64)
    order[sorted(range(len(offers)), key=keys.__getitem__)] = np.arange(len(offers))
    return order
