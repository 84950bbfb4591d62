"""Bands keep the order of their middles, agree with the probability of fitting, and give small jobs room."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.calibration import LEVELS, Calibration, calibrate, lifted, lowered
from predictor.footprint.inference import SURE_GIB, SURE_RATIO
from predictor.learned.correction import Corrected, uncorrected
from predictor.quantiles import MEMORY_MARGIN, P95, TIME_MARGIN, UNNAMED_GIB, bands, fit_probability

gib = st.floats(0.1, 2000.0)


def asked(count: int, **changed: object) -> Corrected:
    plain = uncorrected(count)
    return Corrected(**({name: getattr(plain, name) for name in Corrected.__slots__} | changed))


@given(small=gib, factor=st.floats(1.0, 100.0), spread=st.floats(0.2, 4.0))
def test_more_memory_at_the_middle_is_never_less_at_the_upper_end(small: float, factor: float, spread: float) -> None:
    middle = np.log([small, small * factor])
    found = bands(middle, asked(2, spread=np.full(2, spread)), MEMORY_MARGIN, MEMORY_MARGIN)
    assert found.p95[1] >= found.p95[0] - 1e-12
    assert (found.p95 >= found.p50).all()
    assert (found.p10 <= found.p50).all()


def test_a_small_job_is_given_room_that_a_large_one_does_not_need() -> None:
    found = bands(np.log([1.0, 60.0]), asked(2), MEMORY_MARGIN, MEMORY_MARGIN)
    small, large = np.exp(found.p95) - np.exp(found.p50)
    assert small > 1.5  # GiB: as much again and more
    assert np.exp(found.p95 - found.p50)[1] == pytest.approx(1.41, abs=0.02)
    assert large > small


def test_the_margin_of_arithmetic_is_what_its_docstring_says() -> None:
    memory = bands(np.log([40.0]), asked(1), MEMORY_MARGIN, MEMORY_MARGIN)
    assert np.exp(memory.p95)[0] == pytest.approx(1.38 * 40 + 1.5, rel=0.01)
    time = bands(np.log([40.0]), asked(1), TIME_MARGIN, TIME_MARGIN)
    assert np.exp(time.p90)[0] == pytest.approx(1.62 * 40, rel=0.01)


def test_a_contiguous_batch_is_planned_with_what_that_margin_leaves_of_a_card() -> None:
    ratio = math.exp(MEMORY_MARGIN.quantiles(np.zeros(1), [P95])[0, 0])
    assert SURE_GIB == UNNAMED_GIB
    assert ratio <= SURE_RATIO <= 1.001 * ratio


@given(need=gib)
def test_a_card_that_offers_the_95th_percentile_fits_with_that_probability(need: float) -> None:
    corrected = asked(1)
    p95 = bands(np.log([need]), corrected, MEMORY_MARGIN, MEMORY_MARGIN).p95
    assert fit_probability(np.log([need]), p95, corrected, MEMORY_MARGIN, MEMORY_MARGIN)[0] == pytest.approx(
        P95, abs=0.01
    )


@given(value=st.floats(0.01, 1e4), lift=st.floats(0.0, 10.0))
def test_what_was_lifted_comes_down_to_where_it_was(value: float, lift: float) -> None:
    assert lowered(lifted(np.log([value]), lift), lift)[0] == pytest.approx(np.log(value), abs=1e-6)


def test_beyond_all_edges_stands_what_was_said_to() -> None:
    generator = np.random.default_rng(5)
    near = generator.normal(0.0, 0.02, 400)
    made = calibrate(
        near, np.zeros(400, dtype=bool), np.ones(400), np.zeros(400), [0.5], far=MEMORY_MARGIN, lift=UNNAMED_GIB
    )
    inside, outside = made.quantiles(np.array([0.0, 9.0]), (0.95,))[:, 0]
    assert inside == pytest.approx(0.033, abs=0.01)
    assert outside == pytest.approx(np.interp(0.95, LEVELS, MEMORY_MARGIN.table[0]), abs=0.02)


def test_beyond_all_edges_is_never_narrower_than_what_is_known_to_miss_more() -> None:
    wild = np.random.default_rng(5).normal(0.0, 1.0, 400)
    made = calibrate(wild, np.zeros(400, dtype=bool), np.ones(400), np.zeros(400), [0.5], far=MEMORY_MARGIN)
    inside, outside = made.quantiles(np.array([0.0, 9.0]), (0.95,))[:, 0]
    assert outside >= inside - 0.05  # the middles of the two differ by what 400 draws leave


def test_a_lift_survives_its_own_json() -> None:
    assert Calibration.from_json(MEMORY_MARGIN.to_json()).lift == UNNAMED_GIB
