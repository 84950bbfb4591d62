"""Held-out residuals become quantiles that hold, and never narrower far away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.calibration import LEVELS, Calibration, calibrate, censored_quantiles
from predictor.errors import InvalidBundle

seeds = st.integers(0, 2**32 - 1)


def table(seed: int, rows: int = 600) -> Calibration:
    generator = np.random.default_rng(seed)
    distance = generator.exponential(1.0, rows)
    residual = generator.normal(0.0, 0.1 + 0.2 * distance)
    return calibrate(residual, np.zeros(rows, dtype=bool), np.ones(rows), distance, [0.5, 1.0, 2.0, 4.0])


@given(seed=seeds, distance=st.floats(0, 1e6))
def test_quantiles_never_cross(seed: int, distance: float) -> None:
    steps = table(seed, 120).quantiles(np.array([distance]), (0.1, 0.5, 0.9, 0.95))[0]
    assert (np.diff(steps) >= 0).all()


@given(seed=seeds)
def test_the_interval_never_narrows_with_distance(seed: int) -> None:
    steps = table(seed).quantiles(np.linspace(0, 10, 50), (0.1, 0.5, 0.95))
    assert (np.diff(steps[:, 2] - steps[:, 1]) >= -1e-12).all()
    assert (np.diff(steps[:, 1] - steps[:, 0]) >= -1e-12).all()


@settings(max_examples=25)
@given(seed=seeds, rows=st.integers(60, 400))
def test_the_95th_percentile_covers_new_draws(seed: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    seen = generator.standard_t(4, rows)
    p95 = np.interp(0.95, LEVELS, censored_quantiles(seen, np.zeros(rows, dtype=bool), np.ones(rows)))
    covered = (generator.standard_t(4, 20_000) <= p95).mean()
    # a conformal 95th percentile of n rows covers Beta(0.95 (n+1), 0.05 (n+1)): five deviations below, and the draw's
    assert covered >= 0.95 - 5 * np.sqrt(0.95 * 0.05 / rows) - 0.01


def test_censored_rows_push_the_quantiles_up() -> None:
    values = np.linspace(-1, 1, 200)
    censored = np.zeros(200, dtype=bool)
    plain = censored_quantiles(values, censored, np.ones(200))
    censored[100:150] = True
    assert (censored_quantiles(values, censored, np.ones(200)) >= plain - 1e-12).all()


def test_the_product_limit_estimate_is_that_of_the_textbook() -> None:
    # times 1, 2+, 3, 4+, 5: survival 4/5 after 1, 4/5 x 2/3 after 3, 0 after 5
    found = censored_quantiles(np.array([1.0, 2, 3, 4, 5]), np.array([False, True, False, True, False]), np.ones(5))
    assert found[np.searchsorted(LEVELS, 0.15)] == 1.0
    assert np.interp(0.4, LEVELS, found) == 3.0
    assert found[-1] == 5.0


@given(seed=seeds, margin=st.floats(-5, 5), wider=st.floats(0, 5))
def test_more_room_is_never_less_likely_to_fit(seed: int, margin: float, wider: float) -> None:
    made = table(seed, 200)
    low, high = made.probability_below(np.zeros(2), np.array([margin, margin + wider]))
    assert 0.0 < low <= high < 1.0


@given(seed=seeds, distance=st.floats(0, 10))
def test_the_probability_agrees_with_the_quantiles(seed: int, distance: float) -> None:
    made = table(seed)
    where = np.array([distance])
    for level in (0.1, 0.5, 0.9, 0.95):
        margin = made.quantiles(where, (level,))[:, 0]
        assert made.probability_below(where, margin)[0] == pytest.approx(level, abs=0.02)


@given(seed=seeds)
def test_a_table_survives_its_own_json(seed: int) -> None:
    made = table(seed, 200)
    read = Calibration.from_json(made.to_json())
    np.testing.assert_allclose(read.table, made.table, atol=1e-6)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"edges": [], "table": [[0.0]]},
        {"edges": [1.0, 0.5], "table": [[0.0] * len(LEVELS)] * 3},
        {"edges": "x", "table": 1},
    ],
)
def test_a_table_that_cannot_be_is_refused(raw: dict[str, object]) -> None:
    with pytest.raises(InvalidBundle):
        Calibration.from_json(raw)
