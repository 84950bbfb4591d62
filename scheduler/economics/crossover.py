"""When a dedicated deployment beats a per-token API, for one model and one shape of traffic.

An API costs the same per request whatever the traffic. A deployment costs the same per hour whatever it serves, so a
request costs `price / traffic`, down to `price / capacity` at full use. The break-even utilisation is the ratio of the
two: API cost per request over the deployment's at full use, the other way round. Above 1 there is no traffic at which
the deployment wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from scheduler.domain.arrays import Floats
from scheduler.economics.api_prices import ApiPrice
from scheduler.economics.tokens import TokenCost

MICROS = Decimal(1_000_000)
DAY_S = 86_400
MOST_COPIES = 1000
"""Of a deployment, that are looked at one by one for gaps between them; above, its own last gap is what is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """One deployment against one API."""

    cost: TokenCost
    utilisation: float
    """Of the deployment's capacity, from which it is cheaper; above the highest usable share it never is."""
    utilisation_low: float
    utilisation_high: float
    """The same where the deployment serves as fast as its p90, and as slow as its p10."""
    requests_per_day: float
    """Traffic at which both cost the same; what the deployment can serve has no part in it."""

    def reached(self, most: float, *, careful: bool = False) -> bool:
        """Whether the deployment wins at all, run up to a share `most` of its capacity."""
        return (self.utilisation_high if careful else self.utilisation) <= most


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """All deployments against one API, and the first that wins as traffic grows."""

    api: ApiPrice
    api_request_usd: Decimal
    first: BreakEven | None
    """None: never, on any of them."""
    careful: BreakEven | None
    """The same if every deployment serves at the slow end of its forecast."""
    hopeful: BreakEven | None
    """And at the fast end."""
    lowest: BreakEven
    """The deployment of the lowest break-even utilisation, whether that is reached or not."""
    always_requests_per_day: float | None
    """From here on some number of copies never costs more than the API: between where the first is full and the second
    is paid for, the API may be cheaper again. None: never."""


def break_even(cost: TokenCost, api_request_usd: Decimal) -> BreakEven:
    """One deployment against a price per request."""
    per_second = Decimal(cost.micros_per_hour) / MICROS / 3600
    traffic = float(per_second / api_request_usd)
    takes = cost.operating.request_s
    return BreakEven(
        cost=cost,
        utilisation=traffic * takes.p50,
        utilisation_low=traffic * takes.p10,
        utilisation_high=traffic * takes.p90,
        requests_per_day=traffic * DAY_S,
    )


def cross(costs: Sequence[TokenCost], api: ApiPrice, request_usd: Decimal, *, most: float) -> Crossover | None:
    """Where the best deployment begins to win, run up to a share `most` of its capacity; None without deployments.

    The first that wins is the one of the lowest price per hour among those that can: a deployment that does not win
    alone wins with no number of copies, since they serve and cost as many times as much.
    """
    if not costs:
        return None
    points = [break_even(cost, request_usd) for cost in costs]

    def first(key: str) -> BreakEven | None:
        winning = [point for point in points if getattr(point, key) <= most]
        return min(winning, key=lambda point: point.requests_per_day, default=None)

    return Crossover(
        api=api, api_request_usd=request_usd, first=first("utilisation"), careful=first("utilisation_high"),
        hopeful=first("utilisation_low"), lowest=min(points, key=lambda point: point.utilisation),
        always_requests_per_day=always(points, most),
    )  # fmt: skip


def always(points: Sequence[BreakEven], most: float) -> float | None:
    """Requests a day from which on some number of copies of one of the deployments costs no more than the API.

    k copies do from k times the break-even traffic to k times what one serves up to `most`. With `u` the break-even
    utilisation, the next begin before these are full from k = u / (most - u) on.
    """
    fastest, winning = math.inf, []
    for point in sorted(points, key=lambda one: one.requests_per_day):
        # who is dearer an hour and no faster is replaced copy by copy
        if point.utilisation <= most and point.utilisation < fastest * point.requests_per_day:
            fastest = point.utilisation / point.requests_per_day
            winning.append(point)
    # a hair above a whole number is that number: the quotient of floats is not exact
    ends = [
        point.requests_per_day * max(1, math.ceil(point.utilisation / (most - point.utilisation) - 1e-9))
        for point in winning
        if point.utilisation < most
    ]
    if not ends:
        return None
    steady = min(ends)
    reach: list[tuple[float, float]] = []
    for point in winning:
        begins = point.requests_per_day * np.arange(1, min(MOST_COPIES, steady / point.requests_per_day) + 1)
        reach += zip((begins * (most / point.utilisation)).tolist(), begins.tolist(), strict=True)
    # backwards from where one kind alone leaves no gap: others may have closed its last ones
    for end, begin in sorted(reach, reverse=True):
        if end < steady * (1 - 1e-9):
            break
        steady = min(steady, begin)
    return steady


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Dollars a day at some traffic."""

    requests_per_day: float
    api_usd: float
    dedicated_usd: float
    """Of the cheapest number of copies of any deployment."""
    low_usd: float
    high_usd: float
    """At the fast and the slow end of the forecasts."""


def curve(
    costs: Sequence[TokenCost], request_usd: Decimal, *, most: float, around: float, points: int = 121
) -> list[CurvePoint]:
    """The two costs from a hundredth of a traffic to a hundred times it, evenly on a logarithmic scale."""
    grid = [around * 10 ** (-2 + 4 * step / (points - 1)) for step in range(points)]
    best = frontier(costs)
    return [
        CurvePoint(
            requests_per_day=traffic,
            api_usd=traffic * float(request_usd),
            dedicated_usd=_cheapest(best, traffic, most, "p50"),
            low_usd=_cheapest(best, traffic, most, "p10"),
            high_usd=_cheapest(best, traffic, most, "p90"),
        )
        for traffic in grid
    ]


def frontier(costs: Sequence[TokenCost]) -> list[TokenCost]:
    """Deployments that no other beats in price per hour at all three speeds: the others never win."""
    kept: list[TokenCost] = []
    for cost in sorted(costs, key=lambda one: one.micros_per_hour):
        takes = cost.operating.request_s
        slower = all(
            takes.p10 < known.operating.request_s.p10
            or takes.p50 < known.operating.request_s.p50
            or takes.p90 < known.operating.request_s.p90
            for known in kept
        )
        if slower:
            kept.append(cost)
    return kept


def _cheapest(costs: Sequence[TokenCost], requests_per_day: float, most: float, level: str) -> float:
    return min(float(day_usd(cost, requests_per_day, most, level)) for cost in costs)


def copies(cost: TokenCost, requests_per_day: float | Floats, most: float, level: str) -> Floats:
    """How many of a deployment serve a traffic, each run up to a share `most`, at a quantile of the forecast's time."""
    takes: float = getattr(cost.operating.request_s, level)
    # a hair less than a whole copy more is none: the quotient of floats is not exact
    return np.maximum(1.0, np.ceil(np.asarray(requests_per_day) / DAY_S * takes / most - 1e-9))


def day_usd(cost: TokenCost, requests_per_day: float | Floats, most: float, level: str) -> Floats:
    """Dollars a day of so many copies."""
    return cost.micros_per_hour / 1e6 * 24 * copies(cost, requests_per_day, most, level)
