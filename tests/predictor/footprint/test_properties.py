"""What holds for every job: parts add up, more work never needs less, more sharing never needs more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.columns import inference_columns, training_columns
from predictor.footprint.inference import inference_footprint
from predictor.footprint.parts import Footprint
from predictor.footprint.training import training_footprint
from predictor.forecast import Breakdown, Question
from predictor.layout import Layout
from predictor.layouts import sensible_layouts
from predictor.words import Sharding, VramMetric
from tests.predictor.questions import serve, train

MODELS = tuple(model.id for model in load_models())
metrics = st.sampled_from(VramMetric)
gpus = st.sampled_from(["A100-80GB-SXM", "H100-SXM", "L40S", "T4", "MI300X"])
counts = st.sampled_from([1, 2, 4, 8, 16])


def peaks(questions: list[Question]) -> Footprint:
    if questions[0].workload.__class__.__name__ == "TrainingWorkload":
        return training_footprint(training_columns(questions))
    return inference_footprint(inference_columns(questions))


def never_falls(values: Any) -> bool:
    return bool(np.all(np.diff(values) >= -1e-9))


@st.composite
def training_specs(draw: st.DrawFn) -> dict[str, Any]:
    method = draw(st.sampled_from(["full", "lora", "qlora"]))
    spec: dict[str, Any] = {
        "model": draw(st.sampled_from(MODELS)),
        "method": method,
        "precision": draw(st.sampled_from(["bf16", "fp16", "fp32", "fp8"])),
        "sequence_length": draw(st.integers(1, 65_536)),
        "micro_batch_size": draw(st.integers(1, 32)),
        "optimizer": draw(st.sampled_from(["adamw", "adamw_8bit", "adafactor", "sgd", "muon", "novel"])),
        "gradient_checkpointing": draw(st.sampled_from(["none", "selective", "full"])),
        "attention": draw(st.sampled_from(["flash", "sdpa", "eager"])),
        "fused_loss": draw(st.booleans()),
        "pure_low_precision": draw(st.booleans()),
        "software": {"engine": draw(st.sampled_from(["transformers", "megatron-lm", "deepspeed", "fsdp", "nemo"]))},
        "gpu": draw(gpus),
        "metric": draw(metrics),
    }
    if method != "full":
        spec["lora_rank"] = draw(st.integers(1, 512))
        spec["train_embeddings"] = draw(st.booleans())
    return spec


@st.composite
def serving_specs(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "model": draw(st.sampled_from(MODELS)),
        "precision": draw(st.sampled_from(["bf16", "fp16", "fp32", "fp8", "int8", "int4", "fp4"])),
        "kv_cache_precision": draw(st.sampled_from(["bf16", "fp8"])),
        "input_length": draw(st.integers(1, 100_000)),
        "output_length": draw(st.integers(0, 20_000)),
        "max_batch_size": draw(st.none() | st.integers(1, 4096)),
        "num_requests": draw(st.integers(1, 10**6)),
        "engine": draw(st.sampled_from(["vllm", "sglang", "tensorrt-llm", "transformers", "llama.cpp", "novel"])),
        "gpu": draw(gpus),
        "metric": draw(metrics),
    }


def one_of_the_sensible(draw: st.DrawFn, question: Question) -> Question:
    layouts = sensible_layouts(question.workload, draw(counts))
    return replace(question, layout=draw(st.sampled_from(layouts)))


@st.composite
def any_question(draw: st.DrawFn) -> Question:
    build: Callable[..., Question] = train
    spec = draw(training_specs()) if draw(st.booleans()) else None
    if spec is None:
        build, spec = serve, draw(serving_specs())
    return one_of_the_sensible(draw, build(**spec))


@given(any_question())
def test_the_parts_are_finite_and_positive_and_add_up_to_the_peak(question: Question) -> None:
    f = peaks([question])
    parts = [getattr(f, name)[0] for name in Breakdown.__dataclass_fields__]

    assert all(np.isfinite(part) and part >= 0 for part in parts)
    assert f.weights[0] > 0
    assert f.peak_gib[0] == pytest.approx(sum(parts))
    assert f.need_gib[0] >= f.weights[0]
    assert f.batch[0] >= 1


def test_every_model_of_the_catalogue_has_a_finite_footprint() -> None:
    training = peaks([train(model, method=method) for model in MODELS for method in ("full", "lora", "qlora")])
    serving = peaks([serve(model) for model in MODELS])

    for f in (training, serving):
        assert np.all(np.isfinite(f.peak_gib) & (f.peak_gib > 0) & np.isfinite(f.need_gib))


@given(training_specs(), counts, st.data())
def test_more_training_work_never_needs_less(spec: dict[str, Any], count: int, data: st.DataObject) -> None:
    first = train(**spec)
    layout = data.draw(st.sampled_from(sensible_layouts(first.workload, count)))
    grown = data.draw(st.sampled_from(["sequence_length", "micro_batch_size", "lora_rank"]))
    if grown == "lora_rank" and spec["method"] == "full":
        grown = "sequence_length"
    sizes = sorted(data.draw(st.lists(st.integers(1, 60_000 if grown == "sequence_length" else 512), min_size=4)))
    f = peaks([train(**{**spec, grown: size}, layout=layout) for size in sizes])

    assert never_falls(f.peak_gib)
    assert never_falls(f.need_gib)


@given(serving_specs(), counts, st.data())
def test_more_serving_work_never_needs_less(spec: dict[str, Any], count: int, data: st.DataObject) -> None:
    if spec["engine"] not in ("transformers", "llama.cpp"):
        spec["max_batch_size"] = spec["max_batch_size"] or 16  # an open cache in pages is bounded in the forecast
    layout = data.draw(st.sampled_from(sensible_layouts(serve(**spec).workload, count)))
    grown, most = data.draw(
        st.sampled_from([("input_length", 100_000), ("output_length", 20_000), ("max_batch_size", 4096)])
    )
    sizes = sorted(data.draw(st.lists(st.integers(1, most), min_size=4)))
    f = peaks([serve(**{**spec, grown: size}, layout=layout) for size in sizes])

    assert never_falls(f.peak_gib)
    if spec["max_batch_size"]:  # one that is left open needs less where a sequence no longer fits
        assert never_falls(f.need_gib)


@given(training_specs(), st.sampled_from([2, 4, 8, 64]))
def test_more_sharding_never_needs_more(spec: dict[str, Any], ranks: int) -> None:
    """By arithmetic and with the copies in memory stated; that FSDP adds streams and buffers is overhead."""
    spec |= {"method": "full", "metric": VramMetric.ALLOCATED}
    spec.pop("lora_rank", None)
    spec.pop("train_embeddings", None)
    f = peaks(
        [train(**spec, layout=Layout(gpu_count=ranks, data_parallel=ranks, sharding=stage)) for stage in Sharding]
    )

    assert never_falls(-f.peak_gib)


@given(any_question(), st.sampled_from([2, 4, 8]))
def test_more_tensor_parallelism_never_needs_more_weights(question: Question, size: int) -> None:
    one, split = (replace(question, layout=Layout(gpu_count=n, tensor_parallel=n)) for n in (1, size))

    whole, share = peaks([one, split]).weights
    assert share <= whole


@given(any_question())
def test_readings_are_ordered(question: Question) -> None:
    f = peaks(
        [
            replace(question, vram_metric=metric)
            for metric in (VramMetric.ALLOCATED, VramMetric.RESERVED, VramMetric.DRIVER)
        ]
    )

    assert never_falls(f.peak_gib)


@given(st.lists(any_question(), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_a_rows_answer_does_not_depend_on_its_neighbours(questions: list[Question], random: Any) -> None:
    kind = type(questions[0].workload)
    same = [question for question in questions if isinstance(question.workload, kind)]
    shuffled = same[:]
    random.shuffle(shuffled)

    together = dict(zip(map(id, shuffled), peaks(shuffled).peak_gib, strict=True))
    for question in same:
        assert together[id(question)] == peaks([question]).peak_gib[0]
