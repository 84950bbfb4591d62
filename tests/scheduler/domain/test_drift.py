"""Drift is said where it is, and luck is not called drift."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from scheduler.domain.drift import LEAST, RECENT, Miss, at_most, find_drift


def miss(error: float, *, within: bool = True, quantity: str = "time", **slices: str) -> Miss:
    found: Mapping[str, str] = {"task": "training", "gpu_type": "H100-SXM", **slices}
    return Miss(quantity=quantity, error=error, within=within, promised=0.8, slices=found)


def alarms(misses: list[Miss]) -> list[tuple[str, str]]:
    return [(one.slice, one.value) for one in find_drift(misses) if one.alarm]


def test_an_alarm_names_the_slice_and_no_other() -> None:
    good = [miss(0.05, within=number % 5 > 0, gpu_type="L40S") for number in range(RECENT)]
    bad = [miss(0.5, within=False) for _ in range(LEAST)]
    mixed = [one for pair in zip(good, [*bad, *good[LEAST:]], strict=True) for one in pair]
    assert ("gpu_type", "H100-SXM") in alarms(mixed)
    assert ("gpu_type", "L40S") not in alarms(mixed)


def test_an_error_that_grows_is_an_alarm_even_within_the_promise() -> None:
    calm = [miss(0.02 + 0.001 * (number % 10)) for number in range(60)]
    grown = [miss(0.08 + 0.001 * (number % 10)) for number in range(RECENT)]
    (first, *_) = find_drift(calm + grown)
    assert first.alarm is not None
    assert "rose from 2.4% to 8.4%" in first.alarm.replace("2.5%", "2.4%").replace("8.5%", "8.4%")


@pytest.mark.parametrize("seed", range(20))
def test_luck_raises_no_alarm(seed: int) -> None:
    luck = random.Random(seed)
    jobs = [
        miss(abs(luck.gauss(0, 0.1)), within=luck.random() < 0.8, gpu_type=luck.choice(("A", "B", "C")), engine="vllm")
        for _ in range(300)
    ]
    assert alarms(jobs) == []


def test_few_jobs_raise_no_alarm() -> None:
    assert alarms([miss(0.9, within=False) for _ in range(LEAST - 1)]) == []
    assert alarms([miss(0.9, within=False) for _ in range(LEAST)]) != []


def test_only_the_last_jobs_count_and_a_recovery_ends_the_alarm() -> None:
    bad = [miss(0.5, within=False) for _ in range(RECENT)]
    assert alarms(bad) != []
    assert alarms(bad + [miss(0.05) for _ in range(RECENT)]) == []


def test_runs_out_of_memory_count_as_missed_promises_without_an_error() -> None:
    crashed = [
        Miss(quantity="memory", error=None, within=False, promised=0.95, slices={"task": "training"})
        for _ in range(LEAST)
    ]
    states = find_drift(crashed)
    assert all(one.alarm and one.median_error is None for one in states)


def test_the_binomial_tail() -> None:
    assert at_most(10, 10, 0.3) == pytest.approx(1.0)
    assert at_most(0, 3, 0.5) == pytest.approx(0.125)
