"""What a model is made of: read, counted, inferred or refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.architectures.architecture import Architecture, parse_architecture
from predictor.architectures.catalogue import load_models
from predictor.errors import InvalidWorkload, PythiaError
from tests.predictor.hf_configs import CONFIGS

MODELS = load_models()
LLAMA_8B = {
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "gated_mlp": True,
    "tie_word_embeddings": False,
}


def parse(**raw: object) -> Architecture:
    return parse_architecture(raw, source="test")


@pytest.mark.parametrize("model_id", CONFIGS)
def test_a_config_json_counts_the_parameters_the_model_was_published_with(model_id: str) -> None:
    known, read = MODELS.get(model_id), parse_architecture(CONFIGS[model_id], source=model_id)
    # 3 %: towers are estimated from their config, and the catalogue's V3 and GLM totals treat MTP layers differently
    assert read.num_parameters - read.extra_params == pytest.approx(known.num_parameters - known.extra_params, rel=0.03)
    assert read.num_active_parameters == pytest.approx(known.num_active_parameters, rel=0.03)


@pytest.mark.parametrize("model_id", CONFIGS)
def test_a_config_json_keeps_the_cache_the_catalogue_knows(model_id: str) -> None:
    known, read = MODELS.get(model_id), parse_architecture(CONFIGS[model_id], source=model_id)
    assert read.kv_elements_per_token == known.kv_elements_per_token
    assert read.full_attention_layers == known.full_attention_layers
    assert read.linear_attention_layers == known.linear_attention_layers
    assert read.sliding_window == known.sliding_window


def test_a_config_json_says_the_precision_of_its_weights() -> None:
    assert parse_architecture(CONFIGS["microsoft/phi-2"], source="x").native_weight_precision == "fp16"
    assert parse_architecture(CONFIGS["deepseek-ai/DeepSeek-V3"], source="x").native_weight_precision == "fp8"
    assert parse_architecture(CONFIGS["openai/gpt-oss-20b"], source="x").native_weight_precision == "fp4"


def test_dimensions_without_a_count_are_counted_by_the_published_formula() -> None:
    model = parse(**LLAMA_8B)
    attention = 4096 * 4096 * 2 + 2 * 4096 * 1024
    mlp = 3 * 4096 * 14336
    assert model.attention_params_per_layer == attention
    assert model.dense_mlp_params_per_layer == mlp
    assert model.embedding_params == model.lm_head_params == 128256 * 4096
    assert model.num_parameters == 32 * (attention + mlp) + 2 * 128256 * 4096
    assert model.kv_elements_per_token == 32 * 2 * 1024
    assert any(assumption.startswith("num_parameters: ") for assumption in model.assumptions)


def test_latent_attention_keeps_the_latent_and_the_positions_only() -> None:
    model = MODELS.get("deepseek-ai/DeepSeek-V3")
    assert model.kv_elements_per_token_per_layer == 512 + 64
    assert model.kv_elements_per_token == 61 * 576


def test_one_token_of_a_mixture_passes_through_its_experts_and_the_shared_ones() -> None:
    model = MODELS.get("Qwen/Qwen1.5-MoE-A2.7B")
    expert = 3 * 2048 * 1408
    assert model.moe_params_per_layer - model.active_moe_params_per_layer == (60 - 4) * expert
    assert model.num_active_parameters == pytest.approx(2.689e9, rel=0.001)


def test_missing_key_value_heads_are_the_attention_heads_and_said_so() -> None:
    model = parse(hidden_size=1024, num_hidden_layers=8, num_attention_heads=8)
    assert model.num_key_value_heads == 8
    assert "num_key_value_heads: 8 (as num_attention_heads)" in model.assumptions


def test_a_misspelt_field_is_said_to_be_ignored() -> None:
    assert "hiden_size: ignored (no field of an architecture)" in parse(num_parameters=7e9, hiden_size=4096).assumptions
    config = parse_architecture({**CONFIGS["microsoft/phi-2"], "_name_or_path": "", "rotary_dim": 32}, source="x")
    assert config.id == "inline"
    assert not any("ignored" in assumption for assumption in config.assumptions)


@pytest.mark.parametrize("billions", [0.1, 0.5, 1, 3, 7, 8, 13, 34, 70, 180, 405, 1000])
def test_a_count_alone_gives_dimensions_that_make_it_up(billions: float) -> None:
    model = parse(num_parameters=billions * 1e9)
    assert model.num_parameters == billions * 1e9
    assert model.counted_parameters == pytest.approx(billions * 1e9, rel=0.01)
    assert 0.5 < model.intermediate_size / model.hidden_size < 6
    assert {"hidden_size", "num_hidden_layers", "vocab_size"} <= {a.split(":")[0] for a in model.assumptions}


def test_a_small_active_count_means_experts() -> None:
    model = parse(num_parameters=47e9, num_active_parameters=13e9)
    assert model.num_experts > 1
    assert model.num_active_parameters == 13e9
    assert model.counted_parameters == pytest.approx(47e9, rel=0.01)


def test_the_count_decides_whether_the_mlp_is_gated_and_the_embedding_tied() -> None:
    silent = {name: value for name, value in LLAMA_8B.items() if name not in ("gated_mlp", "tie_word_embeddings")}
    model = parse(num_parameters=8_030_261_248, **silent)
    assert model.gated_mlp
    assert not model.tie_word_embeddings
    plain = parse(num_parameters=6_151_213_056, **silent)
    assert not plain.gated_mlp


def test_what_the_dimensions_do_not_explain_is_extra() -> None:
    model = parse(num_parameters=10_000_000_000, **LLAMA_8B)
    assert model.counted_parameters == 10_000_000_000
    assert any(assumption.startswith("extra_params: ") for assumption in model.assumptions)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({}, "needs num_parameters, or hidden_size and num_hidden_layers"),
        ({"hidden_size": 4096}, "needs num_parameters"),
        ({"num_parameters": -7e9}, "num_parameters is -7000000000"),
        ({"num_parameters": 0}, "num_parameters is 0"),
        ({"num_parameters": 1.1e14}, "num_parameters is 110000000000000"),
        ({"num_parameters": math.nan}, "finite"),
        ({"num_parameters": math.inf}, "finite"),
        ({"num_parameters": 10**400}, "digits"),
        ({"num_parameters": True}, "must be a number"),
        ({"num_parameters": "7B"}, "must be a number"),
        ({"num_parameters": 7e9, "hidden_size": 4096.5}, "whole number"),
        ({**LLAMA_8B, "num_parameters": 70e9}, "num_parameters is 7e\\+10 but the dimensions make 8.03e\\+09"),
        ({**LLAMA_8B, "num_key_value_heads": 5}, "not a multiple of num_key_value_heads"),
        ({**LLAMA_8B, "num_key_value_heads": 64}, "not a multiple of num_key_value_heads"),
        ({**LLAMA_8B, "num_experts": 8, "num_experts_per_tok": 9}, "above num_experts"),
        ({**LLAMA_8B, "num_active_parameters": 9e9}, "above num_parameters"),
        ({**LLAMA_8B, "full_attention_layers": 33}, "attention layers do not add up"),
        ({**LLAMA_8B, "first_k_dense_layers": 33}, "dense and expert layers do not add up"),
        ({**LLAMA_8B, "gated_mlp": 1}, "must be true or false"),
        ({**LLAMA_8B, "id": ["x"]}, "short text"),
        ({**LLAMA_8B, "hidden_size": [4096, -4096]}, "lists a size"),
        ({**LLAMA_8B, "num_hidden_layers": 9999, "hidden_size": 10**6, "intermediate_size": 10**7}, "than any model"),
    ],
)
def test_what_no_model_can_be_is_refused_with_one_sentence(raw: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidWorkload, match=sentence) as refusal:
        parse_architecture(raw, source="workload.model")
    assert str(refusal.value).startswith("workload.model: ")
    assert "\n" not in str(refusal.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)
config_keys = st.sampled_from(
    sorted({key for config in CONFIGS.values() for key in config} | set(LLAMA_8B) | {"num_parameters", "num_experts"})
)
sizes = st.integers(0, 10_000) | st.floats(0, 1e12) | json_values
mappings = st.dictionaries(config_keys, sizes, max_size=14) | st.dictionaries(st.text(max_size=8), json_values)


@given(mappings, st.sampled_from([None, *CONFIGS.values()]))
def test_any_mapping_is_an_architecture_or_a_refusal(changes: dict[str, Any], config: dict[str, Any] | None) -> None:
    try:
        model = parse_architecture({**(config or {}), **changes}, source="any")
    except PythiaError:
        return
    assert model.num_active_parameters <= model.num_parameters <= 1e14
    assert model.counted_parameters > 0
    assert 0 <= model.full_attention_layers <= model.attention_layers <= model.num_hidden_layers


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 2000))
def test_more_layers_or_heads_never_make_a_smaller_model(layers: int, heads: int, vocab: int) -> None:
    small = parse(num_hidden_layers=layers, hidden_size=512, num_attention_heads=heads, head_dim=64, vocab_size=vocab)
    deep = parse(
        num_hidden_layers=layers + 1, hidden_size=512, num_attention_heads=heads, head_dim=64, vocab_size=vocab
    )
    wide = parse(
        num_hidden_layers=layers, hidden_size=512, num_attention_heads=heads + 1, head_dim=64, vocab_size=vocab
    )
    assert small.num_parameters < min(deep.num_parameters, wide.num_parameters)
    assert small.kv_elements_per_token < min(deep.kv_elements_per_token, wide.kv_elements_per_token)
