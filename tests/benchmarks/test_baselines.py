"""Baselines say what their authors published, are judged only where they apply, and may be missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.baselines import compare, table
from benchmarks.baselines_formulas import (
    accelerate_inference_gib,
    accelerate_training_gib,
    deepspeed_zero2_gib,
    deepspeed_zero3_gib,
)
from benchmarks.baselines_outside import ask_aiconfigurator, ask_llm_analysis
from benchmarks.baselines_published import accelerate_memory, deepspeed_memory, say
from predictor.evaluation.judged import Judged
from predictor.evaluation.scores import HeldOutForecast
from predictor.features import Task
from predictor.learned.samples import samples
from predictor.telemetry import Observation
from tests.predictor.observations import invented_world, observe, raw_training

GIB = 2**30


def full(layout: dict[str, Any] | None = None, **changed: Any) -> Observation:
    """A full fine-tuning of Qwen2-7B."""
    workload = {name: value for name, value in raw_training()["workload"].items() if name != "lora_rank"}
    return observe(raw_training(workload=workload | {"method": "full"} | changed, layout=layout or {"gpu_count": 1}))


def test_accelerate_counts_four_copies_in_single_precision_and_eight_bytes_in_mixed() -> None:
    # a thousand million parameters: 4 GB of FP32 weights; four times that, or twice
    assert accelerate_training_gib(1e9, "fp32") * GIB == pytest.approx(16e9)
    assert accelerate_training_gib(1e9, "bf16") * GIB == pytest.approx(8e9)


@pytest.mark.parametrize(("precision", "gigabytes"), [("fp32", 4.0), ("bf16", 2.0), ("int8", 1.0), ("int4", 0.5)])
def test_accelerate_counts_the_weights_alone_in_inference(precision: str, gigabytes: float) -> None:
    assert accelerate_inference_gib(1e9, precision) * GIB == pytest.approx(gigabytes * 1e9)


def test_deepspeed_divides_what_a_stage_divides() -> None:
    # 4e9 of weights and gradients kept whole, 16e9 over eight GPUs; then 18e9 over eight and one gathered layer
    assert deepspeed_zero2_gib(1e9, 8) * GIB == pytest.approx(6e9)
    assert deepspeed_zero3_gib(1e9, 5e7, 8) * GIB == pytest.approx(2.25e9 + 0.2e9)


def test_a_formula_is_not_asked_of_what_it_does_not_know() -> None:
    lora = observe(raw_training())
    split = {"gpu_count": 2, "tensor_parallel": 2}
    assert accelerate_memory(lora) is None
    assert accelerate_memory(full(split)) is None
    assert accelerate_memory(full(optimizer="adafactor")) is None
    assert deepspeed_memory(full()) is None
    assert deepspeed_memory(full(split)) is None
    assert deepspeed_memory(full({"gpu_count": 2, "data_parallel": 2, "sharding": "zero3"})) is not None


def test_published_answers_are_kept_by_id() -> None:
    whole = full()
    parameters = whole.question.workload.architecture.num_parameters  # type: ignore[union-attr]
    assert say("accelerate", [whole, observe(raw_training(id="lora"))]) == {
        whole.id: pytest.approx(8.0 * parameters / GIB)
    }


def judged_world(off: float) -> Judged:
    """Training times of a made-up world, forecast `off` times too long."""
    found = samples(Task.TRAINING_TIME, invented_world(rows=80))
    none, said = np.zeros(len(found)), found.measured + np.log(off)
    everything = np.ones(len(found), dtype=bool)
    forecast = HeldOutForecast(
        p10=said, p50=said, p90=said, p95=said, fit=none, rank=none, distance=none, beyond=none,
        fit_sizes=np.empty((len(found), 0)),
    )  # fmt: skip
    return Judged(task=Task.TRAINING_TIME, grouping="configuration", found=found, folds=(everything,), said=forecast)


def test_a_baseline_and_pythia_are_judged_on_the_same_rows() -> None:
    near, far = judged_world(1.1), judged_world(1.2)
    answered = near.found.ids[:10]
    truth = np.exp(near.found.measured[:10])
    row = compare("twice", near, far, dict(zip(answered.tolist(), (2.0 * truth).tolist(), strict=True)))
    assert row is not None
    assert row.configurations == 10
    assert row.error == pytest.approx(1.0)
    assert row.configuration_unseen == pytest.approx(0.1)
    assert row.site_unseen == pytest.approx(0.2)
    assert "100.0 %" in table([row])[1]


def test_a_handful_of_answers_is_no_comparison() -> None:
    near = judged_world(1.1)
    assert compare("few", near, None, {str(near.found.ids[0]): 1.0}) is None


def test_a_tool_that_is_not_installed_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    answers = ask_llm_analysis([full()], python=tmp_path / ".venv-bench" / "bin" / "python")
    assert answers.memory_gib == {}
    assert "llm-analysis: not asked" in answers.says


def test_a_tool_that_cannot_be_imported_is_named_and_the_rest_goes_on() -> None:
    serving = next(one for one in invented_world(rows=80) if one.runtime_s and one.question.gpu.name == "H100-SXM")
    answers = ask_aiconfigurator([serving], python=Path(sys.executable))
    assert answers.time_s == {}
    assert "aiconfigurator: asked 1 rows" in answers.says
    assert "it failed with ModuleNotFoundError" in answers.says


def test_what_a_tool_answers_is_kept_by_id_and_what_it_refuses_is_counted(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    answers = [{"id": "a", "memory_gib": 3.5, "time_s": 7.0}, {"id": "b", "refused": "too large"}]
    fake.write_text("#!/bin/sh\n" + "".join(f"echo '{json.dumps(one)}'\n" for one in answers))
    fake.chmod(0o755)
    said = ask_llm_analysis([full()], python=fake)
    assert (said.memory_gib, said.time_s) == ({"a": 3.5}, {"a": 7.0})
    assert "1 refused, e.g. too large" in said.says
