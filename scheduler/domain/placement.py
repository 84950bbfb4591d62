"""Choose the placement that gets the job done for least money, or soonest.

The price compared is that of the whole expected use, not of an hour: a dear card that finishes early often wins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from datetime import datetime
from uuid import UUID

import numpy as np

from predictor.forecast import Forecast
from scheduler.domain.candidates import Proposals
from scheduler.domain.decision import Considered, Decision, Naive, Placement, Refusal, Wait
from scheduler.domain.fit import Tried
from scheduler.domain.listing import list_candidates
from scheduler.domain.options import Options, options_of
from scheduler.domain.outlook import Outlook, look_at
from scheduler.domain.room import OPEN, Room
from scheduler.domain.spec import JobSpec, Objective
from scheduler.domain.table import FEASIBLE, Table, tabulate
from scheduler.domain.verdicts import HOPELESS_TO_NEAR, NEARNESS, Code
from scheduler.domain.wording import chosen_reason, refusal_reason, wait_reason


def decide(
    spec: JobSpec,
    proposals: Proposals,
    forecasts: Sequence[Forecast],
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
    table = tabulate(proposals, outlook, spec.constraints, now=now, spent_micros=spent_micros, taken=taken, room=room)
    order = np.lexsort(tuple(reversed((-table.nearness, _shortfall(table), *table.keys(spec.objective)))))
    ranked, order = order, _assigned_first(order, table, proposals, room)
    feasible = table.nearness == FEASIBLE
    winner = int(order[0]) if feasible.any() else None
    listed = list_candidates(proposals, outlook, table, order, spec.objective)
    considered = Considered(
        candidates=listed,
        total=len(order) + sum(len(out.gpu_counts) for out in proposals.ruled_out),
        rejected_by_reason=_count_rejected(proposals, table, order, spec.objective),
        naive=_naive(proposals, outlook, table, winner),
        oldest_price_date=_oldest_price(proposals),
    )
    if winner is not None:
        return Placement(
            chosen=listed[0], reason=chosen_reason(listed[0], considered, spec.objective), considered=considered
        )
    options = options_of(proposals, table, ranked)
    if options.ranked:
        return Wait(reason=wait_reason(considered), considered=considered, options=options)
    return Refusal(reason=refusal_reason(considered, spec.constraints, now), considered=considered)


def _shortfall(table: Table) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """By how much a candidate misses, comparable within one reason; a higher probability misses by less."""
    sign = np.where(table.nearness == NEARNESS[Code.FIT_PROBABILITY], -1.0, 1.0)
    return np.where(table.nearness == FEASIBLE, 0.0, sign * table.number)


def _assigned_first(
    order: np.ndarray[tuple[int], np.dtype[np.int64]], table: Table, proposals: Proposals, room: Room
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The same order, but first the best feasible candidate that the job was assigned, where there is one."""
    if room.assigned is None:
        return order
    lots = [(lot.offer.id, lot.gpu_count) == room.assigned for lot in proposals.lots]
    given = np.array(lots, dtype=np.bool_)[table.lot] & (table.nearness == FEASIBLE)
    at = np.flatnonzero(given[order])
    return order if not len(at) else np.concatenate([order[at[:1]], np.delete(order, at[0])])


def _count_rejected(
    proposals: Proposals, table: Table, order: np.ndarray[tuple[int], np.dtype[np.int64]], objective: Objective
) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for out in proposals.ruled_out:
        counts[out.verdict.code] += len(out.gpu_counts)
    for nearness, many in zip(*np.unique(table.nearness, return_counts=True), strict=True):
        if nearness != FEASIBLE:
            counts[HOPELESS_TO_NEAR[nearness]] += int(many)
    feasible = order[table.nearness[order] == FEASIBLE]
    if len(feasible):
        lots = len(np.unique(table.lot[feasible]))
        counts[Code.SLOWER if objective is Objective.TIME else Code.DEARER] += lots - 1
        counts[Code.DOMINATED] += len(feasible) - lots
    return {str(code): many for code, many in sorted(counts.items()) if many}


def _naive(proposals: Proposals, outlook: Outlook, table: Table, winner: int | None) -> Naive | None:
    holds = np.array([holds_weights(cell.forecast) for cell in outlook.cells], dtype=np.bool_)
    eligible = np.flatnonzero((holds & outlook.timed)[table.cell] & (table.gpu_count <= table.free))
    if not len(eligible):
        return None
    costs = table.costs
    keys = (costs.use_p50_s, table.tie, table.micros_per_hour)
    best = int(eligible[np.lexsort(tuple(key[eligible] for key in keys))[0]])
    lot, cell = proposals.lots[table.lot[best]], outlook.cells[table.cell[best]]
    # if it runs out of memory, the naive user loses that use and then needs what was chosen here
    after = int(costs.expected_micros[winner if winner is not None else best])
    ppm = round((1.0 - cell.fit.probability) * 1_000_000)
    expected = int(costs.mean_micros[best]) * (1_000_000 - ppm) + (int(costs.wasted_micros[best]) + after) * ppm
    return Naive(
        offer=lot.offer, gpu_count=lot.gpu_count, layout=cell.forecast.layout,
        micros_per_hour=int(table.micros_per_hour[best]), fit_probability=cell.fit.probability,
        expected_micros=expected // 1_000_000,
    )  # fmt: skip


def holds_weights(forecast: Forecast) -> bool:
    """Whether the weights alone are no larger than the card's memory: all that a catalogue can tell."""
    parts, usable = forecast.vram_breakdown, forecast.usable_vram_gib
    return parts is None or usable is None or parts.weights <= usable


def _oldest_price(proposals: Proposals) -> str | None:
    return min((offer.price_date for offer in proposals.offers), default=None)


def find_options(
    spec: JobSpec,
    proposals: Proposals,
    forecasts: Sequence[Forecast],
    *,
    now: datetime,
    spent_micros: int = 0,
    tried: Sequence[Tried] = (),
    room: Room = OPEN,
) -> Options:
    """All that a job could run on, now or once capacity returns, the best first by its own objective."""
    outlook = look_at(proposals, forecasts, spec.constraints, tried)
    table = tabulate(
        proposals, outlook, spec.constraints, now=now, spent_micros=spent_micros, taken=frozenset(), room=room
    )
    return options_of(proposals, table, np.lexsort(tuple(reversed(table.keys(spec.objective)))))
