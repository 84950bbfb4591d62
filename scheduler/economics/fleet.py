"""Ways to serve a day of requests: pay per token, keep replicas all day, start them as they are needed, or both.

Every way is simulated on the same requests. The number of dedicated replicas and the idle time-out are searched: a
step of the search is a whole day served again, so a longer day gets fewer steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from scheduler.domain.arrays import Floats
from scheduler.economics.api_prices import ApiPrice
from scheduler.economics.fleet_deployment import Deployment
from scheduler.economics.fleet_outcome import BINS, Outcome, Rules, Way, again, api_usd, of_api, serve
from scheduler.economics.traffic import Traffic

IDLE_S = (60.0, 300.0, 900.0, 30.0, 1800.0, 3600.0)
"""Time-outs that are tried, as many as there is time for."""
MOST_DEDICATED = 5000
"""Replicas kept all day, at most."""
LONG = 1_000_000
"""Requests above which two days are served side by side: each takes seconds, and holds no lock of the interpreter.
Two, whatever the machine has: each holds some hundred bytes of every request."""
STEPS = 40_000_000
"""Requests that are served in a search for k; a day is served at least 4 and at most 24 times."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All ways, the best first, and what k does."""

    outcomes: tuple[Outcome, ...]
    curve: tuple[Outcome, ...]
    """The hybrid's deployment with k = 0, … dedicated replicas; ascending."""


def compare(
    traffic: Traffic, deployments: Sequence[Deployment], apis: Sequence[ApiPrice], rules: Rules
) -> tuple[Comparison, ApiPrice | None]:
    """Every way on the deployments that promise most, and the API of the lowest price for these requests."""
    curve: tuple[Outcome, ...] = ()
    best: dict[Way, Outcome] = {}
    for deployment in promising(traffic, deployments, rules):
        found, swept = _on(traffic, deployment, rules)
        for one in found:
            if one.way not in best or one.order < best[one.way].order:
                best[one.way] = one
                curve = swept if one.way is Way.HYBRID else curve
    outcomes = _at_the_ends(traffic, list(best.values()), rules)
    api = min(apis, key=lambda one: (api_usd(traffic, one, rules.cached_tokens), one.provider), default=None)
    if api is not None:
        outcomes.append(of_api(traffic, api, rules.cached_tokens))
    return Comparison(outcomes=tuple(sorted(outcomes, key=lambda one: one.order)), curve=curve), api


def _each(asked: Iterable[T], answer: Callable[[T], R], requests: int) -> list[R]:
    """The answers in the order asked, whichever of them comes first."""
    if requests <= LONG:
        return [answer(one) for one in asked]
    with ThreadPoolExecutor(2) as both:
        return list(both.map(answer, asked))


def _at_the_ends(traffic: Traffic, outcomes: Sequence[Outcome], rules: Rules) -> list[Outcome]:
    """The same outcomes, each served again at the fast and at the slow end of its forecast."""
    asked = [(one, end) for one in outcomes if one.deployment for end in one.deployment.ends or ()]
    found = iter(_each(asked, lambda one: again(traffic, *one, rules), len(traffic)))
    return [
        replace(one, fast=next(found), slow=next(found)) if one.deployment and one.deployment.ends else one
        for one in outcomes
    ]


def promising(traffic: Traffic, deployments: Sequence[Deployment], rules: Rules) -> list[Deployment]:
    """Those cheapest as a fluid, kept all day or started as it comes; fewer of them where a day is long to simulate."""
    many = 3 if len(traffic) <= 300_000 else 2 if len(traffic) <= 2_000_000 else 1
    guesses = [_fluid_micros(traffic, one, rules) for one in deployments]
    places = range(len(deployments))
    orders = (
        sorted(places, key=lambda place: min(guesses[place])),
        sorted(places, key=lambda place: guesses[place][1]),
        sorted(places, key=lambda place: guesses[place][0]),
    )
    chosen = dict.fromkeys(place for ranks in zip(*orders, strict=True) for place in ranks)
    return [deployments[place] for place in list(chosen)[:many]]


def _loads(traffic: Traffic, deployment: Deployment, cached_tokens: float) -> tuple[Floats, float]:
    """Replicas' worth of work that comes in each bin, and the bin's length in seconds."""
    length = traffic.horizon_s / BINS
    bins = np.minimum((traffic.arrival_s / length).astype(np.int64), BINS - 1)
    work = np.bincount(bins, traffic.work(deployment.prefill, cached_tokens), minlength=BINS)
    return work / deployment.capacity / length, length


