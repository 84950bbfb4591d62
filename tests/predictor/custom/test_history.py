"""Custom jobs: what the user said is where the forecast begins, and what happened is where it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.bundle import load_bundle
from predictor.errors import NotEnoughData
from predictor.forecast import Forecast, Question, Spread
from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from predictor.model import Predictor
from predictor.telemetry import Observation
from predictor.words import Basis
from predictor.workload import CustomWorkload
from tests.predictor.observations import observe, raw_custom

PREDICTOR = Predictor(None)
SHIPPED = Predictor(load_bundle())

OUT_OF_MEMORY = {"outcome": "out_of_memory", "runtime_s": None}


def ask(gpu: str = "CPU", count: int = 1, **workload: Any) -> Question:
    features = tuple(sorted(workload.pop("features", {}).items()))
    job = CustomWorkload(kind=workload.pop("kind", "fit"), features=features, **workload)
    return Question(workload=job, gpu=load_gpu_types().get(gpu), layout=Layout(gpu_count=count, data_parallel=count))


def forecast(question: Question, history: list[Observation] | None = None) -> Forecast:
    return PREDICTOR.forecast([question], history)[0]


def runtime(question: Question, history: list[Observation] | None = None) -> Spread:
    found = forecast(question, history).runtime_s
    assert found is not None
    return found


def past(count: int, truth: float, *, seed: int = 1, **workload: Any) -> list[Observation]:
    noise = np.exp(np.random.default_rng(seed).normal(0.0, 0.05, count))
    return [observe(raw_custom(truth * noise[row], row=row, **workload)) for row in range(count)]


def test_without_history_the_forecast_is_what_the_job_states() -> None:
    found = forecast(ask(runtime_s=100.0, vram_gib=10.0, gpu="L40S"))
    assert found.basis is Basis.STATED
    assert not found.in_domain
    assert found.runtime_s is not None
    assert found.peak_vram is not None
    assert found.runtime_s.p50 == pytest.approx(100.0)
    assert found.peak_vram.p50_gib == pytest.approx(10.0)
    assert found.runtime_s.p90 > 150.0, "a stated time is a guess"


def test_a_stated_time_does_not_depend_on_what_else_is_asked() -> None:
    alone = runtime(ask(runtime_s=100.0, gpu="L40S"))
    among = PREDICTOR.forecast([ask(runtime_s=100.0, gpu=gpu) for gpu in ("L40S", "H100-SXM", "CPU")])
    assert all(other.runtime_s == alone for other in among)


def test_one_observation_already_moves_a_wrong_statement_most_of_the_way() -> None:
    stated, truth = 100.0, 300.0
    corrected = runtime(ask(runtime_s=stated), past(1, truth, runtime_s=stated)).p50
    assert abs(np.log(corrected / truth)) < 0.25 * abs(np.log(stated / truth))


def test_a_dozen_nearly_settle_it() -> None:
    settled = runtime(ask(runtime_s=100.0), past(12, 300.0, runtime_s=100.0))
    assert settled.p50 == pytest.approx(300.0, rel=0.05)
    assert settled.p90 / settled.p10 < 1.6


@settings(max_examples=30)
@given(few=st.integers(1, 6), more=st.integers(12, 40), seed=st.integers(0, 1000))
def test_intervals_are_wider_with_little_data(few: int, more: int, seed: int) -> None:
    history = past(more, 50.0, seed=seed, runtime_s=50.0)
    narrow, wide = (runtime(ask(runtime_s=50.0), history[:count]) for count in (more, few))
    assert wide.p90 / wide.p10 > narrow.p90 / narrow.p10


@settings(max_examples=50)
@given(
    count=st.integers(0, 15),
    stated=st.floats(1e-3, 1e6),
    truth=st.floats(1e-2, 1e5),
    size=st.floats(-1e6, 1e6),
)
def test_quantiles_never_cross(count: int, stated: float, truth: float, size: float) -> None:
    history = past(count, truth, features={"size": 3.0, "mode": "fast"})
    found = runtime(ask(runtime_s=stated, features={"size": size, "mode": "slow"}), history)
    assert 0.0 <= found.p10 <= found.p50 <= found.p90


def test_a_size_that_doubles_the_time_is_learned() -> None:
    history = [
        observe(raw_custom(2.0 * size, row=row, features={"size": size}))
        for row, size in enumerate([1, 2, 4, 8, 16] * 3)
    ]
    assert runtime(ask(features={"size": 32.0}), history).p50 == pytest.approx(64.0, rel=0.1)
    assert forecast(ask(features={"size": 8.0}), history).in_domain
    assert not forecast(ask(features={"size": 640.0}), history).in_domain


def test_a_word_never_seen_widens_the_interval() -> None:
    history = past(12, 10.0, features={"mode": "fast"}) + past(12, 20.0, seed=2, features={"mode": "slow"})
    known, unknown = (runtime(ask(features={"mode": mode}), history) for mode in ("fast", "other"))
    assert known.p50 == pytest.approx(10.0, rel=0.1)
    assert unknown.p90 / unknown.p10 > known.p90 / known.p10


def test_history_needs_no_statement_and_a_kind_is_known_only_by_its_own() -> None:
    history = past(6, 40.0)
    assert forecast(ask(), history).basis is Basis.HISTORY
    with pytest.raises(NotEnoughData, match="other"):
        PREDICTOR.forecast([ask(kind="other")], history)


@pytest.mark.parametrize("stated", [5.0, 40.0, 5000.0])
def test_a_job_that_states_nothing_is_not_led_by_what_past_jobs_stated_wrongly(stated: float) -> None:
    history = [
        observe(raw_custom(2.0 * size, row=row, runtime_s=stated, features={"size": size}))
        for row, size in enumerate([1, 2, 4, 8, 16] * 3)
    ]
    found = runtime(ask(features={"size": 8.0}), history)
    assert found.p50 == pytest.approx(16.0, rel=0.1)
    assert found.p10 < 16.0 < found.p90


def test_memory_nobody_measured_or_stated_is_null() -> None:
    found = forecast(ask(), past(6, 40.0))
    assert found.peak_vram is None
    assert found.fit_probability is None
    assert found.to_json()["peak_vram_gib"] == {"p50": None, "p95": None}


def test_a_run_out_of_memory_raises_the_forecast_above_the_card() -> None:
    raw = raw_custom(1.0, gpu="L40S", vram_gib=20.0) | {"outcome": "out_of_memory", "runtime_s": None}
    found = forecast(ask(gpu="L40S", vram_gib=20.0), [observe(raw)])
    assert found.peak_vram is not None
    assert found.usable_vram_gib is not None
    assert found.peak_vram.p50_gib > found.usable_vram_gib
    assert found.fit_probability is not None
    assert found.fit_probability < 0.5


def test_runs_out_of_memory_on_cards_the_job_is_known_not_to_fit_say_nothing() -> None:
    done = [observe(raw_custom(100.0, row=row, gpu="A100-80GB-SXM") | {"peak_vram_gib": 60.0}) for row in range(5)]
    failed = [observe(raw_custom(1.0, row=row, gpu="L4") | OUT_OF_MEMORY) for row in range(20, 40)]
    alone, among = (forecast(ask(gpu="A100-80GB-SXM"), history).peak_vram for history in (done, done + failed))
    assert alone is not None
    assert among is not None
    assert among.p50_gib == pytest.approx(60.0)
    assert among.p50_gib == pytest.approx(alone.p50_gib)
    assert among.p95_gib == pytest.approx(alone.p95_gib, rel=1e-3)


def test_a_run_out_of_memory_lifts_what_was_measured_below_it() -> None:
    done = [observe(raw_custom(100.0, row=row, gpu="L4") | {"peak_vram_gib": 12.0}) for row in range(3)]
    failed = [observe(raw_custom(1.0, row=9, gpu="L4") | OUT_OF_MEMORY)]
    before, after = (forecast(ask(gpu="L4"), history).peak_vram for history in (done, done + failed))
    assert before is not None
    assert after is not None
    assert after.p50_gib > 1.05 * before.p50_gib
    assert after.p95_gib > 1.5 * before.p95_gib


def test_of_jobs_that_all_ran_out_of_memory_the_largest_card_counts() -> None:
    history = [
        observe(raw_custom(1.0, row=row, gpu=gpu) | OUT_OF_MEMORY) for row, gpu in enumerate(["L40S", "L4", "L4"])
    ]
    found = forecast(ask(gpu="L40S"), history)
    assert found.peak_vram is not None
    assert found.usable_vram_gib is not None
    assert found.peak_vram.p50_gib > found.usable_vram_gib


VISION = {"batch": 128.0, "image_size": 224.0, "params_m": 25.6}


def vision(stated: float | None, features: dict[str, Any], history: list[Observation] | None = None) -> Forecast:
    """Of a kind that the shipped bundle knows."""
    question = ask("A100-80GB-SXM", kind="vision-train", runtime_s=stated, features=dict(features))
    return SHIPPED.forecast([question], history)[0]


def seconds(found: Forecast) -> Spread:
    assert found.runtime_s is not None
    return found.runtime_s


@pytest.mark.parametrize("features", [{}, {"epochs": 90.0, "dataset": "imagenet"}], ids=["none", "others"])
def test_of_a_known_kind_what_is_stated_wins_where_none_of_its_features_is_given(features: dict[str, Any]) -> None:
    found = vision(3600.0, features)
    assert seconds(found).p50 == pytest.approx(3600.0)
    assert seconds(found).p90 / seconds(found).p10 > 2.0
    assert (found.basis, found.in_domain) == (Basis.STATED, False)
    assert any("as stated" in note or "time stated" in note for note in found.assumptions)


def test_what_is_stated_moves_a_known_kind_and_more_so_the_less_of_the_job_is_known() -> None:
    few = {"batch": 128.0}
    known, moved = seconds(vision(None, VISION)), seconds(vision(100.0, VISION))
    vague, moved_more = seconds(vision(None, few)), seconds(vision(100.0, few))
    assert known.p50 < moved.p50 < 100.0
    assert moved.p90 / moved.p10 > known.p90 / known.p10, "they contradict each other"
    share, larger = (
        np.log(b / a) / np.log(100.0 / a) for a, b in ((known.p50, moved.p50), (vague.p50, moved_more.p50))
    )
    assert share < 0.5 < larger
    assert any("stated" in note for note in vision(100.0, VISION).assumptions)
    assert not any("stated" in note for note in vision(None, VISION).assumptions)


def test_own_jobs_outweigh_both_what_is_stated_and_what_others_measured() -> None:
    history = [
        observe(raw_custom(1000.0, row=row, kind="vision-train", gpu="A100-80GB-SXM", features=VISION, runtime_s=100.0))
        for row in range(10)
    ]
    assert seconds(vision(100.0, VISION, history)).p50 == pytest.approx(1000.0, rel=0.1)
    assert seconds(vision(100.0, {}, history)).p50 == pytest.approx(1000.0, rel=0.1)


def test_what_is_stated_of_one_job_says_nothing_of_another() -> None:
    asked = [
        ask("A100-80GB-SXM", kind="vision-train", runtime_s=stated, features=dict(features))
        for stated in (None, 5.0, 3600.0)
        for features in (VISION, {})
    ]
    together = SHIPPED.forecast(asked)
    assert [one.to_json() for one in together] == [SHIPPED.forecast([question])[0].to_json() for question in asked]


def test_one_unknown_job_does_not_refuse_the_others() -> None:
    answers = PREDICTOR.answer([ask(kind="unknown"), ask(runtime_s=5.0)])
    assert isinstance(answers[0], NotEnoughData)
    assert isinstance(answers[1], Forecast)
