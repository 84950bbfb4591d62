"""Which candidates a decision shows and stores: the best of every GPU type and count, with what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from predictor.forecast import Forecast
from scheduler.domain.arrays import Ints
from scheduler.domain.candidates import Proposals
from scheduler.domain.cost import MAX_SECONDS
from scheduler.domain.decision import Estimate, Judged
from scheduler.domain.money import format_usd
from scheduler.domain.outlook import Outlook
from scheduler.domain.spec import Objective
from scheduler.domain.stock import Kind, Lot
from scheduler.domain.table import Join, Table
from scheduler.domain.verdicts import FEASIBLE, HOPELESS_TO_NEAR, Code, Verdict


def list_candidates(outlook: Outlook, table: Table, order: Ints, objective: Objective) -> tuple[Judged, ...]:
    """One candidate for each GPU type and count, in the order of rank: the winner, the feasible, the near misses; with
    the best of the cards to join beside it."""
    proposals = outlook.proposals
    kinds = proposals.inventory.stock.lot_kind[table.lot[order]]
    each, firsts = np.unique(2 * kinds + (order >= table.own), return_index=True)
    shown = each // 2
    winner = int(order[0]) if len(order) and table.nearness[order[0]] == FEASIBLE else None
    rows = order[np.sort(firsts)]
    outlook.forecasts(table.cell[rows])  # made for all of them at once, and kept: the verdicts ask one by one
    verdicts = [_verdict(outlook, table, row, winner, objective) for row in rows.tolist()]
    return (*_judged(outlook, table, rows, verdicts), *_ruled_out(proposals, shown))


def judged(outlook: Outlook, table: Table, row: int, verdict: Verdict) -> Judged:
    """A candidate as a value."""
    (one,) = _judged(outlook, table, np.array([row]), [verdict])
    return one


def _judged(outlook: Outlook, table: Table, rows: Ints, verdicts: Sequence[Verdict]) -> list[Judged]:
    """Candidates as values: every column is read once for all of them."""
    costs, stock, cells = table.costs, outlook.proposals.inventory.stock, table.cell[rows]
    estimates = zip(
        costs.use_p50_s[rows].tolist(), costs.use_p90_s[rows].tolist(), table.done_s[rows].tolist(),
        costs.p50_micros[rows].tolist(), costs.p90_micros[rows].tolist(), costs.try_p90_micros[rows].tolist(),
        costs.expected_micros[rows].tolist(), strict=True,
    )  # fmt: skip
    if outlook.tried:  # in words and numbers as `judge_fit` says
        fits = [outlook.cell(cell).fit.probability for cell in cells.tolist()]
    else:
        fits = outlook.fit[cells].tolist()
    values = [
        _value(stock.lot(lot), provision_s, forecast, fit, estimate, verdict)
        for lot, provision_s, forecast, fit, estimate, verdict in zip(
            table.lot[rows].tolist(),
            table.provision_s[rows].tolist(),
            outlook.forecasts(cells),
            fits,
            estimates,
            verdicts,
            strict=True,
        )
    ]
    if not table.joins:
        return values
    return [_shared(value, table.join(row)) for value, row in zip(values, rows.tolist(), strict=True)]


def _shared(value: Judged, join: Join | None) -> Judged:
    if join is None:
        return value
    sharing = join.sharing
    return replace(
        value, sharing=sharing, fit_probability=sharing.fit_probability,
        micros_per_gpu_hour=join.card.tariff.micros_per_gpu_hour,
    )  # fmt: skip


def _value(
    lot: Lot,
    provision_s: float,
    forecast: Forecast,
    fit: float,
    estimate: tuple[float, float, float, int, int, int, int],
    verdict: Verdict,
) -> Judged:
    use_p50_s, use_p90_s, done_s, p50_micros, p90_micros, try_p90_micros, expected_micros = estimate
    return Judged(
        offer=lot.offer,
        gpu_count=lot.gpu_count,
        layout=forecast.layout,
        spot=lot.spot,
        micros_per_gpu_hour=lot.micros_per_gpu_hour,
        provision_s=provision_s,
        forecast=forecast,
        fit_probability=fit,
        estimate=None
        if forecast.runtime_s is None
        else Estimate(
            use_p50_s=use_p50_s,
            use_p90_s=use_p90_s,
            done_s=done_s,
            p50_micros=p50_micros,
            p90_micros=p90_micros,
            try_p90_micros=try_p90_micros,
            expected_micros=expected_micros,
        ),
        verdict=verdict,
        variant_assumed=None if forecast.gpu_type == lot.offer.gpu_type else forecast.gpu_type,
    )


def _ruled_out(proposals: Proposals, shown: Ints) -> list[Judged]:
    """Of every kind that is not shown, the offer that came nearest; of those the cheapest."""
    stock = proposals.inventory.stock
    near = proposals.near[stock.sale_offer]
    out = np.flatnonzero((near != FEASIBLE) & ~np.isin(stock.sale_kind, shown))
    nearest = out[np.argsort(-near[out], kind="stable")]  # sales stand in the order of price
    _, firsts = np.unique(stock.sale_kind[nearest], return_index=True)
    listed = [
        _unforecast(proposals, int(stock.sale_offer[sale]), stock.kinds[stock.sale_kind[sale]])
        for sale in nearest[firsts].tolist()
    ]
    return sorted(listed, key=lambda one: (-one.verdict.nearness, one.offer.gpu_type, one.gpu_count))


def _unforecast(proposals: Proposals, place: int, kind: Kind) -> Judged:
    offer = proposals.inventory.stock.offers[place]
    verdict = proposals.rules.verdict(offer)
    assert verdict is not None  # noqa: S101 - the same rules have ruled it out
    spot = offer.on_demand_micros_per_gpu_hour is None
    price = offer.spot_micros_per_gpu_hour if spot else offer.on_demand_micros_per_gpu_hour
    return Judged(
        offer=offer, gpu_count=kind.gpu_count, layout=None, spot=spot and price is not None,
        micros_per_gpu_hour=price or 0, provision_s=offer.provision_s, forecast=None,
        fit_probability=None, estimate=None, verdict=verdict,
    )  # fmt: skip


def _lot(outlook: Outlook, table: Table, row: int) -> Lot:
    return outlook.proposals.inventory.stock.lot(int(table.lot[row]))


def _verdict(outlook: Outlook, table: Table, row: int, winner: int | None, objective: Objective) -> Verdict:
    if row == winner:
        best = "soonest finished" if objective is Objective.TIME else "lowest expected cost"
        return Verdict(Code.CHOSEN, None, best)
    if table.nearness[row] == FEASIBLE:
        assert winner is not None  # noqa: S101 - where anything is feasible, the first in order is chosen
        return _beaten(table, row, winner, objective)
    join = table.join(row)
    if join is not None and join.verdict is not None:
        return join.verdict
    verdict = _stopped(outlook, table, row) or outlook.cell(int(table.cell[row])).verdict
    assert verdict is not None  # noqa: S101 - every other reason was found without the offer
    return verdict


def _stopped(outlook: Outlook, table: Table, row: int) -> Verdict | None:
    """The reason that the offer gave, if one of its did."""
    number = float(table.number[row])
    match code := HOPELESS_TO_NEAR[int(table.nearness[row])]:
        case Code.DEADLINE:
            text = late(number)
        case Code.BUDGET:
            number, text = number / 1_000_000, f"${format_usd(int(number))} over the budget at p90"
        case Code.QUOTA:
            text = f"{number:.0f} GPUs above what is left of the tenant's quota"
        case Code.QUOTA_SPEND:
            text = f"${format_usd(int(number))} at p90 above what is left of the tenant's quota of this month"
            number /= 1_000_000
        case Code.CAPACITY:
            text = _capacity(_lot(outlook, table, row), int(table.free[row]))
        case Code.KEPT:
            text = _kept(_lot(outlook, table, row), int(table.free[row]), int(table.left[row]))
        case _:
            return None
    return Verdict(code, number, text)


def _capacity(lot: Lot, free: int) -> str:
    if lot.gpu_count > lot.offer.capacity_gpus:
        return f"has {lot.offer.capacity_gpus} GPUs in all, {lot.gpu_count} are needed"
    return f"{free} of {lot.offer.capacity_gpus} GPUs are free now, {lot.gpu_count} are needed"


def late(seconds: float) -> str:
    """How a deadline is missed."""
    if seconds > MAX_SECONDS:
        return "no time can be promised with the asked probability"
    return f"{seconds:.0f} s late at the asked probability"


def _kept(lot: Lot, free: int, left: int) -> str:
    of_all = f"{free} of {lot.offer.capacity_gpus} GPUs are free now"
    return f"{of_all}, {free - left} of them kept for waiting jobs that come first, {lot.gpu_count} are needed"


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
