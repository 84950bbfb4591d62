"""How long an idle machine is kept: never past break-even, never against the odds, and paid time is waited out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.keeping import Arrivals, keep_s, window_s
from scheduler.domain.machines import Tariff

BY_THE_SECOND = Tariff(gpu_count=1, micros_per_gpu_hour=3_600_000, billing_increment_s=1, minimum_s=0)
BY_THE_HOUR = Tariff(gpu_count=1, micros_per_gpu_hour=3_600_000, billing_increment_s=3600, minimum_s=0)

tariffs = st.builds(
    Tariff,
    gpu_count=st.integers(1, 16),
    micros_per_gpu_hour=st.integers(0, 20_000_000),
    billing_increment_s=st.sampled_from([1, 60, 3600]),
    minimum_s=st.sampled_from([0, 60, 600]),
)


def kept(count: int, window: float = 600.0, *, tariff: Tariff = BY_THE_SECOND, metered_s: float = 1000.0) -> float:
    return keep_s(Arrivals(count=count, window_s=window), tariff=tariff, provision_s=60.0, metered_s=metered_s)


def test_a_pool_that_is_seldom_asked_for_is_let_go_at_once() -> None:
    # ten arrivals in 600 s make the next one due in 60 s: just what a cold start takes
    assert [kept(count) for count in (0, 1, 5, 10)] == [0, 0, 0, 0]


def test_a_busy_pool_is_kept_until_arrivals_are_no_longer_likely_enough() -> None:
    # with n arrivals in W seconds the hazard after t idle ones is n / (W + t); it falls to 1 / 60 s at t = 60 n - W
    # (a little sooner, since whole seconds are weighed)
    assert kept(10, window=570.0) == pytest.approx(30, abs=6)


def test_nothing_idles_for_longer_than_a_cold_start_is_worth() -> None:
    assert kept(10_000) == 60


def test_time_that_is_paid_for_is_waited_out() -> None:
    assert kept(0, tariff=BY_THE_HOUR, metered_s=1000.0) == 2600
    assert kept(0, tariff=BY_THE_HOUR, metered_s=3600.0) == 0
    minimum = Tariff(gpu_count=1, micros_per_gpu_hour=3_600_000, billing_increment_s=1, minimum_s=600)
    assert kept(0, tariff=minimum, metered_s=250.0) == 350


def test_what_is_free_or_there_at_once_saves_nothing_by_idling() -> None:
    free = Tariff(gpu_count=1, micros_per_gpu_hour=0, billing_increment_s=1, minimum_s=0)
    assert kept(1000, tariff=free) == 0
    assert keep_s(Arrivals(count=1000, window_s=60.0), tariff=BY_THE_SECOND, provision_s=0.0, metered_s=5.0) == 0


@given(
    tariff=tariffs,
    count=st.integers(0, 2000),
    window=st.floats(60.0, 3600.0),
    provision_s=st.floats(0.0, 1200.0),
    metered_s=st.floats(0.0, 100_000.0),
)
def test_idling_never_costs_much_more_than_the_cold_start_that_it_may_save(
    tariff: Tariff, count: int, window: float, provision_s: float, metered_s: float
) -> None:
    """The bound of ski-rental: what is paid for idling is at most a cold start, and the increment it is billed by."""
    idle_s = keep_s(Arrivals(count=count, window_s=window), tariff=tariff, provision_s=provision_s, metered_s=metered_s)
    assert idle_s >= 0
    paid = tariff.charge(metered_s, metered_s + idle_s).cost_micros
    increment = tariff.charge(0.0, float(tariff.billing_increment_s)).cost_micros
    assert paid <= tariff.charge(0.0, provision_s).cost_micros + increment + tariff.gpu_count


@given(count=st.integers(0, 100), more=st.integers(1, 100), window=st.floats(60.0, 3600.0), tariff=tariffs)
def test_more_arrivals_never_shorten_the_keeping(count: int, more: int, window: float, tariff: Tariff) -> None:
    assert kept(count, window, tariff=tariff) <= kept(count + more, window, tariff=tariff)


def test_arrivals_are_counted_over_some_cold_starts_within_bounds() -> None:
    assert [window_s(provision_s) for provision_s in (0.0, 60.0, 3600.0)] == [60.0, 600.0, 3600.0]
