"""Fill in the attention of a transformer: heads, widths, kinds of layers, parameters and cache per layer."""

from __future__ import annotations

from typing import Any, NamedTuple

from predictor.architectures.dimensions import attention_params, latent_attention_params
from predictor.architectures.raw_dimensions import Assumptions, RawDimensions

_GROUPS = 8  # key and value heads of nearly every model since Llama 3
_HEAD_DIM, _SMALL_HEAD_DIM = 128, 64
_LATENT_ROPE_DIM, _LATENT_NOPE_DIM = 64, 128  # DeepSeek-V2 and V3


class _Heads(NamedTuple):
    heads: int
    kv_heads: int
    latent: int | None
    q_rank: int | None
    head_dim: int
    v_head_dim: int
    nope_dim: int
    rope_dim: int


def infer_attention(known: RawDimensions, notes: Assumptions, layers: int, hidden: int) -> dict[str, Any]:
    """Every attention field of ``Dimensions``."""
    shape = _heads(known, notes, hidden)
    kinds = _layer_kinds(known, layers)
    global_kv_heads = known.optional("global_num_key_value_heads") or shape.kv_heads
    global_head_dim = known.optional("global_head_dim") or shape.head_dim
    global_v_head_dim = shape.v_head_dim if global_head_dim == shape.head_dim else global_head_dim
    gate, k_eq_v = bool(known.flag("attention_output_gate")), bool(known.flag("attention_k_eq_v"))
    if shape.latent is not None:
        params = global_params = latent_attention_params(
            hidden=hidden,
            heads=shape.heads,
            q_rank=shape.q_rank,
            kv_rank=shape.latent,
            nope_dim=shape.nope_dim,
            rope_dim=shape.rope_dim,
            v_head_dim=shape.v_head_dim,
        )
        cached = global_cached = shape.latent + shape.rope_dim
    else:
        params = attention_params(
            hidden=hidden,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            v_head_dim=shape.v_head_dim,
            gate=gate,
            k_eq_v=False,
        )
        global_params = attention_params(
            hidden=hidden,
            heads=shape.heads,
            kv_heads=global_kv_heads,
            head_dim=global_head_dim,
            v_head_dim=global_v_head_dim,
            gate=gate,
            k_eq_v=k_eq_v,
        )
        # Keys and values are both kept even where they share a projection: they are normalised apart.
        cached = shape.kv_heads * (shape.head_dim + shape.v_head_dim)
        global_cached = global_kv_heads * (global_head_dim + global_v_head_dim)
    full, attention = kinds["full_attention_layers"], kinds["attention_layers"]
    mean_params = (full * global_params + (attention - full) * params) // attention if attention else params
    stated_cached = known.optional("kv_elements_per_token_per_layer")
    stated_global = known.optional("global_kv_elements_per_token_per_layer")
    linear_params = known.optional("linear_layer_params")
    if linear_params is None:
        linear = kinds["linear_attention_layers"]
        linear_params = notes.take("linear_layer_params", params, "as an attention layer") if linear else 0
    return {
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "v_head_dim": shape.v_head_dim,
        "qk_nope_head_dim": shape.nope_dim,
        "qk_rope_head_dim": shape.rope_dim,
        "q_lora_rank": shape.q_rank,
        "kv_lora_rank": shape.latent,
        "global_head_dim": global_head_dim,
        "global_num_key_value_heads": global_kv_heads,
        "attention_k_eq_v": k_eq_v,
        "attention_output_gate": gate,
        "attention_params_per_layer": known.optional("attention_params_per_layer") or mean_params,
        "kv_elements_per_token_per_layer": cached if stated_cached is None else stated_cached,
        "global_kv_elements_per_token_per_layer": global_cached if stated_global is None else stated_global,
        "linear_layer_params": linear_params,
        "single_mixer_layers": bool(known.flag("single_mixer_layers")),
        **kinds,
    }


def _heads(known: RawDimensions, notes: Assumptions, hidden: int) -> _Heads:
    given, kv_heads = known.optional("num_attention_heads"), known.optional("num_key_value_heads")
    latent = known.optional("kv_lora_rank")
    if given is None:
        head_dim = known.optional("head_dim") or (_HEAD_DIM if hidden >= 1024 else _SMALL_HEAD_DIM)
        usual = max(1, hidden // head_dim)
        usual = usual if kv_heads is None else kv_heads * max(1, usual // kv_heads)
        heads = notes.take("num_attention_heads", usual, "usual for this width")
    else:
        heads = given
    if kv_heads is None and latent is not None:
        kv_heads = heads  # a latent serves every head; it has no groups
    elif kv_heads is None and given is None and heads > _GROUPS and heads % _GROUPS == 0:
        kv_heads = notes.take("num_key_value_heads", _GROUPS, "usual of grouped-query attention")
    elif kv_heads is None:
        kv_heads = notes.take("num_key_value_heads", heads, "as num_attention_heads")
    if kv_heads > heads or heads % kv_heads:
        raise known.refuse(f"num_attention_heads is {heads}, not a multiple of num_key_value_heads {kv_heads}")
    q_rank = known.optional("q_lora_rank")
    rope, nope = known.optional("qk_rope_head_dim"), known.optional("qk_nope_head_dim")
    value, head_dim_given = known.optional("v_head_dim"), known.optional("head_dim")
    if latent is not None:
        rope = rope or notes.take("qk_rope_head_dim", _LATENT_ROPE_DIM, "as DeepSeek-V3")
        nope = nope or notes.take("qk_nope_head_dim", _LATENT_NOPE_DIM, "as DeepSeek-V3")
        value = value or notes.take("v_head_dim", nope, "as qk_nope_head_dim")
        return _Heads(heads, kv_heads, latent, q_rank, nope + rope, value, nope, rope)
    width = head_dim_given or notes.take("head_dim", max(1, hidden // heads), "hidden_size / num_attention_heads")
    rope = rope or 0
    return _Heads(heads, kv_heads, None, q_rank, width, value or width, nope or max(0, width - rope), rope)


def _layer_kinds(known: RawDimensions, layers: int) -> dict[str, Any]:
    """How many layers attend fully, in a window, or by a linear recurrence."""
    window = known.optional("sliding_window")
    linear = known.optional("linear_attention_layers") or 0
    full = known.optional("full_attention_layers")
    attention = known.optional("attention_layers")
    if attention is None:
        attention = full if full is not None and window is None else max(0, layers - linear)
    if full is None:
        full = attention if window is None else 0
    if full > attention or attention + linear > layers:
        raise known.refuse("the attention layers do not add up to num_hidden_layers")
    return {
        "attention_layers": attention,
        "full_attention_layers": full,
        "sliding_window": window if full < attention else None,
        "linear_attention_layers": linear,
    }
