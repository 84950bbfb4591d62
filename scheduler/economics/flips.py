"""What would change an assessment: for each cause by itself the nearest value at which another way is the best.

Found by asking again: outwards from the value of today in steps of a few per cent, then halved between the last that
agrees and the first that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from scheduler.economics.assess import Case, best, courses
from scheduler.economics.assess_dates import Way

STEPS = 60
"""From today's value to either bound; in between costs are steps themselves, where copies are added."""
HALVINGS = 30


class Cause(StrEnum):
    """What may be other than it is."""

    TRAFFIC = "traffic"
    """Requests a day, on the day of the assessment."""
    GROWTH = "growth"
    """Of the traffic, in a year."""
    API_PRICE = "api_price"
    """Dollars for a thousand requests at the API that is paid now; the others' prices move with it."""
    GPU_PRICE = "gpu_price"
    """Over today's, of all offers."""
    UTILISATION = "utilisation"
    """Share of a deployment's capacity that its busiest minute may take."""
    OPERATIONS = "operations"
    """Dollars a month, for whoever serves a model oneself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """One cause, by itself."""

    cause: Cause
    now: float
    at: float
    """The value nearest to today's at which the answer is another."""
    to: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lever:
    now: float
    least: float
    most: float
    evenly: bool
    """Steps of the same size, not of the same ratio."""
    moved: Callable[[float], Case]


def flips(case: Case) -> tuple[Flip, ...]:
    """Of each cause the nearest change downwards and upwards, as far as there is one within its bounds."""
    found = best(courses(case, ends=False))
    if found is None:
        return ()
    return tuple(
        Flip(cause=cause, now=lever.now, at=at, to=to)
        for cause, lever in _levers(case).items()
        for bound in (lever.least, lever.most)
        for at, to in _nearest(lever, bound, found.way)
    )


def _levers(case: Case) -> dict[Cause, _Lever]:
    thousand = float(case.request_usd) * 1000
    return {
        Cause.TRAFFIC: _Lever(
            now=case.requests_per_day, least=case.requests_per_day / 1e4, most=case.requests_per_day * 1e4,
            evenly=False, moved=lambda value: replace(case, requests_per_day=value),
        ),
        Cause.GROWTH: _Lever(
            now=case.growth, least=min(-0.95, case.growth), most=max(10.0, 2 * case.growth), evenly=True,
            moved=lambda value: replace(case, growth=value),
        ),
        Cause.API_PRICE: _Lever(
            now=thousand, least=thousand / 1e3, most=thousand * 1e3, evenly=False,
            moved=lambda value: replace(case, api_factor=value / thousand),
        ),
        Cause.GPU_PRICE: _Lever(
            now=1.0, least=1e-3, most=1e3, evenly=False, moved=lambda value: replace(case, gpu_factor=value),
        ),
        Cause.UTILISATION: _Lever(
            now=case.max_utilisation, least=0.01, most=1.0, evenly=True,
            moved=lambda value: replace(case, max_utilisation=value),
        ),
        Cause.OPERATIONS: _Lever(
            now=case.operations_usd, least=0.0, most=max(1e6, 100 * case.operations_usd), evenly=False,
            moved=lambda value: replace(case, operations_usd=value),
        ),
    }  # fmt: skip


def _nearest(lever: _Lever, bound: float, way: Way) -> Iterator[tuple[float, Way]]:
    same = lever.now
    for value in _outwards(lever, bound):
        other = _answer(lever, value)
        if other is not way:
            yield _between(lever, same, value, way, other)
            return
        same = value


def _outwards(lever: _Lever, bound: float) -> list[float]:
    if bound == lever.now:
        return []
    if lever.evenly:
        return [float(value) for value in np.linspace(lever.now, bound, STEPS + 1)[1:]]
    # a cause that may be nothing begins, and ends, with a dollar
    first, last = max(lever.now, 1e-3 if lever.now else 1.0), max(bound, 1e-3 if lever.now else 1.0)
    steps: list[float] = np.geomspace(first, last, STEPS + 1)[(1 if lever.now else 0) :].tolist()
    return [*steps[:-1], bound]


def _between(lever: _Lever, same: float, other: float, way: Way, to: Way) -> tuple[float, Way]:
    for _ in range(HALVINGS):
        middle = (same + other) / 2
        answer = _answer(lever, middle)
        if answer is way:
            same = middle
        else:
            other, to = middle, answer
    return other, to


def _answer(lever: _Lever, value: float) -> Way:
    found = best(courses(lever.moved(value), ends=False))
    assert found is not None  # noqa: S101 - what is allowed does not depend on any figure
    return found.way
