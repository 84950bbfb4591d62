"""What is left of a run, given how long it has gone on: against draws from the same distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.quantiles import Z90
from scheduler.domain.remaining import remaining


def test_nothing_has_run_yet() -> None:
    assert remaining(80, 100, 150, 0) == pytest.approx((80, 100, 150))


@pytest.mark.parametrize("elapsed", [50.0, 95.0, 120.0, 200.0])
def test_it_is_what_draws_that_ran_so_long_have_left(elapsed: float) -> None:
    z = np.random.default_rng(0).standard_normal(2_000_000)
    draws = 100 * np.where(z >= 0, 1.5, 0.8) ** (np.abs(z) / Z90)
    left = draws[draws > elapsed] - elapsed
    # 2 million draws, at least 20,000 of them longer than 200 s: a quantile is known to 1 % of the spread
    assert remaining(80, 100, 150, elapsed) == pytest.approx(np.quantile(left, [0.1, 0.5, 0.9]), rel=0.05, abs=0.5)


@given(st.floats(1, 1e6), st.floats(1, 3), st.floats(1, 3), st.floats(0, 1e8))
def test_it_is_ordered_finite_and_never_negative(p50: float, down: float, up: float, elapsed: float) -> None:
    rest = remaining(p50 / down, p50, p50 * up, elapsed)
    assert 0 <= rest.p10_s <= rest.p50_s <= rest.p90_s < float("inf")


def test_what_is_far_overdue_is_expected_to_end_some_day() -> None:
    assert remaining(80, 100, 150, 10_000).p50_s == 1000
