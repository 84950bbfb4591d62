"""A training run, to the micro-dollar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.forecast import Forecast, Question
from predictor.hardware import load_gpu_types
from predictor.workload import TrainingWorkload
from predictor.workloads.spec import parse_workload
from scheduler.domain.errors import InvalidSpec
from scheduler.domain.offers import Offer
from scheduler.domain.spec import Constraints
from scheduler.domain.stock import inventory_of
from scheduler.economics.spec import LLAMA_3_FAILURES, parse_training_run_spec, training_workload_of
from scheduler.economics.training_run import Terms, TrainingRuns, checkpoint_bytes, training_runs
from tests.support.offers import make_offer
from tests.support.predictor import FixedPredictor

MODELS = load_models()
TERMS = Terms(
    failures_per_gpu_hour=0.0, restart_s=None, bytes_per_s=1e9, blocking=1.0, interval_s=None, evaluation_share=0.0,
    checkpoints_kept=0, storage_micros_per_gib_month=0,
)  # fmt: skip


def work(**changes: Any) -> TrainingWorkload:
    asked = {
        "type": "training", "method": "full", "model": "Qwen/Qwen2.5-0.5B", "precision": "bf16", "num_samples": 1000,
        "engine": "megatron",
    }  # fmt: skip
    read = parse_workload(asked | changes, MODELS)
    assert isinstance(read, TrainingWorkload)
    return read


@dataclass(frozen=True, slots=True)
class Slowing:
    """Twice as many GPUs bring half as much again."""

    need_gib: float = 20.0

    def forecast(self, questions: Sequence[Question]) -> list[Forecast]:
        """Ten hours on one GPU."""
        rate = {1: 1.0, 2: 1.5, 4: 2.25, 8: 3.375}
        return [
            FixedPredictor(
                need_gib=self.need_gib, gpu_hours=10 * question.layout.gpu_count / rate[question.layout.gpu_count]
            ).forecast([question])[0]
            for question in questions
        ]


def runs(
    *offers: Offer, predictor: Any = None, constraints: Constraints | None = None, work_of: Any = None, **terms: Any
) -> TrainingRuns:
    return training_runs(
        work_of or work(), constraints or Constraints(), replace(TERMS, **terms), inventory_of(offers),
        load_gpu_types(), predictor or FixedPredictor(gpu_hours=10.0, startup_s=0.0),
    )  # fmt: skip


def test_a_checkpoint_holds_weights_their_copy_and_both_moments() -> None:
    # Megatron: 2 bytes of weight, 4 of its copy, 2 × 4 of Adam's moments
    assert checkpoint_bytes(work()) == MODELS.get("Qwen/Qwen2.5-0.5B").num_parameters * 14


def test_adapters_are_saved_without_their_base() -> None:
    small = checkpoint_bytes(work(method="lora", lora_rank=8, engine="transformers"))
    assert 0 < small < checkpoint_bytes(work()) / 50


def test_a_run_pays_for_its_work_evaluation_checkpoints_and_storage() -> None:
    size = checkpoint_bytes(work())
    found = runs(
        make_offer("H100-SXM", 3.6, provision_s=100.0, sold_gpus=(1,)), evaluation_share=0.1, interval_s=3600.0,
        bytes_per_s=size / 10, checkpoints_kept=2, storage_micros_per_gib_month=25_000,
    )  # fmt: skip
    # 10 h of work and 1 h of evaluation, 11 checkpoints of 10 s, 100 s before: 39,810 s at $0.001 a second
    takes = found.runs[0].mid
    assert takes.wall_s == pytest.approx(39_810)
    assert takes.machine_micros == 39_810_000
    # two checkpoints of 6.44 GiB for 39,710 s of a month of 2,628,000 s at $0.025
    assert takes.storage_micros == round(2 * size / 2**30 * 25_000 * 39_710 / 2_628_000)
    assert takes.micros == takes.machine_micros + takes.storage_micros


def test_failures_come_with_every_gpu_and_spot_on_top() -> None:
    offer = make_offer("H100-SXM", 3.0, spot_micros_per_gpu_hour=1_000_000)
    found = runs(offer, failures_per_gpu_hour=1e-3, constraints=Constraints(spot="allow"))
    rates = {(one.spot, one.gpu_count): one.interruptions_per_hour for one in found.runs}
    assert rates[False, 8] == pytest.approx(8e-3)
    assert rates[True, 8] > rates[False, 8]
    assert rates[True, 8] - rates[False, 8] == pytest.approx(rates[True, 1] - rates[False, 1])  # one machine


def test_several_machines_write_their_parts_at_the_same_time() -> None:
    offer = make_offer("H100-SXM", 3.0, max_nodes=2, capacity_gpus=16)
    found = runs(offer, constraints=Constraints(max_gpus=16))
    written = {one.gpu_count: one.write_s for one in found.runs}
    assert written[16] == pytest.approx(written[8] / 2) == pytest.approx(written[1] / 2)


def test_scaling_is_what_the_forecast_says_beside_the_smallest_count_that_fits() -> None:
    found = runs(make_offer("H100-SXM", 3.0), predictor=Slowing())
    assert {one.gpu_count: one.scaling_efficiency for one in found.runs} == {
        1: 1.0, 2: pytest.approx(0.75), 4: pytest.approx(0.5625), 8: pytest.approx(0.421875),
    }  # fmt: skip
    large = runs(make_offer("H100-SXM", 3.0), predictor=Slowing(need_gib=120.0))
    assert {one.gpu_count: (one.smallest_count, one.scaling_efficiency) for one in large.runs} == {
        2: (2, 1.0), 4: (2, pytest.approx(0.75)), 8: (2, pytest.approx(0.5625)),
    }  # fmt: skip
    assert large.unfit == (("H100-SXM", 1),)


def test_the_front_goes_from_the_cheapest_to_the_soonest() -> None:
    found = runs(make_offer("H100-SXM", 3.0), predictor=Slowing())
    assert [one.gpu_count for one in found.pareto()] == [1, 2, 4, 8]
    # as fast per GPU, so that the largest count is no dearer and sooner
    even = runs(make_offer("H100-SXM", 3.0), make_offer("L40S", 9.0))
    assert [(one.question.gpu.name, one.gpu_count) for one in even.pareto()][-1] == ("H100-SXM", 8)
    assert {one.question.gpu.name for one in even.pareto()} == {"H100-SXM"}


def test_a_run_that_is_interrupted_all_the_time_is_named() -> None:
    found = runs(make_offer("H100-SXM", 3.0), failures_per_gpu_hour=10.0, interval_s=36_000.0, bytes_per_s=1e9)
    assert found.runs == ()
    assert ("H100-SXM", 8) in found.hopeless


def test_epochs_multiply_what_is_read() -> None:
    asked = {"model": "Qwen/Qwen2.5-0.5B", "num_tokens": 1e9, "epochs": 2.5}
    assert training_workload_of(parse_training_run_spec(asked), MODELS).num_tokens == 2.5e9
    samples = {"model": "Qwen/Qwen2.5-0.5B", "num_samples": 3, "epochs": 1.5}
    assert training_workload_of(parse_training_run_spec(samples), MODELS).num_samples == 5


def test_a_default_is_named_and_a_given_figure_is_not() -> None:
    spec = parse_training_run_spec({"model": "x", "num_tokens": 1, "evaluation_share": 0.02})
    said = " ".join(spec.assumed())
    assert "Llama 3" in said
    assert "evaluation_share" not in said
    # 54 days of 16,384 GPUs are 21,233,664 GPU-hours
    assert pytest.approx(419 / 21_233_664) == LLAMA_3_FAILURES


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_samples": 5}, "either num_tokens or num_samples"),
        ({"num_tokens": None}, "either num_tokens or num_samples"),
        ({"epochs": 0}, "epochs"),
        ({"checkpoint_gb_per_s": 0}, "checkpoint_gb_per_s"),
        ({"checkpoint_blocking": 1.1}, "checkpoint_blocking"),
        ({"checkpoint_interval_s": 1e-300}, "checkpoint_interval_s"),
        ({"failures_per_gpu_hour": float("nan")}, "failures_per_gpu_hour"),
        ({"storage_usd_per_gib_month": -1}, "storage_usd_per_gib_month"),
        ({"epoch": 1}, "epoch"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        parse_training_run_spec({"model": "x", "num_tokens": 1e9} | change)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1e-2), st.floats(0, 1e-2), st.floats(0, 1), st.floats(0, 1))
def test_worse_machines_and_more_evaluation_never_cost_less(
    one: float, other: float, share: float, further: float
) -> None:
    few, many = sorted((one, other))
    less, more = sorted((share, further))
    good = runs(make_offer(), failures_per_gpu_hour=few, evaluation_share=less, interval_s=1800.0)
    bad = runs(make_offer(), failures_per_gpu_hour=many, evaluation_share=more, interval_s=1800.0)
    cost = {one.gpu_count: one.mid.micros for one in good.runs}
    assert all(cost[one.gpu_count] <= one.mid.micros for one in bad.runs)
