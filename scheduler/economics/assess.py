"""What each way to serve one model costs, month by month from a switch on, and which of those allowed costs least.

Traffic grows evenly, prices stay. An API is paid by the request; a deployment that is kept all day by as many copies
as its busiest minute needs; one that comes and goes by what a simulated day of that traffic cost; owning and
reserving as `roi` has it, undiscounted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

from scheduler.domain.arrays import Floats
from scheduler.economics import roi
from scheduler.economics.api_prices import ApiPrice
from scheduler.economics.assess_dates import MONTH_DAYS, Way
from scheduler.economics.crossover import DAY_S, copies, day_usd
from scheduler.economics.fleet_outcome import Outcome
from scheduler.economics.roi_spec import RoiSpec
from scheduler.economics.tokens import TokenCost

LEVELS = ("p10", "p50", "p90")
"""Of the forecast's time: a faster machine costs less."""

ONCE = ("capital", "resale")
"""Parts of a way's cost that no month has caused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """The best way to come and go at one traffic, from a simulated day."""

    requests_per_day: float
    outcome: Outcome

    def usd_per_day(self, level: str) -> float:
        """Of all its requests, at a quantile of the forecast's time."""
        end = {"p10": self.outcome.fast, "p90": self.outcome.slow}.get(level) or self.outcome
        return end.cost_micros / 1e6


@dataclass(frozen=True)  # no slots: a cached property needs a place
class Case:
    """One model's facts. What would flip an answer is found by replacing one of them."""

    requests_per_day: float
    """On the day of the assessment."""
    growth: float
    """Of a year."""
    request_usd: Decimal
    """Paid now."""
    other: tuple[ApiPrice, Decimal] | None
    """Of the APIs allowed, the cheapest request elsewhere."""
    costs: tuple[TokenCost, ...]
    """Deployments that no other beats (`crossover.frontier`)."""
    elastic: tuple[Elastic, ...]
    """Ascending; empty where nothing that comes and goes keeps the limits."""
    peak: float
    max_utilisation: float
    operations_usd: float
    """A month, for whoever serves a model oneself."""
    own: RoiSpec | None
    """What one GPU costs to buy or to reserve."""
    ownable: tuple[TokenCost, ...]
    """Deployments on that GPU type; without one it is neither bought nor reserved."""
    first_month: int
    """Of the comparison, counted from the day of the assessment."""
    months: int
    refused: Mapping[Way, str]
    """Ways that constraints rule out, and why."""
    api_factor: float = 1.0
    """On every price per token, and the other on every price of GPUs."""
    gpu_factor: float = 1.0

    @cached_property
    def per_day(self) -> Floats:
        """Requests a day in each month of the comparison."""
        return self.requests_per_day * (1.0 + self.growth) ** ((self.first_month + np.arange(self.months)) / 12)

    @property
    def bills_before(self) -> Floats:
        """Dollars at the API in each month before the comparison, credits not taken off."""
        growth = (1.0 + self.growth) ** (np.arange(self.first_month) / 12)
        return self.requests_per_day * growth * (MONTH_DAYS * float(self.request_usd))

    @property
    def most(self) -> float:
        """Share of a deployment's capacity that the day's mean may take."""
        return self.max_utilisation / self.peak


@dataclass(frozen=True, slots=True, kw_only=True)
class WayCourse:
    """What one way costs from the first month of the comparison on; dollars."""

    way: Way
    monthly_usd: tuple[float, ...]
    low_usd: float
    """Total at the fast end of the forecast."""
    high_usd: float
    """And at its slow end."""
    refused: str | None
    """Why constraints rule it out; None: allowed."""
    api: ApiPrice | None = None
    cost: TokenCost | None = None
    """The deployment of one copy."""
    copies: tuple[int, int] = (0, 0)
    """In the first month and in the last."""
    outcome: Outcome | None = None
    """The simulated day whose traffic is nearest to the first month's."""

    @property
    def total_usd(self) -> float:
        """Over the horizon, at the forecast's median."""
        return sum(self.monthly_usd)


def courses(case: Case, *, ends: bool = True) -> tuple[WayCourse, ...]:
    """Every way that there is, allowed or not, the cheapest over the horizon first.

    Without `ends` the totals at the ends of the forecast are those at its median, in a third of the time.
    """
    levels = LEVELS if ends else ("p50", "p50", "p50")
    found = [_api(case, Way.STAY, case.request_usd, None)]
    if case.other is not None:
        found.append(_api(case, Way.OTHER_API, case.other[1], case.other[0]))
    if case.costs:
        found += [_dedicated(case, levels), *_owned(case, levels)]
    if case.elastic:
        found.append(_elastic(case, levels))
    return tuple(sorted(found, key=lambda one: one.total_usd))


def best(found: Sequence[WayCourse]) -> WayCourse | None:
    """The cheapest that is allowed; None where none is."""
    return next((one for one in found if one.refused is None), None)


