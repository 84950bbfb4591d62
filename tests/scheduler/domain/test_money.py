"""Billing is exact, additive and monotone, and the columns agree with the scalar rules to the micro-dollar."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.cost import Runs, reckon
from scheduler.domain.money import billed_seconds, cost_micros, format_usd, micros_to_usd, usd_to_micros
from scheduler.domain.quantiles import LEVELS, quantile

prices = st.integers(0, 1_000_000_000)
counts = st.integers(1, 10_000)
uses = st.floats(0, 1e8)
increments = st.sampled_from([1, 60, 600, 3600])
minimums = st.sampled_from([0, 1, 60, 3600])


@given(st.integers(-(10**15), 10**15))
def test_micros_survive_the_way_to_dollars_and_back(micros: int) -> None:
    assert usd_to_micros(micros_to_usd(micros)) == micros


@given(prices, counts, st.integers(0, 10**8))
def test_a_cost_is_within_half_a_micro_of_the_exact_one(price: int, count: int, seconds: int) -> None:
    assert abs(Fraction(price * count * seconds, 3600) - cost_micros(price, count, seconds)) <= Fraction(1, 2)


@given(prices, counts, st.integers(0, 10**6), st.integers(0, 10**6))
def test_whole_hours_add_up_exactly(price: int, count: int, one: int, other: int) -> None:
    hour = 3600
    parts = cost_micros(price, count, one * hour) + cost_micros(price, count, other * hour)
    assert cost_micros(price, count, (one + other) * hour) == parts


@given(prices, counts, uses, uses, increments, minimums)
def test_a_longer_use_never_costs_less(
    price: int, count: int, one: float, other: float, increment: int, minimum: int
) -> None:
    short, long = sorted((one, other))
    bills = [
        cost_micros(price, count, billed_seconds(used, increment_s=increment, minimum_s=minimum))
        for used in (short, long)
    ]
    assert bills[0] <= bills[1]


@given(uses, increments, minimums)
def test_what_is_billed_covers_the_use_and_is_less_than_an_increment_above_it(
    used: float, increment: int, minimum: int
) -> None:
    billed = billed_seconds(used, increment_s=increment, minimum_s=minimum)
    if used == 0:
        assert billed == 0
        return
    assert billed % increment == 0
    least = max(Fraction(used), Fraction(minimum))
    assert least <= billed < least + increment


@given(
    st.lists(
        st.tuples(prices, st.floats(1e-6, 1e7), st.floats(1, 3), st.floats(1, 3), increments, minimums), min_size=1
    )
)
def test_columns_bill_as_the_scalar_rules_do(rows: list[tuple[int, float, float, float, int, int]]) -> None:
    price, p50, down, up, increment, minimum = (np.array(column) for column in zip(*rows, strict=True))
    nothing = np.zeros(len(rows))
    runs = Runs(
        provision_s=nothing, startup_s=nothing, p10_s=p50 / down, p50_s=p50, p90_s=p50 * up, oom_probability=nothing,
        micros_per_hour=price, billing_increment_s=increment, minimum_s=minimum,
    )  # fmt: skip
    costs = reckon(runs)
    for level, reckoned in ((0.5, costs.p50_micros), (0.9, costs.p90_micros)):
        times = quantile(runs.p10_s, runs.p50_s, runs.p90_s, level)
        for row, used in enumerate(times):
            billed = billed_seconds(float(used), increment_s=int(increment[row]), minimum_s=int(minimum[row]))
            assert reckoned[row] == cost_micros(int(price[row]), 1, billed)


def test_the_dearest_use_stays_within_64_bits() -> None:
    one = np.ones(1)
    runs = Runs(
        provision_s=one, startup_s=one, p10_s=one * 1e12, p50_s=one * 1e12, p90_s=one * 1e12, oom_probability=one,
        micros_per_hour=np.array([1_000_000_000 * 10_000]), billing_increment_s=np.array([1]), minimum_s=np.array([0]),
    )  # fmt: skip
    exact = Fraction(10**13 * 10**8, 3600)
    assert abs(int(reckon(runs).mean_micros[0]) - exact) < 1
    assert int(reckon(runs).expected_micros[0]) == pytest.approx(2 * float(exact), rel=1e-9)


@pytest.mark.parametrize(
    ("seconds", "increment", "minimum", "billed"),
    [(0, 1, 60, 0), (0.2, 1, 0, 1), (59.9, 60, 0, 60), (60, 60, 0, 60), (60.1, 60, 0, 120), (5, 1, 60, 60),
     (61, 1, 60, 61), (3601, 3600, 3600, 7200), (90, 60, 100, 120)],
)  # fmt: skip
def test_uses_are_rounded_up_to_the_increment_and_to_the_minimum(
    seconds: float, increment: int, minimum: int, billed: int
) -> None:
    assert billed_seconds(seconds, increment_s=increment, minimum_s=minimum) == billed


@pytest.mark.parametrize(
    ("micros", "shown"),
    [(0, "0.00"), (1_234, "0.0012"), (99_999, "0.1000"), (12_345_678, "12.35"), (10**10, "10,000.00")],
)
def test_dollars_are_shown_to_the_cent_and_finer_where_they_are_few(micros: int, shown: str) -> None:
    assert format_usd(micros) == shown


@given(st.floats(0.01, 1e6), st.floats(1, 10), st.floats(1, 10))
def test_quantiles_pass_through_the_three_that_are_known_and_rise(p50: float, down: float, up: float) -> None:
    p10, mid, p90 = np.array([p50 / down]), np.array([p50]), np.array([p50 * up])
    for level, known in ((0.1, p10), (0.5, mid), (0.9, p90)):
        assert quantile(p10, mid, p90, level) == pytest.approx(known)
    rising = [float(quantile(p10, mid, p90, level)[0]) for level in (0.01, *LEVELS, 0.99)]
    assert rising == sorted(rising)


def test_decimal_dollars_are_not_rounded_on_the_way_in() -> None:
    assert usd_to_micros(Decimal("0.000001")) == 1
    assert usd_to_micros("2.4999999") == 2_500_000
