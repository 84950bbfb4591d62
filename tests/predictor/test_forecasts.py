"""Forecasts are columns at once and values when looked at, and both say the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.forecast import Forecast, Question
from predictor.forecasts import Forecasts, figures_of, joined, listed, taken
from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from predictor.model import Predictor
from predictor.workload import CustomWorkload
from tests.predictor.questions import LLAMA_3_8B, serve, train

BARE = Predictor(None)
CUSTOM = Question(
    workload=CustomWorkload(kind="render", runtime_s=60.0), gpu=load_gpu_types().get("CPU"), layout=Layout()
)
QUESTIONS = (
    train(LLAMA_3_8B, sequence_length=2048, num_samples=1000),
    serve(LLAMA_3_8B, input_length=1000, output_length=100),
    serve(LLAMA_3_8B, gpu="L40S", input_length=1000, output_length=0),
    train(LLAMA_3_8B, gpu="L40S", sequence_length=2048, num_samples=1000),
    CUSTOM,
)


@given(st.lists(st.sampled_from(QUESTIONS), max_size=8))
def test_a_list_of_any_kinds_says_what_each_question_says_alone(questions: list[Question]) -> None:
    together = BARE.forecast(questions)

    assert together == [BARE.forecast([question])[0] for question in questions]


@given(st.lists(st.sampled_from(QUESTIONS), max_size=8))
def test_the_figures_are_those_of_the_values(questions: list[Question]) -> None:
    together = BARE.forecast(questions)

    at_once, one_by_one = figures_of(together), figures_of(list(together))
    for name in type(at_once).__slots__:
        np.testing.assert_array_equal(getattr(at_once, name), getattr(one_by_one, name), err_msg=name)


def test_a_quantity_that_is_not_forecast_is_nan_among_the_figures() -> None:
    figures = figures_of(BARE.forecast([CUSTOM]))

    assert figures.runtime_p50_s[0] == pytest.approx(60.0)
    assert math.isnan(figures.vram_p95_gib[0])
    assert math.isnan(figures.weights_gib[0])
    assert figures.usable_vram_gib[0] == 0.0


def test_a_value_is_made_only_of_what_somebody_looks_at_and_once() -> None:
    asked: list[list[int]] = []
    known = list(BARE.forecast(QUESTIONS[:4]))

    def make(rows: np.ndarray) -> Sequence[Forecast]:
        asked.append(rows.tolist())
        return [known[row] for row in rows]

    forecasts = Forecasts(figures_of(known), make)

    assert forecasts[2] is known[2]
    assert forecasts[-2] is known[2]
    assert list(forecasts[1:3]) == known[1:3]
    assert list(forecasts) == known
    assert asked == [[2], [1], [0, 3]]


def test_a_place_beyond_the_last_is_refused_as_by_a_list() -> None:
    with pytest.raises(IndexError):
        BARE.forecast(QUESTIONS[:1])[1]


def test_no_questions_have_no_forecasts() -> None:
    assert list(BARE.forecast([])) == []
    assert len(figures_of([]).startup_s) == 0


def test_parts_are_put_back_where_they_belong() -> None:
    made = list(BARE.forecast(QUESTIONS))
    parts = [([3, 0], listed([made[3], made[0]])), ([1, 4, 2], listed([made[1], made[4], made[2]]))]

    together = joined(parts, 5)

    assert together == made
    assert together.figures.startup_s.tolist() == [forecast.startup_s for forecast in made]


@given(st.lists(st.integers(0, 4), max_size=8))
def test_rows_that_are_taken_are_a_list_of_their_own(rows: list[int]) -> None:
    whole = BARE.forecast(QUESTIONS)

    for forecasts in (whole, list(whole)):
        some = taken(forecasts, rows)
        assert some == [whole[row] for row in rows]
        assert some.figures.startup_s.tolist() == [whole[row].startup_s for row in rows]


def test_taking_rows_makes_no_value() -> None:
    def make(rows: np.ndarray) -> Sequence[Forecast]:
        raise AssertionError(f"nobody looked at {rows}")

    figures = BARE.forecast(QUESTIONS[:4]).figures

    assert len(joined([([1, 0], taken(Forecasts(figures, make), [3, 1]))], 2)) == 2
