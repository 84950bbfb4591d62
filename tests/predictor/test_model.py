"""Promises of every forecast, held by the bundle that ships."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.answers import UNSEEN_MEMORY
from predictor.bundle import load_bundle
from predictor.forecast import Forecast, Question
from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from predictor.layouts import sensible_layouts
from predictor.model import ARITHMETIC_VERSION, Predictor, load_default_predictor
from predictor.words import Basis, VramMetric
from tests.predictor.questions import serve, train

SHIPPED = Predictor(load_bundle())
MODELS = ("Qwen/Qwen2-0.5B", "Qwen/Qwen2-7B", "meta-llama/Meta-Llama-3-8B", "mistralai/Mixtral-8x7B-v0.1",
          "deepseek-ai/DeepSeek-V3", "meta-llama/Llama-3.1-70B-Instruct")  # fmt: skip
CARDS = tuple(gpu.name for gpu in load_gpu_types() if gpu.is_accelerator)

models, cards, counts = st.sampled_from(MODELS), st.sampled_from(CARDS), st.sampled_from([1, 2, 4, 8, 16])
metrics = st.sampled_from(list(VramMetric))
batches, lengths = st.integers(1, 512), st.integers(1, 131_072)


@st.composite
def trainings(draw: st.DrawFn, /, *, method: str | None = None, **fixed: Any) -> Question:
    method = method or draw(st.sampled_from(["full", "lora", "qlora"]))
    spec: dict[str, Any] = {
        "method": method,
        "sequence_length": draw(lengths),
        "micro_batch_size": draw(batches),
        "gradient_checkpointing": draw(st.sampled_from(["none", "selective", "full"])),
        "optimizer": draw(st.sampled_from(["adamw", "adamw_8bit", "adafactor", "sgd"])),
        "precision": draw(st.sampled_from(["bf16", "fp16", "fp32", "fp8"])),
        "engine": draw(st.sampled_from(["transformers", "megatron-lm", "fsdp", "deepspeed", "unheard-of"])),
        "fused_loss": draw(st.booleans()),
    }
    if method != "full":
        spec["lora_rank"] = draw(st.integers(1, 256))
    question = train(draw(models), gpu=draw(cards), metric=draw(metrics), **(spec | fixed))
    return _split(draw, question)


@st.composite
def servings(draw: st.DrawFn, /, **fixed: Any) -> Question:
    spec: dict[str, Any] = {
        "input_length": draw(lengths),
        "output_length": draw(st.integers(1, 16_384)),
        "max_batch_size": draw(st.one_of(st.none(), batches)),
        "num_requests": draw(st.integers(1, 100_000)),
        "precision": draw(st.sampled_from(["bf16", "fp8", "int4", "fp4"])),
        "engine": draw(st.sampled_from(["vllm", "sglang", "tensorrt-llm", "transformers", "llama.cpp", "unheard-of"])),
    }
    return _split(draw, serve(draw(models), gpu=draw(cards), metric=draw(metrics), **(spec | fixed)))


def _split(draw: st.DrawFn, question: Question) -> Question:
    layouts = sensible_layouts(question.workload, draw(counts))
    return Question(
        workload=question.workload,
        gpu=question.gpu,
        layout=draw(st.sampled_from(layouts)),
        vram_metric=question.vram_metric,
    )


def with_spec(question: Question, **changed: Any) -> Question:
    """The same question with fields of its workload replaced."""
    return replace(question, workload=replace(question.workload, **changed))


def both(one: Question, other: Question) -> tuple[Forecast, Forecast]:
    first, second = SHIPPED.forecast([one, other])
    return first, second


def assert_memory_not_less(small: Forecast, large: Forecast) -> None:
    assert small.peak_vram is not None
    assert large.peak_vram is not None
    assert large.peak_vram.p50_gib >= small.peak_vram.p50_gib * (1 - 1e-9)
    assert large.peak_vram.p95_gib >= small.peak_vram.p95_gib * (1 - 1e-9)


def assert_step_not_faster(small: Forecast, large: Forecast) -> None:
    assert small.step_time_s is not None
    assert large.step_time_s is not None
    assert large.step_time_s.p50 >= small.step_time_s.p50 * (1 - 1e-9)
    assert large.step_time_s.p90 >= small.step_time_s.p90 * (1 - 1e-9)


@given(question=st.one_of(trainings(), servings()))
def test_quantiles_are_finite_positive_and_never_cross(question: Question) -> None:
    found = SHIPPED.forecast([question])[0]
    assert found.peak_vram is not None
    assert found.runtime_s is not None
    assert found.vram_breakdown is not None
    assert 0 < found.peak_vram.p50_gib <= found.peak_vram.p95_gib < math.inf
    for spread in (found.runtime_s, found.step_time_s, found.tokens_per_second):
        if spread is not None:
            assert 0 < spread.p10 <= spread.p50 <= spread.p90 < math.inf
    assert found.fit_probability is not None
    assert 0.0 <= found.fit_probability <= 1.0
    assert found.startup_s > 0
    assert found.basis in (Basis.LEARNED, Basis.ARITHMETIC)


@given(question=trainings(), factor=st.floats(1.0, 16.0))
def test_a_longer_sequence_never_needs_less(question: Question, factor: float) -> None:
    small, large = both(question, with_spec(question, sequence_length=question.workload.sequence_length * factor))  # type: ignore[union-attr]
    assert_memory_not_less(small, large)
    assert_step_not_faster(small, large)


@given(question=trainings(), more=st.integers(1, 64))
def test_a_larger_micro_batch_never_needs_less(question: Question, more: int) -> None:
    small, large = both(question, with_spec(question, micro_batch_size=question.workload.micro_batch_size + more))  # type: ignore[union-attr]
    assert_memory_not_less(small, large)
    assert_step_not_faster(small, large)


@given(question=st.one_of(trainings(method="lora"), trainings(method="qlora")), more=st.integers(1, 512))
def test_a_larger_rank_never_needs_less(question: Question, more: int) -> None:
    small, large = both(question, with_spec(question, lora_rank=question.workload.lora_rank + more))  # type: ignore[union-attr]
    assert_memory_not_less(small, large)
    assert_step_not_faster(small, large)


@given(question=servings(max_batch_size=8), more=st.integers(1, 512))
def test_a_larger_batch_in_flight_never_needs_less(question: Question, more: int) -> None:
    assert_memory_not_less(*both(question, with_spec(question, max_batch_size=8 + more, num_requests=100_000)))


@given(
    # a batch that is left open shrinks as texts grow, but what it was planned with stays full
    question=st.one_of(
        servings(max_batch_size=8),
        servings(max_batch_size=None, engine="vllm"),
        servings(max_batch_size=None, engine="transformers"),
        servings(max_batch_size=None, engine="llama.cpp"),
    ),
    longer=st.integers(1, 65_536),
    field=st.sampled_from(["input_length", "output_length"]),
)
def test_a_longer_text_in_flight_never_needs_less(question: Question, longer: int, field: str) -> None:
    assert_memory_not_less(*both(question, with_spec(question, **{field: getattr(question.workload, field) + longer})))


@given(
    question=servings(max_batch_size=8),
    longer=st.integers(1, 65_536),
    field=st.sampled_from(["input_length", "output_length", "num_requests"]),
)
def test_more_to_read_or_write_never_takes_less_time(question: Question, longer: int, field: str) -> None:
    small, large = both(question, with_spec(question, **{field: getattr(question.workload, field) + longer}))
    assert small.runtime_s is not None
    assert large.runtime_s is not None
    assert large.runtime_s.p50 >= small.runtime_s.p50 * (1 - 1e-9)
    assert large.runtime_s.p90 >= small.runtime_s.p90 * (1 - 1e-9)


@pytest.mark.parametrize("batch", [16, 256])
@pytest.mark.parametrize("engine", ["vllm", "tensorrt-llm", "transformers"])
def test_more_requests_never_take_less_time_whether_they_fill_the_batch_or_not(engine: str, batch: int) -> None:
    counts = (1, 2, 3, 5, 8, 13, 16, 17, 31, 32, 100, 256, 257, 1000)
    layouts = (Layout(), Layout(gpu_count=8, data_parallel=8))
    for model in MODELS:
        one = serve(model, engine=engine, max_batch_size=batch, input_length=1000, output_length=500)
        more = [with_spec(one, num_requests=count) for count in counts]
        for card, layout in product(CARDS[::7], layouts):
            on = load_gpu_types().get(card)
            found = SHIPPED.forecast([replace(question, gpu=on, layout=layout) for question in more])
            for seconds in (found.figures.runtime_p50_s, found.figures.runtime_p90_s):
                assert (np.diff(seconds) >= -1e-9 * seconds[1:]).all()


@pytest.mark.parametrize("engine", ["transformers", "llama.cpp"])
@pytest.mark.parametrize("lengths", [(100, 100), (2000, 200), (20_000, 2000)])
def test_an_open_contiguous_batch_fits_almost_surely_wherever_one_sequence_does(
    engine: str, lengths: tuple[int, int]
) -> None:
    spec: dict[str, Any] = {"engine": engine, "input_length": lengths[0], "output_length": lengths[1]}
    left_open = [serve(model, gpu=card, metric=VramMetric.DRIVER, **spec) for model in MODELS for card in CARDS]
    single = [with_spec(question, max_batch_size=1) for question in left_open]
    chosen, least = SHIPPED.forecast(left_open), SHIPPED.forecast(single)
    fits = [(many.fit_probability or 0.0, one.fit_probability or 0.0) for many, one in zip(chosen, least, strict=True)]

    assert all(many >= min(0.95, one) - 1e-6 for many, one in fits)
    assert sum(many >= 0.95 for many, _ in fits) > len(fits) / 4


def test_a_model_of_8b_on_transformers_is_placed_with_its_batch_left_open() -> None:
    question = serve("meta-llama/Llama-3.1-8B", gpu="H100-SXM", engine="transformers", metric=VramMetric.DRIVER,
                     num_requests=10_000, input_length=2000, output_length=200)  # fmt: skip
    found = SHIPPED.forecast([question])[0]
    assert found.peak_vram is not None
    assert found.usable_vram_gib is not None
    assert found.fit_probability is not None
    assert found.max_batch_size is not None
    assert found.max_batch_size > 50
    assert found.fit_probability >= 0.95
    assert found.peak_vram.p95_gib <= found.usable_vram_gib


@given(questions=st.lists(st.one_of(trainings(), servings()), min_size=2, max_size=8))
def test_a_forecast_does_not_depend_on_what_else_is_asked(questions: list[Question]) -> None:
    together = SHIPPED.forecast(questions)
    alone = [SHIPPED.forecast([question])[0] for question in questions]
    for one, other in zip(together, alone, strict=True):
        assert one.to_json() == other.to_json()


@given(question=st.one_of(trainings(), servings()))
def test_the_parts_of_the_memory_are_named_and_none_is_negative(question: Question) -> None:
    parts = SHIPPED.forecast([question])[0].vram_breakdown
    assert parts is not None
    assert all(
        getattr(parts, name) >= 0
        for name in ("weights", "gradients", "optimizer", "activations", "kv_cache", "overhead")
    )


def test_without_a_bundle_the_answer_is_arithmetic_with_its_margin() -> None:
    bare = Predictor(None)
    found = bare.forecast([train(sequence_length=2048)])[0]
    assert (found.basis, found.in_domain, found.model_version) == (Basis.ARITHMETIC, False, ARITHMETIC_VERSION)
    assert found.peak_vram is not None
    assert found.vram_breakdown is not None
    said = sum(getattr(found.vram_breakdown, name) for name in found.vram_breakdown.__dataclass_fields__)
    assert found.peak_vram.p50_gib == pytest.approx(said)
    assert found.peak_vram.p95_gib == pytest.approx(1.38 * said + 1.5, rel=0.01)


def test_what_is_like_the_training_data_is_in_domain_and_what_is_not_is_said_so() -> None:
    usual = train("Qwen/Qwen2-7B", gpu="A100-80GB-SXM", method="lora", sequence_length=2048, micro_batch_size=1,
                  gradient_checkpointing="full", lora_rank=64, metric=VramMetric.STATED)  # fmt: skip
    odd = train({"num_parameters": 3_000_000_000_000}, gpu="MI300X",
                layout=Layout(gpu_count=512, pipeline_parallel=512), sequence_length=131_072)  # fmt: skip
    near, far = both(usual, odd)
    assert near.in_domain
    assert not far.in_domain
    assert far.peak_vram is not None
    assert near.peak_vram is not None
    assert far.peak_vram.p95_gib / far.peak_vram.p50_gib >= near.peak_vram.p95_gib / near.peak_vram.p50_gib


def test_serving_like_what_was_timed_is_in_domain_and_its_memory_is_said_to_be_arithmetic() -> None:
    served = serve("meta-llama/Llama-3.1-8B-Instruct", gpu="H100-SXM", max_batch_size=64, input_length=1000,
                   output_length=1000, num_requests=1000, engine="vllm")  # fmt: skip
    found = SHIPPED.forecast([served])[0]
    bare = Predictor(None).forecast([served])[0]
    assert (found.basis, found.in_domain) == (Basis.LEARNED, True)
    assert UNSEEN_MEMORY in found.assumptions
    assert found.peak_vram is not None
    assert bare.peak_vram is not None
    assert found.peak_vram.p95_gib / found.peak_vram.p50_gib >= 0.97 * bare.peak_vram.p95_gib / bare.peak_vram.p50_gib


def test_fine_tuning_like_what_was_measured_assumes_nothing_of_its_memory() -> None:
    usual = train("Qwen/Qwen2-7B", gpu="A100-80GB-SXM", method="lora", sequence_length=2048, micro_batch_size=1,
                  gradient_checkpointing="full", lora_rank=64, metric=VramMetric.STATED)  # fmt: skip
    assert UNSEEN_MEMORY not in SHIPPED.forecast([usual])[0].assumptions


def test_the_shipped_bundle_is_small_and_names_its_sources() -> None:
    bundle = load_bundle()
    assert sum(map(len, bundle.files.values())) < 8_000_000
    assert sum(len(correction.domain.references) for correction in bundle.corrections.values()) <= 2000
    assert all(source.licence and source.rows > 0 for source in bundle.manifest.sources)
    assert load_default_predictor().version == bundle.version