def _fluid_micros(traffic: Traffic, deployment: Deployment, rules: Rules) -> tuple[float, float]:
    """Kept all day, and as many in each bin as its work needs; a start pays until a whole increment is over."""
    loads, length = _loads(traffic, deployment, rules.cached_tokens)
    needed = np.ceil(loads)
    always = max(1.0, float(needed.max()) if rules.ttft_p95_s else math.ceil(loads.mean())) * traffic.horizon_s
    starts = np.maximum(np.diff(needed, prepend=0.0), 0.0).sum()
    offer = deployment.cost.offer
    extra = deployment.start_s + (IDLE_S[0] if rules.idle_s is None else rules.idle_s) + offer.billing_increment_s / 2
    elastic = needed.sum() * length + starts * max(extra, float(offer.minimum_s))
    per_second = deployment.cost.micros_per_hour / 3600
    return always * float(1 - rules.discount) * per_second, elastic * per_second


def _on(traffic: Traffic, deployment: Deployment, rules: Rules) -> tuple[list[Outcome], tuple[Outcome, ...]]:
    work = traffic.work(deployment.prefill, rules.cached_tokens)

    def served(dedicated: int, idle_s: float | None) -> Outcome:
        return serve(traffic, deployment, rules, dedicated=dedicated, idle_s=idle_s, work=work)

    always = fewest(traffic, deployment, rules, lambda count: served(count, None))
    idle = _idle_times(traffic, rules)
    from_zero = min(_each(idle, lambda idle_s: served(0, idle_s), len(traffic)), key=lambda one: one.order)
    curve = _curve(traffic, always.dedicated, from_zero, served)
    hybrid = min((one for one in curve if one.dedicated), key=lambda one: one.order)
    if len(traffic) * len(idle) <= STEPS:
        again = [served(hybrid.dedicated, idle_s) for idle_s in idle if idle_s != hybrid.idle_s]
        hybrid = min([hybrid, *again], key=lambda one: one.order)
    return [always, from_zero, hybrid], curve


def _idle_times(traffic: Traffic, rules: Rules) -> tuple[float, ...]:
    if rules.idle_s is not None:
        return (rules.idle_s,)
    return IDLE_S[: max(2, min(len(IDLE_S), STEPS // (4 * len(traffic))))]


def fewest(traffic: Traffic, deployment: Deployment, rules: Rules, served: Callable[[int], Outcome]) -> Outcome:
    """The fewest replicas kept all day that keep the limit, to one in fifty; or that miss it least.

    Fewer than the mean load may do: who waits is served after the end, and that counts where the day is short.
    """
    loads, _ = _loads(traffic, deployment, rules.cached_tokens)
    limit = min(len(traffic), MOST_DEDICATED)  # with one for each request nobody waits
    known: dict[int, Outcome] = {}

    def keeps(count: int) -> bool:
        if count not in known:
            known[count] = served(count)
        return known[count].keeps

    guess = min(limit, math.ceil(loads.max()))
    step = max(1, guess // 50)
    low, high = 0, guess
    if keeps(guess):
        while high - step >= 1 and keeps(high - step):
            high -= step
            step *= 2
        low = max(low, high - step)
    else:
        most = min(limit, 4 * guess + 8)
        while not keeps(high) and high < most:
            low, high = high, min(most, high + step)
            step *= 2
        if not known[high].keeps:
            return min(known.values(), key=lambda one: one.order)
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return known[high]


def _curve(
    traffic: Traffic, always: int, from_zero: Outcome, served: Callable[[int, float | None], Outcome]
) -> tuple[Outcome, ...]:
    """k from none to as many as would do alone: evenly, and as many as seem worth it; then closer about the best."""
    times = max(4, min(24, STEPS // (2 * len(traffic))))
    known = {0: from_zero}
    hint = min(max(1, from_zero.worth_keeping), always)
    first = sorted({hint, *_spread(1, always, times // 2)})
    found = _each(first, lambda dedicated: served(dedicated, from_zero.idle_s), len(traffic))
    known |= dict(zip(first, found, strict=True))
    while len(known) <= times:
        best = min(known.values(), key=lambda one: one.order).dedicated
        ordered = sorted(known)
        place = ordered.index(best)
        gaps = [(ordered[i], ordered[i + 1]) for i in (place - 1, place) if 0 <= i < len(ordered) - 1]
        low, high = max(gaps, key=lambda gap: gap[1] - gap[0])
        if high - low < 2:
            break
        known[(low + high) // 2] = served((low + high) // 2, from_zero.idle_s)
    return tuple(known[dedicated] for dedicated in sorted(known))


def _spread(low: int, high: int, points: int) -> Iterator[int]:
    return iter(sorted({round(value) for value in np.linspace(low, high, max(2, points))}))
