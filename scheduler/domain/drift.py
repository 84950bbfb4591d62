"""Whether forecasts still hold: their errors and coverage on finished attempts, slice by slice.

A slice drifts when fewer of its last jobs stayed within what was promised than luck allows, or when they miss by more
than its jobs before them did; binomial and sign tests, at a level so strict that hundreds of slices looked at every
hour stay silent for weeks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

RECENT = 50
"""Jobs of a slice that count as its last."""

LEAST = 15
"""Fewer of them raise no alarm."""

LEVEL = 1e-4

_WORSE = 1.25  # times the slice's median error before, which an alarm for growing errors also asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """One finished attempt's quantity against its forecast."""

    quantity: str
    """memory or time."""
    error: float | None
    """|log(measured / p50)|; None for a run out of memory, of which only a lower bound is known."""
    within: bool
    """Below p95 (memory), between p10 and p90 (time)."""
    promised: float
    """The share that should be within."""
    slices: Mapping[str, str]
    """What it counts towards: task, GPU type, engine, tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceDrift:
    """A slice's last jobs, and what is wrong with them."""

    slice: str
    """By what: all, task, gpu_type, engine or tenant."""
    value: str
    quantity: str
    jobs: int
    median_error: float | None
    """Of the last jobs, as a share."""
    median_error_before: float | None
    within: float
    promised: float
    alarm: str | None
    """One sentence; None where all is well."""


def find_drift(misses: Sequence[Miss]) -> list[SliceDrift]:
    """Every slice's state; `misses` are oldest first. Alarms first, and within them the most jobs."""
    by_slice: dict[tuple[str, str, str], list[Miss]] = {}
    for miss in misses:
        for name, value in {"all": "all", **miss.slices}.items():
            by_slice.setdefault((name, value, miss.quantity), []).append(miss)
    states = [_state(*key, found) for key, found in by_slice.items()]
    return sorted(states, key=lambda one: (one.alarm is None, -one.jobs, one.slice, one.value, one.quantity))


def _state(name: str, value: str, quantity: str, misses: Sequence[Miss]) -> SliceDrift:
    last, before = misses[-RECENT:], misses[:-RECENT]
    errors, errors_before = _errors(last), _errors(before)
    now, then = _median(errors), _median(errors_before)
    within = sum(miss.within for miss in last)
    promised = last[-1].promised
    alarm = None
    if len(last) >= LEAST:
        where = "all jobs" if name == "all" else f"{name} {value}"
        if at_most(within, len(last), promised) <= LEVEL:
            alarm = (
                f"{quantity} of {where}: {within} of the last {len(last)} jobs stayed within what {promised:.0%} should"
            )
        elif now is not None and then is not None and len(errors_before) >= LEAST and now > _WORSE * then:
            larger = sum(error > then for error in errors)
            if at_most(len(errors) - larger, len(errors), 0.5) <= LEVEL:
                alarm = f"{quantity} of {where}: the median error rose from {then:.1%} to {now:.1%}"
    return SliceDrift(
        slice=name, value=value, quantity=quantity, jobs=len(last), median_error=now, median_error_before=then,
        within=within / len(last), promised=promised, alarm=alarm,
    )  # fmt: skip


def at_most(successes: int, trials: int, share: float) -> float:
    """P(at most so many successes of so many trials), by the binomial distribution."""
    return sum(comb(trials, k) * share**k * (1.0 - share) ** (trials - k) for k in range(successes + 1))


def _errors(misses: Iterable[Miss]) -> list[float]:
    return [miss.error for miss in misses if miss.error is not None]


def _median(errors: Sequence[float]) -> float | None:
    return median(errors) if errors else None
