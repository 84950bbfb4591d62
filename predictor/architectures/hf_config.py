"""Translate a Hugging Face ``config.json`` into the names that ``Dimensions`` uses.

A config says some things by another name (GPT-2's ``n_embd``), some only by its ``model_type`` (Falcon's
MLP is not gated) and some layer by layer. What cannot be read here is left out, to be inferred; a value
is passed on as it stands, to be refused with its own name where it is absurd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from predictor.architectures.dimensions import Dimensions
from predictor.architectures.hf_families import Habit, class_defaults, habits
from predictor.architectures.hf_layers import layer_facts, whole

Config = Mapping[str, object]

_NESTED = ("text_config", "llm_config", "language_config", "thinker_config", "text_model_config")
_TOWERS = ("vision_config", "audio_config")

_OWN_NAMES = frozenset(field.name for field in fields(Dimensions)) | {
    "id",
    "family",
    "num_parameters",
    "num_active_parameters",
    "native_weight_precision",
}

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": ("_name_or_path",),
    "family": ("model_type",),
    "hidden_size": ("n_embd", "d_model", "dim", "model_dim"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers", "encoder_layers"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "encoder_attention_heads"),
    "num_key_value_heads": ("num_kv_heads", "n_head_kv", "n_kv_heads", "kv_n_heads"),
    "head_dim": ("kv_channels", "d_kv", "attention_head_dim", "attention_head_size"),
    "intermediate_size": ("n_inner", "ffn_dim", "d_ff", "ffn_hidden_size", "ff_intermediate_size", "encoder_ffn_dim"),
    "vocab_size": ("padded_vocab_size",),
    "max_position_embeddings": ("n_positions", "n_ctx", "max_seq_len", "seq_length", "max_sequence_length"),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": ("num_experts_per_token", "moe_topk", "moe_top_k", "top_k_experts", "moe_k"),
    "moe_intermediate_size": ("expert_ffn_dim", "expert_ffn_hidden_size", "moe_ffn_hidden_size"),
    "num_shared_experts": ("n_shared_experts", "moe_num_shared_experts"),
    "shared_expert_intermediate_size": ("shared_intermediate_size", "moe_shared_expert_intermediate_size"),
    "first_k_dense_layers": ("first_k_dense_replace", "num_dense_layers"),
    "attention_output_gate": ("attn_output_gate",),
    "mtp_layers": ("num_nextn_predict_layers",),
    "global_num_key_value_heads": ("num_global_key_value_heads",),
}

_PRECISIONS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "half": "fp16", "float": "fp32"}


def translate(raw: Config) -> dict[str, object]:
    """The config in the names of ``Dimensions``; ours, where they are there, are kept as they are."""
    config = _language_model(raw)
    model_type = config.get("model_type")
    kind = model_type if isinstance(model_type, str) else ""
    facts: dict[str, object] = {name: config[name] for name in _OWN_NAMES if config.get(name) is not None}
    for name, aliases in _ALIASES.items():
        found = next((config[alias] for alias in aliases if config.get(alias) not in (None, "")), None)
        if name not in facts and found is not None:
            facts[name] = found
    if not kind:
        return facts
    facts = {**class_defaults(kind), **facts}
    facts |= _mlp(kind, config, facts)
    facts |= _attention(kind, config, facts)
    facts |= layer_facts(kind, config, facts)
    facts |= _embedding(kind, facts)
    tower = sum(_tower_params(raw.get(name)) for name in _TOWERS)
    if tower and "extra_params" not in facts and "num_parameters" not in facts:
        facts["extra_params"] = tower
    if "native_weight_precision" not in facts:
        facts["native_weight_precision"] = _precision(raw, config)
    return facts


def unread(raw: Config) -> list[str]:
    """Keys of a hand-written architecture that mean nothing (a slip?); a ``config.json`` is full of them."""
    if "model_type" in raw or "architectures" in raw or any(name in raw for name in _NESTED):
        return []
    read = _OWN_NAMES.union(*_ALIASES.values())
    return [name for name in raw if name not in read]


def _language_model(raw: Config) -> Config:
    """The part that describes the text model, with what only the outer config says."""
    for name in _NESTED:
        inner = raw.get(name)
        if isinstance(inner, Mapping):
            outer = {key: value for key, value in raw.items() if key not in (*_NESTED, *_TOWERS)}
            return _language_model({**outer, **inner})
    flat = dict(raw)
    for name in ("attn_config", "ffn_config"):  # MPT, DBRX
        inner = raw.get(name)
        if isinstance(inner, Mapping):
            flat = {**{key: value for key, value in inner.items() if key != "model_type"}, **flat}
    return flat


def _mlp(kind: str, config: Config, facts: Config) -> dict[str, object]:
    found: dict[str, object] = {}
    hidden, intermediate = whole(facts.get("hidden_size")), whole(facts.get("intermediate_size"))
    projection = config.get("feed_forward_proj")
    if "gated_mlp" not in facts:
        plain = Habit.PLAIN_MLP in habits(kind) or (isinstance(projection, str) and not projection.startswith("gated"))
        found["gated_mlp"] = not plain
    if intermediate is None and hidden is not None and Habit.FOUR_TIMES in habits(kind):
        found["intermediate_size"] = hidden * (whole(config.get("expansion_ratio")) or 4)
    if kind == "qwen" and intermediate is not None:
        found["intermediate_size"] = intermediate // 2  # the first Qwen states both halves of the gate together
    if facts.get("num_experts") and Habit.EXPERTS_AS_MLP in habits(kind) and "moe_intermediate_size" not in facts:
        found["moe_intermediate_size"] = facts.get("intermediate_size")
        found["intermediate_size"] = config.get("intermediate_size_mlp") or facts.get("intermediate_size")  # Llama 4
    if facts.get("num_experts") and kind == "llama4_text":
        found |= {"num_shared_experts": 1, "shared_expert_intermediate_size": facts.get("intermediate_size")}
    if "shared_expert_intermediate_size" in facts and "num_shared_experts" not in facts:
        found["num_shared_experts"] = 1
    return found


def _attention(kind: str, config: Config, facts: Config) -> dict[str, object]:
    found: dict[str, object] = {}
    heads = facts.get("num_attention_heads")
    if kind == "gpt_bigcode" or (kind == "falcon" and not config.get("new_decoder_architecture")):
        found["num_key_value_heads"] = 1 if config.get("multi_query", True) else heads
    elif kind == "chatglm" and config.get("multi_query_attention"):
        found["num_key_value_heads"] = config.get("multi_query_group_num")
    elif "num_key_value_heads" not in facts and "kv_lora_rank" not in facts and heads is not None:
        found["num_key_value_heads"] = heads  # the rule of every config class, no guess
    hidden, count = whole(facts.get("hidden_size")), whole(heads)
    if "head_dim" not in facts and hidden is not None and count:
        found["head_dim"] = max(1, hidden // count)
    if Habit.GATED_ATTENTION in habits(kind) and "attention_output_gate" not in facts:
        found["attention_output_gate"] = True
    return found


def _embedding(kind: str, facts: Config) -> dict[str, object]:
    found: dict[str, object] = {}
    if "tie_word_embeddings" not in facts:
        found["tie_word_embeddings"] = Habit.TIED in habits(kind)
    positions = whole(facts.get("max_position_embeddings"))
    if Habit.LEARNED_POSITIONS in habits(kind) and positions is not None and "position_embedding_rows" not in facts:
        found["position_embedding_rows"] = positions + (2 if kind == "opt" else 0)
    if Habit.ENCODER_DECODER in habits(kind) and "is_encoder_decoder" not in facts:
        found["is_encoder_decoder"] = True
    return found


def _tower_params(tower: object) -> int:
    """A vision or audio encoder: layers x (4 x hidden^2 + 2 x hidden x intermediate)."""
    if not isinstance(tower, Mapping):
        return 0
    hidden = whole(tower.get("hidden_size")) or whole(tower.get("embed_dim")) or whole(tower.get("d_model")) or 0
    depth = next(
        (whole(tower.get(name)) for name in ("num_hidden_layers", "depth", "encoder_layers") if name in tower), 0
    )
    inner = whole(tower.get("intermediate_size")) or 4 * hidden
    return min(10**12, (depth or 0) * (4 * hidden**2 + 2 * hidden * inner))


def _precision(raw: Config, config: Config) -> str:
    quantised = raw.get("quantization_config") or config.get("quantization_config")
    if isinstance(quantised, Mapping):
        method, bits = quantised.get("quant_method"), quantised.get("bits")
        if method in ("fp8", "mxfp4"):
            return "fp8" if method == "fp8" else "fp4"
        if bits in (4, 8) or quantised.get("load_in_4bit") or quantised.get("load_in_8bit"):
            return "int4" if bits == 4 or quantised.get("load_in_4bit") else "int8"
    dtype = config.get("torch_dtype") or config.get("dtype") or raw.get("torch_dtype")
    return _PRECISIONS.get(dtype, "bf16") if isinstance(dtype, str) else "bf16"
