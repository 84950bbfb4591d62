"""How many parameters low-rank adapters add (Hu et al., arXiv:2106.09685, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping

from predictor.architectures.architecture import Architecture

Shape = tuple[int, int, int]
"""Inputs, outputs, and how many such matrices the model has."""


def lora_parameters(architecture: Architecture, rank: int, target_modules: tuple[str, ...]) -> float:
    """Parameters of adapters of this rank: rank x (inputs + outputs) for each adapted matrix.

    No target means every linear layer of attention and MLP. A name that the architecture does not
    know by any of its usual spellings adds nothing; if none is known, every linear layer is counted.
    """
    shapes = _shapes(architecture)
    wanted = [part for module in target_modules for part in _PARTS.get(module.rsplit(".", 1)[-1], ())]
    parts = wanted or [part for part in shapes if part not in ("embed_tokens", "lm_head")]
    return sum(rank * (shape[0] + shape[1]) * shape[2] for part in set(parts) if (shape := shapes.get(part)))


def _shapes(a: Architecture) -> Mapping[str, Shape]:
    blocks = a.attention_layers
    hidden, heads = a.hidden_size, a.num_attention_heads
    shapes: dict[str, Shape] = {"embed_tokens": (a.vocab_size, hidden, 1), "lm_head": (hidden, a.vocab_size, 1)}
    if a.kv_lora_rank:
        query_out = heads * (a.qk_nope_head_dim + a.qk_rope_head_dim)
        if a.q_lora_rank:
            shapes["q_a"] = (hidden, a.q_lora_rank, blocks)
        shapes["q"] = (a.q_lora_rank or hidden, query_out, blocks)
        shapes["kv_a"] = (hidden, a.kv_lora_rank + a.qk_rope_head_dim, blocks)
        shapes["kv_b"] = (a.kv_lora_rank, heads * (a.qk_nope_head_dim + a.v_head_dim), blocks)
    else:
        shapes["q"] = (hidden, heads * a.head_dim, blocks)
        shapes["k"] = (hidden, a.num_key_value_heads * a.head_dim, blocks)
        shapes["v"] = (hidden, a.num_key_value_heads * a.v_head_dim, blocks)
    shapes["o"] = (heads * a.v_head_dim, hidden, blocks)
    if a.num_dense_mlp_layers:
        shapes |= _mlp("", hidden, a.intermediate_size, a.num_dense_mlp_layers, a.gated_mlp)
    if a.num_moe_layers:
        count = a.num_moe_layers * a.num_experts
        shapes |= _mlp("expert_", a.moe_latent_size, a.moe_intermediate_size, count, a.gated_mlp)
        if a.shared_expert_intermediate_size:
            width = a.shared_expert_intermediate_size
            shapes |= _mlp("shared_", hidden, width, a.num_moe_layers, a.gated_mlp)
    return shapes


def _mlp(prefix: str, width: int, inner: int, count: int, gated: bool) -> dict[str, Shape]:
    names = ("gate", "up") if gated else ("up",)
    return {prefix + name: (width, inner, count) for name in names} | {prefix + "down": (inner, width, count)}


_QKV = ("q", "k", "v")
_UP = ("up", "expert_up", "shared_up")
_GATE = ("gate", "expert_gate", "shared_gate")
_DOWN = ("down", "expert_down", "shared_down")

_PARTS: Mapping[str, tuple[str, ...]] = {
    "q_proj": ("q",),
    "k_proj": ("k",),
    "v_proj": ("v",),
    "o_proj": ("o",),
    "out_proj": ("o",),
    "qkv_proj": _QKV,
    "query_key_value": _QKV,
    "Wqkv": _QKV,
    "W_pack": _QKV,
    "c_attn": _QKV,
    "linear_qkv": _QKV,
    "linear_proj": ("o",),
    "dense": ("o",),
    "q_a_proj": ("q_a",),
    "q_b_proj": ("q",),
    "kv_a_proj_with_mqa": ("kv_a",),
    "kv_b_proj": ("kv_b",),
    "gate_proj": _GATE,
    "up_proj": _UP,
    "down_proj": _DOWN,
    "gate_up_proj": (*_GATE, *_UP),
    "w1": _GATE,
    "w2": _DOWN,
    "w3": _UP,
    "fc1": _UP,
    "fc2": _DOWN,
    "c_fc": _UP,
    "dense_h_to_4h": (*_GATE, *_UP),
    "dense_4h_to_h": _DOWN,
    "linear_fc1": (*_GATE, *_UP),
    "linear_fc2": _DOWN,
    "embed_tokens": ("embed_tokens",),
    "wte": ("embed_tokens",),
    "lm_head": ("lm_head",),
}
"""The spellings of Transformers, Megatron and model repositories, by what they adapt."""
