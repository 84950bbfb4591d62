"""What a workload lacks is assumed aloud; what is wrong with it is refused in one sentence."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.architectures.architecture import Architecture, parse_architecture
from predictor.errors import InvalidWorkload, PythiaError, UnknownModel
from predictor.layout import Layout
from predictor.words import Checkpointing, Method, Precision, Quantization
from predictor.workload import CustomWorkload, InferenceWorkload, TrainingWorkload
from predictor.workloads.spec import parse_workload

SEVEN_B = {
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "vocab_size": 32000,
}


class OneModel:
    """Knows a single id."""

    def get(self, model_id: str) -> Architecture:
        if model_id != "acme/seven":
            raise UnknownModel(f"no model {model_id}")
        return parse_architecture(SEVEN_B, source="test")


MODELS = OneModel()
TRAINING = {"type": "training", "model": "acme/seven", "num_steps": 10}
INFERENCE = {"type": "inference", "model": "acme/seven", "num_requests": 100}


def training(**fields: object) -> TrainingWorkload:
    workload = parse_workload(TRAINING | fields, MODELS)
    assert isinstance(workload, TrainingWorkload)
    return workload


def test_every_default_taken_is_named() -> None:
    workload = training()
    named = {note.split(":")[0] for note in workload.assumptions}
    assert {
        "precision",
        "sequence_length",
        "micro_batch_size",
        "optimizer",
        "gradient_checkpointing",
        "attention",
    } <= named
    assert workload.gradient_checkpointing is Checkpointing.NONE


def test_what_was_said_is_not_assumed() -> None:
    said = {
        "precision": "bf16", "sequence_length": 512.5, "micro_batch_size": 2, "optimizer": "adamw_8bit",
        "gradient_checkpointing": "full", "attention": "sdpa", "pure_low_precision": False, "fused_loss": True,
        "engine": "transformers",
    }  # fmt: skip
    workload = parse_workload(TRAINING | said, MODELS)
    own = parse_architecture(SEVEN_B, source="test").assumptions
    assert workload.assumptions == own


@pytest.mark.parametrize(
    ("engine", "pure"),
    [
        ("transformers", True),
        ("megatron-lm", False),
        ("nemo", False),
        ("fsdp", False),
        ("deepspeed", False),
        ("", True),
    ],
)
def test_the_master_copy_follows_the_habit_of_the_software(engine: str, pure: bool) -> None:
    workload = parse_workload(TRAINING, MODELS, {"engine": engine})
    assert isinstance(workload, TrainingWorkload)
    assert workload.pure_low_precision is pure


def test_fp32_training_has_no_low_precision_copy() -> None:
    assert training(precision="fp32").pure_low_precision is False


def test_qlora_assumes_nf4_and_lora_a_rank() -> None:
    workload = training(method="qlora")
    assert (workload.method, workload.quantization, workload.lora_rank) == (Method.QLORA, Quantization.NF4, 16)
    assert training(method="lora", lora_target_modules="all-linear").lora_target_modules == ()


def test_steps_follow_from_samples_or_tokens_and_the_layout() -> None:
    two = Layout(gpu_count=2, data_parallel=2)
    assert training(num_steps=None, num_samples=101, micro_batch_size=4).steps(two) == 13
    assert training(num_steps=None, num_tokens=1e6, sequence_length=1000, global_batch_size=10).steps(two) == 100
    assert training(global_batch_size=32, micro_batch_size=4).accumulation_steps(two) == 4


def test_inference_defaults_follow_each_other() -> None:
    workload = parse_workload(INFERENCE | {"precision": "fp8"}, MODELS)
    assert isinstance(workload, InferenceWorkload)
    assert workload.activation_precision is Precision.BF16
    assert workload.kv_cache_precision is Precision.BF16
    assert workload.generated_tokens == 100 * workload.output_length
    assert any(note.startswith("engine: vllm") for note in workload.assumptions)


def test_an_unknown_engine_is_accepted_and_named() -> None:
    workload = parse_workload(INFERENCE | {"engine": "FancyServe"}, MODELS)
    assert isinstance(workload, InferenceWorkload)
    assert workload.engine == "fancyserve"


def test_equal_custom_jobs_compare_equal_whatever_the_order_of_their_features() -> None:
    one = parse_workload({"type": "custom", "kind": "resnet", "features": {"a": 1, "b": "x"}}, MODELS)
    two = parse_workload({"type": "custom", "kind": "resnet", "features": {"b": "x", "a": 1}}, MODELS)
    assert isinstance(one, CustomWorkload)
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"model": "acme/seven"}, "type must be training, inference or custom"),
        ({"type": "training", "model": "acme/seven"}, "exactly one of num_steps"),
        (TRAINING | {"num_tokens": 5}, "exactly one of num_steps"),
        (TRAINING | {"num_steps": 0}, "workload.num_steps"),
        (TRAINING | {"num_steps": -3}, "workload.num_steps"),
        (TRAINING | {"sequence_length": float("inf")}, "workload.sequence_length"),
        (TRAINING | {"precision": "int4"}, "quantization"),
        (TRAINING | {"precision": "bf17"}, "workload.precision"),
        (TRAINING | {"quantization": "nf4"}, "qlora"),
        (TRAINING | {"lora_rank": 8}, "method is full"),
        (TRAINING | {"micro_batch_size": 8, "global_batch_size": 4}, "smaller than micro_batch_size"),
        (TRAINING | {"sequence_lenght": 8}, "sequence_lenght is not a field"),
        (INFERENCE | {"input_length": 10, "cached_prefix_length": 11}, "longer than input_length"),
        (INFERENCE | {"input_length": 0, "output_length": 0}, "nothing to do"),
        ({"type": "inference", "model": "acme/seven"}, "workload.num_requests is missing"),
        ({"type": "inference", "num_requests": 3}, "workload.model is missing"),
        ({"type": "custom"}, "workload.kind is missing"),
        ({"type": "custom", "kind": "k", "runtime_s": 0}, "workload.runtime_s"),
        ({"type": "custom", "kind": "k", "features": {"x": float("nan")}}, "workload.features"),
        (INFERENCE | {"model": "acme/eight"}, "no model acme/eight"),
        ("a string", "not a mapping"),
        (None, "not a mapping"),
    ],
)
def test_a_wrong_workload_is_refused_in_one_sentence(raw: object, said: str) -> None:
    with pytest.raises(InvalidWorkload, match=said) as refusal:
        parse_workload(raw, MODELS)
    assert "\n" not in str(refusal.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ["model", "num_steps", "sequence_length", "micro_batch_size", "precision", "method", "features", "kind"]


@given(st.sampled_from(["training", "inference", "custom", "x"]), st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_no_input_escapes_as_anything_but_a_clear_error(kind: str, fields: dict[str, object]) -> None:
    with suppress(PythiaError):
        assert json.dumps(parse_workload({"type": kind} | fields, MODELS).assumptions)