def cheaper_from(case: Case, course: WayCourse, stay: WayCourse) -> int | None:
    """The month, counted from the assessment, from which on a way costs less than staying; None: not at the end."""
    dearer = [a >= b for a, b in zip(course.monthly_usd, stay.monthly_usd, strict=True)]
    if dearer[-1]:
        return None
    return case.first_month + max((place + 1 for place, one in enumerate(dearer) if one), default=0)


def _course(case: Case, way: Way, by_level: Sequence[Floats], **more: Any) -> WayCourse:
    """From dollars a month at the fast end, the median and the slow end of the forecast."""
    low, mid, high = by_level
    return WayCourse(
        way=way, monthly_usd=tuple(mid.tolist()), low_usd=float(low.sum()), high_usd=float(high.sum()),
        refused=case.refused.get(way), **more,
    )  # fmt: skip


def _api(case: Case, way: Way, request_usd: Decimal, api: ApiPrice | None) -> WayCourse:
    monthly = case.per_day * (MONTH_DAYS * float(request_usd) * case.api_factor)
    return _course(case, way, [monthly] * 3, api=api)


def _dedicated(case: Case, levels: Sequence[str]) -> WayCourse:
    """Of the deployment that costs least over the horizon."""

    def monthly(cost: TokenCost, level: str) -> Floats:
        return day_usd(cost, case.per_day, case.most, level) * MONTH_DAYS * case.gpu_factor + case.operations_usd

    cost = min(case.costs, key=lambda one: float(monthly(one, "p50").sum()))
    many = copies(cost, case.per_day[[0, -1]], case.most, "p50")
    return _course(
        case, Way.DEDICATED, [monthly(cost, level) for level in levels], cost=cost,
        copies=(int(many[0]), int(many[1])),
    )  # fmt: skip


def _elastic(case: Case, levels: Sequence[str]) -> WayCourse:
    known = np.log([one.requests_per_day for one in case.elastic])
    traffic = np.log(case.per_day)
    # beyond what was simulated a request costs what it does there: fewer share less, more share no worse
    at = np.clip(traffic, known[0], known[-1])

    def monthly(level: str) -> Floats:
        costs = np.log([one.usd_per_day(level) for one in case.elastic])
        per_day = np.exp(np.interp(at, known, costs) + traffic - at)
        return np.asarray(per_day * MONTH_DAYS * case.gpu_factor + case.operations_usd)

    nearest = case.elastic[int(np.argmin(np.abs(known - traffic[0])))].outcome
    return _course(
        case, Way.ELASTIC, [monthly(level) for level in levels],
        cost=None if nearest.deployment is None else nearest.deployment.cost, outcome=nearest,
    )  # fmt: skip


def _owned(case: Case, levels: Sequence[str]) -> list[WayCourse]:
    """Buying and reserving as many GPUs as the middle of the horizon needs; what is above is rented."""
    if case.own is None or not case.ownable:
        return []
    middle = case.per_day[case.months // 2]
    needed = [int(copies(cost, middle, case.most, "p50")) for cost in case.ownable]
    cost, count = min(
        zip(case.ownable, needed, strict=True), key=lambda one: (one[0].gpu_count * one[1], one[0].micros_per_hour)
    )
    by_level = {level: _roi(case, case.own, cost, count, level) for level in dict.fromkeys(levels)}
    return [
        _course(case, way, [by_level[level][way] for level in levels], cost=cost, copies=(count, count))
        for way in (Way.RESERVED, Way.BUY)
        if way in by_level["p50"]
    ]


def _roi(case: Case, own: RoiSpec, cost: TokenCost, count: int, level: str) -> dict[Way, Floats]:
    busy_s: float = getattr(cost.operating.request_s, level)
    use = float(case.per_day[0]) * busy_s / DAY_S / count
    hourly = cost.micros_per_hour / 1e6 / cost.gpu_count * case.gpu_factor
    certain = {
        "utilisation": use, "growth": case.growth, "price_fall": 0.0, "usd_per_kwh": own.usd_per_kwh.mid,
        "value_kept": own.value_kept.mid,
    }  # fmt: skip
    means = own.model_copy(
        update={"gpus": count * cost.gpu_count, "discount_rate": 0.0, "max_utilisation": case.most,
                "on_demand_usd_per_gpu_hour": hourly}
    ).means(cost.operating.question.gpu, hourly, certain)  # fmt: skip
    found = {}
    for way, parts in roi.likely_costs(means).items():
        if way in (roi.Way.RESERVED, roi.Way.BUY):
            # capital less what it fetches at the end, spread evenly: a month of owning is a month's share of it
            once = sum(float(parts[name].sum()) for name in ONCE if name in parts)
            monthly = np.sum([part[1:] for name, part in parts.items() if name not in ONCE], axis=0)
            found[Way(way.value)] = monthly + once / case.months + case.operations_usd
    return found
