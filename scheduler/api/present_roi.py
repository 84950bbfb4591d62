"""Whether to own, as sent."""

from __future__ import annotations

from scheduler.api.present_economics import cents, price_list
from scheduler.api.schemas.economics import PaybackOut, RoiOut, UsdQuantilesOut, WayCostOut
from scheduler.economics.roi import Payback, WayCost
from scheduler.services.roi import RoiReport


def roi(report: RoiReport) -> RoiOut:
    """Every way, the cheapest first."""
    return RoiOut(
        question=report.spec.model_dump(mode="json", exclude_unset=True),
        assumptions=[*report.spec.assumed(report.means), *report.notes],
        price_list=None if report.price_list is None else price_list(report.price_list),
        ways=[_way(one) for one in report.ways],
    )


def _way(one: WayCost) -> WayCostOut:
    drawn = one.drawn
    return WayCostOut(
        way=one.way,
        usd=cents(one.usd),
        parts={name: cents(usd) for name, usd in one.parts.items()},
        drawn=UsdQuantilesOut(p10=cents(drawn.p10), p50=cents(drawn.p50), p90=cents(drawn.p90)),
        cheapest_probability=one.cheapest_probability,
        saves_usd=cents(one.saves_usd),
        cumulative_usd=[cents(usd) for usd in one.cumulative_usd],
        payback=None if one.payback is None else _payback(one.payback),
    )


def _payback(one: Payback) -> PaybackOut:
    drawn = one.drawn
    return PaybackOut(
        months=one.months,
        probability=one.probability,
        p10_months=None if drawn is None else drawn.p10,
        p50_months=None if drawn is None else drawn.p50,
        p90_months=None if drawn is None else drawn.p90,
    )
