"""What a simulated provider finds: seeded, around the forecast, and the same for a job wherever it runs."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.works import FORECAST, make_work
from workers.backends.draw import NothingToDraw, draw_truth, log_normal
from workers.supervision.truth import Truth

DRAWS = 4000


def drawn(forecast: dict[str, object], *, seed: int = 7, draws: int = DRAWS) -> list[Truth]:
    base = make_work(["true"], forecast=forecast)
    ids = [uuid.UUID(int=number) for number in range(draws)]
    works = [replace(base, attempt_id=one, job_id=one) for one in ids]
    return [draw_truth(work, seed=seed, time_scale=0) for work in works]


def share_below(values: list[float], limit: float) -> float:
    return sum(value <= limit for value in values) / len(values)


def test_the_same_seed_and_attempt_give_the_same_truth_and_another_seed_another() -> None:
    work = make_work(["true"], forecast=FORECAST)
    assert draw_truth(work, seed=1, time_scale=0.5) == draw_truth(work, seed=1, time_scale=0.5)
    assert draw_truth(work, seed=1, time_scale=0.5) != draw_truth(work, seed=2, time_scale=0.5)


def test_a_seed_in_the_spec_gives_the_same_truth_to_a_job_submitted_again() -> None:
    works = [make_work(["true"], forecast=FORECAST, simulation={"seed": 5}) for _ in range(2)]
    assert draw_truth(works[0], seed=1, time_scale=0) == draw_truth(works[1], seed=2, time_scale=0)


def test_times_and_peaks_fall_around_the_forecasts_quantiles() -> None:
    # A share of n draws has a standard error of at most sqrt(0.25 / n) = 0.8 %; the seed is fixed, and four
    # standard errors would fail once in 16,000 other seeds.
    tolerance = 4 * math.sqrt(0.25 / DRAWS)
    truths = drawn({**FORECAST, "fit_probability": None, "usable_vram_gib": 1e6})
    for quantile, limit in ((0.1, 900.0), (0.5, 1000.0), (0.9, 1300.0)):
        assert share_below([truth.runtime_s for truth in truths], limit) == pytest.approx(quantile, abs=tolerance)
    peaks = [truth.peak_vram_gib for truth in truths if truth.peak_vram_gib is not None]
    assert len(peaks) == DRAWS
    for quantile, limit in ((0.5, 40.0), (0.95, 50.0)):
        assert share_below(peaks, limit) == pytest.approx(quantile, abs=tolerance)


@pytest.mark.parametrize("fits", [0.3, 0.9, 0.99])
def test_memory_suffices_as_often_as_was_forecast(fits: float) -> None:
    tolerance = 4 * math.sqrt(0.25 / DRAWS)
    truths = drawn({**FORECAST, "fit_probability": fits})
    assert sum(truth.out_of_memory_s is None for truth in truths) / DRAWS == pytest.approx(fits, abs=tolerance)


def test_without_a_fit_probability_the_drawn_peak_decides() -> None:
    for truth in drawn({**FORECAST, "fit_probability": None, "usable_vram_gib": 45.0}, draws=300):
        assert truth.peak_vram_gib is not None
        assert (truth.out_of_memory_s is not None) == (truth.peak_vram_gib > 45.0)


def test_a_run_that_fits_never_peaks_above_the_card() -> None:
    truths = drawn({**FORECAST, "peak_vram_gib": {"p50": 79.0, "p95": 95.0}, "fit_probability": 0.9}, draws=500)
    fitting = [truth.peak_vram_gib for truth in truths if truth.out_of_memory_s is None]
    assert fitting
    assert all(peak is not None and peak <= 79.65 for peak in fitting)


def test_memory_runs_out_early_in_the_run() -> None:
    for truth in drawn({**FORECAST, "fit_probability": 0.01}, draws=300):
        if truth.out_of_memory_s is not None:
            assert 45.0 <= truth.out_of_memory_s <= 45.0 + 0.2 * truth.runtime_s


def test_a_job_needs_the_same_on_its_next_attempt_though_it_takes_another_time() -> None:
    first = make_work(["true"], forecast={**FORECAST, "fit_probability": None})
    second = replace(first, attempt_id=uuid.uuid4(), number=2)
    one, other = (draw_truth(work, seed=3, time_scale=0) for work in (first, second))
    assert one.peak_vram_gib == other.peak_vram_gib
    assert one.runtime_s != other.runtime_s


def test_a_stated_truth_is_taken_as_it_is() -> None:
    told = {"peak_vram_gib": 60.0, "runtime_s": 777.0}
    roomy = draw_truth(make_work(["true"], forecast=FORECAST, simulation=told), seed=1, time_scale=0)
    assert (roomy.peak_vram_gib, roomy.runtime_s, roomy.out_of_memory_s) == (60.0, 777.0, None)
    tight = {**FORECAST, "usable_vram_gib": 45.0}
    assert draw_truth(make_work(["true"], forecast=tight, simulation=told), seed=1, time_scale=0).out_of_memory_s


def test_a_job_without_a_forecast_of_memory_never_runs_out_of_it() -> None:
    truths = drawn({**FORECAST, "peak_vram_gib": {"p50": None, "p95": None}, "fit_probability": None}, draws=50)
    assert {(truth.peak_vram_gib, truth.out_of_memory_s) for truth in truths} == {(None, None)}


def test_without_a_forecast_of_time_nothing_can_be_drawn() -> None:
    with pytest.raises(NothingToDraw, match="the forecast has no runtime"):
        drawn({**FORECAST, "runtime_s": {"p10": None, "p50": None, "p90": None}}, draws=1)


quantiles = st.tuples(*[st.floats(1.0, 2.0)] * 2, st.floats(0.1, 1e6))


@given(shape=quantiles, shares=st.tuples(st.floats(0.001, 0.999), st.floats(0.001, 0.999)))
def test_a_larger_share_never_draws_less(shape: tuple[float, float, float], shares: tuple[float, float]) -> None:
    down, up, p50 = shape
    low, high = sorted(shares)
    values = [
        log_normal(share, p50=p50, low=(p50 / down, -1.2816), high=(p50 * up, 1.2816)) for share in (low, 0.5, high)
    ]
    assert values[0] <= values[2] * (1 + 1e-9)
    assert values[1] == pytest.approx(p50)
