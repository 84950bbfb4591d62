"""Own GPUs, reserve them, rent them by the hour or the second, or pay for what they would do: the same work, for years.

Every way serves the same demand, in busy GPU-hours: what is above a fleet that is owned or reserved is rented on
demand. Machines that are rented by the hour wait for work as a fleet's do; who pays by the second, or per token, pays
for busy hours alone. Costs fall due at the end of each month and are discounted to the day of the decision; capital
is paid on that day, and what it still fetches comes back at the end. What is uncertain is drawn from triangles, all
ways on the same draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from scheduler.domain.arrays import Floats

MONTH_H = 730.0
DRAWS = 10_000
SEED = 20_261_129
"""Equal questions get equal answers."""

_LEVELS = (10, 50, 90)


class Way(StrEnum):
    """How to come by GPUs."""

    BUY = "buy"
    RESERVED = "reserved"
    ON_DEMAND = "on_demand"
    SERVERLESS = "serverless"
    API = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Triangle:
    """What something may be: at least `low`, at most `high`, most likely `mid`; certain where all are the same."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What is compared. Dollars; rates and shares are fractions of 1."""

    gpus: int
    months: int
    discount_rate: float
    """Of a year."""
    max_utilisation: float
    """Share of the hours of a fleet that can be used, and of those rented on demand, for what is above."""
    watts_per_gpu: float
    """At full use, with its share of the server."""
    idle_share: float
    """Of that power, what is drawn without work."""
    pue: float
    capital_usd_per_gpu: float | None
    """With its share of the server and network; None: not to be bought. So it is with each price below."""
    hosting_usd_per_kw_month: float
    staff_usd_per_month: float
    """That owning takes above the other ways."""
    on_demand_usd: float
    """Per GPU-hour, busy or not."""
    reserved_usd: float | None
    """As long as the fleet stands, busy or not."""
    serverless_usd: float | None
    """Per busy GPU-hour."""
    api_usd: float | None
    """What an API charges for the work that a GPU does in a busy hour."""

    utilisation: Triangle
    """Of the fleet, in the first month."""
    growth: Triangle
    """Of the demand, in a year."""
    price_fall: Triangle
    """Of prices on demand, serverless and per token, in a year; a reserved one is fixed."""
    usd_per_kwh: Triangle
    value_kept: Triangle
    """Of capital, in a year."""
    api_work: Triangle = Triangle(low=1.0, mid=1.0, high=1.0)
    """What a busy hour does over what `api_usd` is of: a faster card does more that an API would charge for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Over all draws."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Payback:
    """When owning has cost no more than another way, resale left out."""

    months: int | None
    """If everything is as is most likely; None: not within the horizon."""
    probability: float
    """That it is within the horizon."""
    drawn: Quantiles | None
    """Months, over the draws in which it is; None where it is in none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayCost:
    """What a way costs over the horizon, discounted; dollars."""

    way: Way
    usd: float
    """If everything is as is most likely."""
    parts: Mapping[str, float]
    """Of that: capital, power, hosting, staff, rent, overflow, resale (negative). They add up."""
    drawn: Quantiles
    cheapest_probability: float
    saves_usd: float
    """Against renting on demand: the net present value of this way, most likely."""
    cumulative_usd: tuple[float, ...]
    """To the end of each month from 0 on, most likely; resale comes in the last."""
    payback: Payback | None
    """Of owning, against this way; None for owning itself and where it is not to be bought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """Values of what is uncertain, (n, 1)."""

    utilisation: Floats
    growth: Floats
    price_fall: Floats
    usd_per_kwh: Floats
    value_kept: Floats
    api_work: Floats


_UNCERTAIN = ("utilisation", "growth", "price_fall", "usd_per_kwh", "value_kept", "api_work")


def compare_ways(means: Means, *, draws: int = DRAWS, seed: int = SEED) -> tuple[WayCost, ...]:
    """Every way that has a price, the cheapest first if everything is as is most likely."""
    likely = _ways(means, _most_likely(means))
    drawn = _ways(means, _draw(means, draws, seed))
    totals = {way: _total(parts) for way, parts in drawn.items()}
    cheapest = np.argmin(np.hstack([total[:, -1:] for total in totals.values()]), axis=1)
    rented = float(_total(likely[Way.ON_DEMAND])[0, -1])
    found = []
    for place, (way, parts) in enumerate(likely.items()):
        course = _total(parts)[0]
        found.append(
            WayCost(
                way=way,
                usd=float(course[-1]),
                parts={name: float(part[0].sum()) for name, part in parts.items()},
                drawn=_quantiles(totals[way][:, -1]),
                cheapest_probability=float(np.mean(cheapest == place)),
                saves_usd=rented - float(course[-1]),
                cumulative_usd=tuple(course.tolist()),
                payback=None if way is Way.BUY or Way.BUY not in likely else _payback(likely, drawn, way),
            )
        )
    return tuple(sorted(found, key=lambda one: one.usd))


def likely_costs(means: Means) -> dict[Way, dict[str, Floats]]:
    """Of each way its discounted costs by kind, (months + 1,), if everything is as is most likely.

    Element 0 is the day of the decision, the others are the ends of the months.
    """
    ways = _ways(means, _most_likely(means))
    return {way: {name: part[0] for name, part in parts.items()} for way, parts in ways.items()}


def _most_likely(means: Means) -> _Drawn:
    return _Drawn(**{name: np.array([[getattr(means, name).mid]]) for name in _UNCERTAIN})


def _draw(means: Means, draws: int, seed: int) -> _Drawn:
    rng = np.random.default_rng(seed)
    values: dict[str, Floats] = {}
    for name in _UNCERTAIN:
        one: Triangle = getattr(means, name)
        # a place in the distribution for each, so that one triangle moves no other's draws
        places = rng.random((draws, 1))
        values[name] = _at(one, places)
    return _Drawn(**values)


def _at(one: Triangle, places: Floats) -> Floats:
    """The quantiles of a triangle."""
    width = one.high - one.low
    if width == 0.0:
        return np.full_like(places, one.mid)
    below = (one.mid - one.low) / width
    rising = one.low + np.sqrt(places * width * (one.mid - one.low))
    falling = one.high - np.sqrt((1.0 - places) * width * (one.high - one.mid))
    return np.where(places < below, rising, falling)


def _ways(means: Means, drawn: _Drawn) -> dict[Way, dict[str, Floats]]:
    """Of each way its discounted costs by kind, (n, months + 1): column 0 is the day of the decision."""
    month = np.arange(means.months)
    demand_h = means.gpus * MONTH_H * drawn.utilisation * (1 + drawn.growth) ** (month / 12)
    used_h = np.minimum(demand_h, means.gpus * MONTH_H * means.max_utilisation)
    fall = (1 - drawn.price_fall) ** (month / 12)
    later = (1 + means.discount_rate) ** (-(month + 1) / 12)
    rented_usd = means.on_demand_usd / means.max_utilisation * fall
    overflow = (demand_h - used_h) * rented_usd
    first = np.zeros((len(demand_h), 1))

    def monthly(usd: Floats) -> Floats:
        return np.hstack([first, np.broadcast_to(usd, demand_h.shape) * later])

    ways: dict[Way, dict[str, Floats]] = {}
    if means.capital_usd_per_gpu is not None:
        capital = means.gpus * means.capital_usd_per_gpu
        kw = means.gpus * means.watts_per_gpu / 1000
        busy = used_h / (means.gpus * MONTH_H)
        power = kw * MONTH_H * means.pue * (means.idle_share + (1 - means.idle_share) * busy) * drawn.usd_per_kwh
        kept = capital * drawn.value_kept ** (means.months / 12)
        ways[Way.BUY] = {
            "capital": np.hstack([first + capital, np.zeros_like(demand_h)]),
            "power": monthly(power),
            "hosting": monthly(np.array(kw * means.hosting_usd_per_kw_month)),
            "staff": monthly(np.array(means.staff_usd_per_month)),
            "overflow": monthly(overflow),
            "resale": monthly(np.where(month == means.months - 1, -kept, 0.0)),
        }
    if means.reserved_usd is not None:
        rent = np.array(means.gpus * MONTH_H * means.reserved_usd)
        ways[Way.RESERVED] = {"rent": monthly(rent), "overflow": monthly(overflow)}
    ways[Way.ON_DEMAND] = {"rent": monthly(demand_h * rented_usd)}
    by_use = {
        Way.SERVERLESS: means.serverless_usd,
        Way.API: None if means.api_usd is None else means.api_usd * drawn.api_work,
    }  # fmt: skip
    for way, price in by_use.items():
        if price is not None:
            ways[way] = {"rent": monthly(demand_h * price * fall)}
    return ways


def _total(parts: Mapping[str, Floats], *, without: str = "") -> Floats:
    """Cumulative, to the end of each month."""
    total: Floats = np.cumsum(np.sum([part for name, part in parts.items() if name != without], axis=0), axis=1)
    return total


def _payback(
    likely: Mapping[Way, Mapping[str, Floats]], drawn: Mapping[Way, Mapping[str, Floats]], way: Way
) -> Payback:
    expected = _paid_back(likely, way)[0]
    months = _paid_back(drawn, way)
    reached = months[~np.isnan(months)]
    return Payback(
        months=None if np.isnan(expected) else int(expected),
        probability=len(reached) / len(months),
        drawn=_quantiles(reached) if len(reached) else None,
    )


def _paid_back(ways: Mapping[Way, Mapping[str, Floats]], way: Way) -> Floats:
    """The month from which on owning has cost no more, to the end; nan where it has at the end."""
    dearer = _total(ways[Way.BUY], without="resale") > _total(ways[way])
    # the last month in which it was dearer: demand that outgrows a fleet may turn the tide again
    last = np.where(dearer.any(axis=1), dearer.shape[1] - np.argmax(dearer[:, ::-1], axis=1), 0)
    return np.where(dearer[:, -1], np.nan, last.astype(np.float64))


def _quantiles(values: Floats) -> Quantiles:
    p10, p50, p90 = np.percentile(values, _LEVELS).tolist()
    return Quantiles(p10=p10, p50=p50, p90=p90)
