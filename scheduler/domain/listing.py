"""Which candidates a decision shows and stores: the best of every GPU type and count, with what became of it."""

from __future__ import annotations

from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.candidates import Lot, Proposals, RuledOut
from scheduler.domain.decision import Estimate, Judged
from scheduler.domain.money import format_usd
from scheduler.domain.outlook import CellOutlook, Outlook
from scheduler.domain.spec import Objective
from scheduler.domain.table import FEASIBLE, Table
from scheduler.domain.verdicts import HOPELESS_TO_NEAR, NEARNESS, Code, Verdict


def list_candidates(
    proposals: Proposals, outlook: Outlook, table: Table, order: NDArray[np.int64], objective: Objective
) -> tuple[Judged, ...]:
    """One candidate for each GPU type and count, in the order of rank: the winner, the feasible, the near misses."""
    shown: dict[tuple[str, int], Judged] = {}
    places = _kinds(proposals.lots)[table.lot[order]]
    _, firsts = np.unique(places, return_index=True)
    winner = int(order[0]) if len(order) and table.nearness[order[0]] == FEASIBLE else None
    for row in (int(order[first]) for first in np.sort(firsts)):
        lot, cell = proposals.lots[table.lot[row]], outlook.cells[table.cell[row]]
        verdict = _verdict(table, row, winner, lot, cell, objective)
        shown[lot.offer.gpu_type, lot.gpu_count] = _judged(lot, cell, table, row, verdict)
    nearest: dict[tuple[str, int], RuledOut] = {}
    # the nearest first, so that the first of its kind is the one to show
    for out in sorted(proposals.ruled_out, key=_distance):
        for count in out.gpu_counts:
            nearest.setdefault((out.offer.gpu_type, count), out)
    ruled_out = [_unforecast(out, kind[1]) for kind, out in nearest.items() if kind not in shown]
    ruled_out.sort(key=lambda j: (-NEARNESS[j.verdict.code], j.offer.gpu_type, j.gpu_count))
    return (*shown.values(), *ruled_out)


def _kinds(lots: tuple[Lot, ...]) -> NDArray[np.int64]:
    places: dict[tuple[str, int], int] = {}
    kinds = [places.setdefault((lot.offer.gpu_type, lot.gpu_count), len(places)) for lot in lots]
    return np.array(kinds, dtype=np.int64)


def _distance(out: RuledOut) -> tuple[int, int, str, str, UUID]:
    offer = out.offer
    price = offer.on_demand_micros_per_gpu_hour
    if price is None:
        price = offer.spot_micros_per_gpu_hour or 0
    return -NEARNESS[out.verdict.code], price, offer.provider, offer.region, offer.id


def _unforecast(out: RuledOut, gpu_count: int) -> Judged:
    offer = out.offer
    spot = offer.on_demand_micros_per_gpu_hour is None
    price = offer.spot_micros_per_gpu_hour if spot else offer.on_demand_micros_per_gpu_hour
    return Judged(
        offer=offer, gpu_count=gpu_count, layout=None, spot=spot and price is not None, micros_per_gpu_hour=price or 0,
        forecast=None, fit_probability=None, estimate=None, verdict=out.verdict,
    )  # fmt: skip


def _judged(lot: Lot, cell: CellOutlook, table: Table, row: int, verdict: Verdict) -> Judged:
    costs = table.costs
    estimate = Estimate(
        use_p50_s=float(costs.use_p50_s[row]),
        use_p90_s=float(costs.use_p90_s[row]),
        p50_micros=int(costs.p50_micros[row]),
        p90_micros=int(costs.p90_micros[row]),
        expected_micros=int(costs.expected_micros[row]),
    )
    return Judged(
        offer=lot.offer,
        gpu_count=lot.gpu_count,
        layout=cell.forecast.layout,
        spot=lot.price.spot,
        micros_per_gpu_hour=lot.price.micros_per_gpu_hour,
        forecast=cell.forecast,
        fit_probability=cell.fit.probability,
        estimate=None if cell.forecast.runtime_s is None else estimate,
        verdict=verdict,
        variant_assumed=cell.variant_assumed,
    )


def _verdict(table: Table, row: int, winner: int | None, lot: Lot, cell: CellOutlook, objective: Objective) -> Verdict:
    if row == winner:
        best = "soonest finished" if objective is Objective.TIME else "lowest expected cost"
        return Verdict(Code.CHOSEN, None, best)
    nearness, number = int(table.nearness[row]), float(table.number[row])
    if nearness == FEASIBLE:
        assert winner is not None  # noqa: S101 - where anything is feasible, the first in order is chosen
        return _beaten(table, row, winner, objective)
    code = HOPELESS_TO_NEAR[nearness]
    if code not in _WITH_THE_OFFER:
        assert cell.verdict is not None  # noqa: S101 - every other reason was found without the offer
        return cell.verdict
    money = f"${format_usd(int(number))}"
    text = {
        Code.DEADLINE: f"{number:.0f} s late at the asked probability",
        Code.BUDGET: f"{money} over the budget at p90",
        Code.QUOTA: f"{number:.0f} GPUs above what is left of the tenant's quota",
        Code.QUOTA_SPEND: f"{money} at p90 above what is left of the tenant's quota of this month",
        Code.CAPACITY: _capacity(lot, int(table.free[row])),
    }[code]
    return Verdict(code, number / 1_000_000 if code in _IN_MICROS else number, text)


_WITH_THE_OFFER = (Code.DEADLINE, Code.BUDGET, Code.QUOTA, Code.QUOTA_SPEND, Code.CAPACITY)
"""Reasons that no layout has by itself."""

_IN_MICROS = (Code.BUDGET, Code.QUOTA_SPEND)


def _capacity(lot: Lot, free: int) -> str:
    if lot.gpu_count > lot.offer.capacity_gpus:
        return f"has {lot.offer.capacity_gpus} GPUs in all, {lot.gpu_count} are needed"
    return f"{free} of {lot.offer.capacity_gpus} GPUs are free now, {lot.gpu_count} are needed"


def _beaten(table: Table, row: int, winner: int, objective: Objective) -> Verdict:
    costs = table.costs
    if objective is Objective.TIME:
        ours, best = float(costs.use_p50_s[row]), float(costs.use_p50_s[winner])
        if ours < best:
            return _yielded(100 * (1 - ours / best), "sooner")
        return Verdict(Code.SLOWER, 100 * (ours / best - 1), f"+{100 * (ours / best - 1):.0f} % time")
    ours, best = float(costs.expected_micros[row]), float(costs.expected_micros[winner])
    if ours < best:
        return _yielded(100 * (1 - ours / best), "cheaper")
    if best == 0:
        text = (
            "costs as little, but loses the tie" if ours == 0 else f"costs ${format_usd(int(ours))}, the chosen nothing"
        )
        return Verdict(Code.DEARER, None, text)
    return Verdict(Code.DEARER, 100 * (ours / best - 1), f"+{100 * (ours / best - 1):.0f} % cost")


def _yielded(percent: float, how: str) -> Verdict:
    text = f"{percent:.0f} % {how} for this job, but all waiting jobs together do best with it elsewhere"
    return Verdict(Code.YIELDED, percent, text)
