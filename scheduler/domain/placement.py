"""Choose the placement that gets the job done for least money, or soonest.

The price compared is that of the whole expected use, not of an hour: a dear card that finishes early often wins.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime
from uuid import UUID

import numpy as np

from predictor.forecast import Forecast
from scheduler.domain.arrays import Floats, Ints
from scheduler.domain.candidates import Proposals
from scheduler.domain.decision import Considered, Decision, Judged, Naive, Placement, Refusal, Wait
from scheduler.domain.fit import Tried
from scheduler.domain.foresight import Foresight, holds_weights
from scheduler.domain.joins import with_joins
from scheduler.domain.listing import judged, list_candidates
from scheduler.domain.money import usd_to_micros
from scheduler.domain.options import Options, options_of, possible
from scheduler.domain.outlook import Outlook, look_at
from scheduler.domain.room import OPEN, Room
from scheduler.domain.spec import JobSpec, Objective
from scheduler.domain.table import Table, tabulate
from scheduler.domain.verdicts import FEASIBLE, NEARNESS, Code, Verdict
from scheduler.domain.wording import chosen_reason, refusal_reason, wait_reason

__all__ = ["decide", "find_best", "find_options", "holds_weights"]


def decide(
    spec: JobSpec,
    proposals: Proposals,
    forecasts: Foresight | Sequence[Forecast],
    *,
    now: datetime,
    spent_micros: int = 0,
    tried: Sequence[Tried] = (),
    taken: Set[UUID] = frozenset(),
    room: Room = OPEN,
) -> Decision:
    """Decide where a job runs, given one forecast for each of the proposals' questions, in their order.

    `spent_micros` is what earlier attempts cost and `tried` where they ran out of memory; offers in `taken` lost
    their capacity to somebody else since the inventory was read, and `room` is what quotas and other jobs leave.
    """
    outlook = look_at(proposals, forecasts, spec.constraints, tried)
    table = tabulate(proposals, outlook, spec, now=now, spent_micros=spent_micros, taken=taken, room=room)
    table = with_joins(table, outlook, spec, now=now, spent_micros=spent_micros, room=room)
    order = np.lexsort(tuple(reversed((-table.nearness, _shortfall(table), *table.keys(spec.objective)))))
    order = _assigned_first(order, table, proposals, room)
    winner = int(order[0]) if (table.nearness == FEASIBLE).any() else None
    listed = list_candidates(outlook, table, order, spec.objective)
    counts = _count_rejected(proposals, table, spec.objective)
    considered = Considered(
        candidates=listed,
        total=sum(counts.values()) + (winner is not None),
        rejected_by_reason=counts,
        naive=_naive(outlook, table, winner),
        oldest_price_date=_oldest_price(proposals),
    )
    if winner is not None:
        return Placement(
            chosen=listed[0], reason=chosen_reason(listed[0], considered, spec.objective), considered=considered
        )
    if possible(table).any():
        options = find_options(
            spec, proposals, outlook.foresight, now=now, spent_micros=spent_micros, tried=tried, room=room
        )
        return Wait(reason=wait_reason(considered), considered=considered, options=options)
    return Refusal(reason=refusal_reason(considered, spec.constraints, now), considered=considered)


def find_best(
    spec: JobSpec,
    proposals: Proposals,
    forecasts: Foresight | Sequence[Forecast],
    *,
    now: datetime,
    tried: Sequence[Tried] = (),
    room: Room = OPEN,
) -> Judged | None:
    """What `decide` would choose, without a word on all the others; None where it would choose nothing."""
    outlook = look_at(proposals, forecasts, spec.constraints, tried)
    table = tabulate(proposals, outlook, spec, now=now, spent_micros=0, room=room)
    feasible = np.flatnonzero(table.nearness == FEASIBLE)
    if not len(feasible):
        return None
    keys = tuple(key[feasible] for key in reversed(table.keys(spec.objective)))
    return judged(outlook, table, int(feasible[np.lexsort(keys)[0]]), Verdict(Code.CHOSEN, None, "best"))


def find_options(
    spec: JobSpec,
    proposals: Proposals,
    forecasts: Foresight | Sequence[Forecast],
    *,
    now: datetime,
    spent_micros: int = 0,
    tried: Sequence[Tried] = (),
    room: Room = OPEN,
) -> Options:
    """All that a job could run on, now or once capacity returns, the best first by its own objective."""
    outlook = look_at(proposals, forecasts, spec.constraints, tried)
    table = tabulate(proposals, outlook, spec, now=now, spent_micros=spent_micros, room=room, every=True)
    return options_of(proposals, table, np.lexsort(tuple(reversed(table.keys(spec.objective)))))


def _shortfall(table: Table) -> Floats:
    """By how much a candidate misses, comparable within one reason; a higher probability misses by less."""
    sign = np.where(table.nearness == NEARNESS[Code.FIT_PROBABILITY], -1.0, 1.0)
    return np.where(table.nearness == FEASIBLE, 0.0, sign * table.number)


def _assigned_first(order: Ints, table: Table, proposals: Proposals, room: Room) -> Ints:
    """The same order, but first the best feasible candidate that the job was assigned, where there is one."""
    if room.assigned is None:
        return order
    offer_id, gpu_count = room.assigned
    places = [place for place, offer in enumerate(proposals.inventory.stock.offers) if offer.id == offer_id]
    given = np.isin(table.tie, places) & (table.gpu_count == gpu_count) & (table.nearness == FEASIBLE)
    given[table.own :] = False  # what was assigned is capacity
    at = np.flatnonzero(given[order])
    return order if not len(at) else np.concatenate([order[at[:1]], np.delete(order, at[0])])


def _count_rejected(proposals: Proposals, table: Table, objective: Objective) -> dict[str, int]:
    stock = proposals.inventory.stock
    ruled_out = np.bincount(proposals.near[stock.sale_offer], minlength=FEASIBLE + 1)
    fallen = np.bincount(table.nearness, weights=table.stands_for, minlength=FEASIBLE + 1).astype(np.int64)
    counts = {code: int(ruled_out[place] + fallen[place]) for code, place in NEARNESS.items()}
    feasible = table.nearness == FEASIBLE
    if feasible.any():
        own = np.flatnonzero(feasible[: table.own])
        _, first = np.unique(table.lot[own], return_index=True)
        lots = int(table.stands_for[own][first].sum()) + int(feasible[table.own :].sum())
        counts[Code.SLOWER if objective is Objective.TIME else Code.DEARER] += lots - 1
        counts[Code.DOMINATED] += int(fallen[FEASIBLE]) - lots
    return {str(code): many for code, many in sorted(counts.items()) if many}


def _naive(outlook: Outlook, table: Table, winner: int | None) -> Naive | None:
    eligible = np.flatnonzero((outlook.holds_weights & outlook.timed)[table.cell] & (table.gpu_count <= table.left))
    eligible = eligible[eligible < table.own]  # a catalogue knows of no card that is held
    if not len(eligible):
        return None
    costs = table.costs
    keys = (table.layout_place, costs.use_p50_s, table.tie, table.micros_per_hour)
    best = int(eligible[np.lexsort(tuple(key[eligible] for key in keys))[0]])
    lot, cell = outlook.proposals.inventory.stock.lot(int(table.lot[best])), outlook.cell(int(table.cell[best]))
    # if it runs out of memory, the naive user loses that use, what else a crash costs, and then needs what was chosen
    after = int(costs.expected_micros[winner if winner is not None else best])
    after += usd_to_micros(outlook.constraints.out_of_memory_usd)
    ppm = round((1.0 - cell.fit.probability) * 1_000_000)
    expected = int(costs.mean_micros[best]) * (1_000_000 - ppm) + (int(costs.wasted_micros[best]) + after) * ppm
    return Naive(
        offer=lot.offer, gpu_count=lot.gpu_count, layout=cell.forecast.layout,
        micros_per_hour=int(table.micros_per_hour[best]), fit_probability=cell.fit.probability,
        expected_micros=expected // 1_000_000,
    )  # fmt: skip


def _oldest_price(proposals: Proposals) -> str | None:
    dates = proposals.inventory.stock.price_date
    seen = np.unique(dates.code[proposals.near == FEASIBLE])
    return min((dates.values[code] for code in seen.tolist()), default=None)
