"""Which changes of a job are planned, and which are worth saying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from predictor.architectures.catalogue import load_models
from predictor.errors import NotEnoughData
from predictor.forecast import Forecast, Question
from predictor.hardware import load_gpu_types
from predictor.telemetry import Observation
from predictor.words import Checkpointing
from predictor.workload import Software, TrainingWorkload
from predictor.workloads.spec import resolve
from scheduler.domain.offers import Offer
from scheduler.domain.placement import decide
from scheduler.domain.spec import JobSpec
from scheduler.domain.suggestions import LEAST_SAVING, MOST, changes
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import look_at_offers
from scheduler.services.suggest import suggest
from tests.support.offers import make_custom_spec, make_offer, make_spec
from tests.support.predictor import FixedPredictor

NOW = datetime(2026, 9, 1, tzinfo=UTC)


def texts(spec: JobSpec) -> set[str]:
    return {change.text for change in changes(spec, resolve(spec.workload, load_models(), Software()))}


def test_full_training_may_become_adapters_or_take_a_smaller_optimizer() -> None:
    spec = make_spec(workload={"type": "training", "model": "meta-llama/Llama-3.1-8B", "num_steps": 10})
    assert {"method=lora", "optimizer=adamw_8bit", "gradient_checkpointing=full", "spot=allow"} <= texts(spec)


def test_the_micro_batch_changes_only_where_a_global_batch_keeps_the_job_the_same() -> None:
    workload = {"type": "training", "model": "meta-llama/Llama-3.1-8B", "num_steps": 10, "micro_batch_size": 2}
    assert not any(text.startswith("micro_batch_size") for text in texts(make_spec(workload=workload)))
    sizes = texts(make_spec(workload=workload | {"global_batch_size": 12}))
    assert {text for text in sizes if text.startswith("micro_batch_size")} == {
        "micro_batch_size=1",
        "micro_batch_size=4",
    }


def test_inference_may_use_smaller_numbers() -> None:
    workload = {"type": "inference", "model": "meta-llama/Llama-3.1-8B", "num_requests": 10}
    found = texts(make_spec(workload=workload | {"precision": "bf16"}))
    assert {"precision=fp8", "precision=int4", "kv_cache_precision=fp8"} <= found
    assert not any(text.startswith("precision") for text in texts(make_spec(workload=workload | {"precision": "int4"})))


def test_constraints_may_be_loosened_but_not_those_that_were_not_made() -> None:
    asked = {"jurisdictions": ["EU"], "deadline": "2026-12-01T00:00:00Z", "spot": "allow"}
    assert texts(make_custom_spec(constraints=asked)) == {"jurisdictions=any", "deadline=any"}
    assert texts(make_custom_spec()) == {"spot=allow"}


class Cheaper:
    """A predictor for which full checkpointing needs a quarter of the memory and a fifth more time."""

    def __init__(self) -> None:
        self._fixed = FixedPredictor(need_gib=60.0, change=self._change)
        self.version = self._fixed.version
        self.asked = self._fixed.asked

    def forecast(self, questions: Sequence[Question], history: Sequence[Observation] | None = None) -> list[Forecast]:
        return self._fixed.forecast(questions)

    def explain(
        self, questions: Sequence[Question], history: Sequence[Observation] | None = None
    ) -> list[Forecast | NotEnoughData]:
        return self._fixed.explain(questions)

    @staticmethod
    def _change(question: Question, forecast: Forecast) -> Forecast:
        workload, run, vram = question.workload, forecast.runtime_s, forecast.peak_vram
        assert isinstance(workload, TrainingWorkload)
        assert run is not None
        assert vram is not None
        if workload.gradient_checkpointing is not Checkpointing.FULL:
            return forecast
        need = replace(vram, p50_gib=vram.p50_gib / 4, p95_gib=vram.p95_gib / 4)
        slower = replace(run, p10=run.p10 * 1.2, p50=run.p50 * 1.2, p90=run.p90 * 1.2)
        return replace(forecast, peak_vram=need, runtime_s=slower, fit_probability=0.99)


@pytest.fixture
def offers() -> list[Offer]:
    return [
        make_offer("H100-SXM", 4.0, sold_gpus=(1,), node_gpus=1),
        make_offer("L40S", 1.0, sold_gpus=(1,), node_gpus=1),
    ]


def test_the_change_that_lets_a_cheap_card_do_is_suggested_with_its_figures(offers: list[Offer]) -> None:
    knowledge = Knowledge(predictor=Cheaper(), gpus=load_gpu_types(), models=load_models())
    spec = make_spec()
    prospect = look_at_offers(knowledge, spec, offers)
    decision = decide(spec, prospect.proposals, prospect.forecasts, now=NOW)
    before = decision.considered.candidates[0]
    first, *others = suggest(knowledge, spec, prospect, decision, now=NOW)
    assert first.change.text == "gradient_checkpointing=full"
    assert (before.offer.gpu_type, first.chosen.offer.gpu_type) == ("H100-SXM", "L40S")
    assert first.saving == pytest.approx(1 - 1.2 / 4, abs=0.02)
    assert first.longer == pytest.approx(0.2, abs=0.01)
    assert len(others) < MOST
    assert all(one.saving is not None and one.saving >= LEAST_SAVING for one in others)
    # the changed job, planned by itself, comes to the same figures; the job itself was not touched
    planned = look_at_offers(knowledge, first.change.spec, offers)
    again = decide(first.change.spec, planned.proposals, planned.forecasts, now=NOW)
    assert again.considered.candidates[0].estimate == first.chosen.estimate
    assert spec == make_spec()


def test_a_refused_job_is_told_what_would_make_it_possible(offers: list[Offer]) -> None:
    knowledge = Knowledge(predictor=Cheaper(), gpus=load_gpu_types(), models=load_models())
    spec = make_spec(constraints={"gpu_types": ["L40S"]})
    prospect = look_at_offers(knowledge, spec, offers)
    decision = decide(spec, prospect.proposals, prospect.forecasts, now=NOW)
    (only,) = suggest(knowledge, spec, prospect, decision, now=NOW)
    assert (only.change.text, only.saving, only.longer) == ("gradient_checkpointing=full", None, None)


def test_all_changes_are_forecast_in_one_call_and_the_job_as_it_stands_not_again(offers: list[Offer]) -> None:
    predictor = Cheaper()
    knowledge = Knowledge(predictor=predictor, gpus=load_gpu_types(), models=load_models())
    spec = make_spec(constraints={"deadline": "2026-12-01T00:00:00Z"})
    prospect = look_at_offers(knowledge, spec, offers)
    decision = decide(spec, prospect.proposals, prospect.forecasts, now=NOW)
    suggest(knowledge, spec, prospect, decision, now=NOW)
    of_workload = [c for c in changes(spec, prospect.proposals.board.workload) if c.of_workload]
    assert predictor.asked == [2, 2 * len(of_workload)]
