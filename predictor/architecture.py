"""What a model is made of: the dimensions that decide its memory and its work.

Names are those of Hugging Face's ``config.json``. Every number is filled: what the source did not
say was inferred, and ``assumptions`` names each such field.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A transformer, dense or mixture of experts, with any blend of attention kinds."""

    id: str
    family: str
    num_parameters: int
    num_active_parameters: int
    """Parameters one token passes through; all of them in a dense model."""
    num_hidden_layers: int
    hidden_size: int
    vocab_size: int
    tie_word_embeddings: bool

    intermediate_size: int
    """Width of a dense MLP; 0 where every MLP is a mixture of experts."""
    gated_mlp: bool
    """True for three matrices (SwiGLU, GeGLU), False for two."""
    num_dense_mlp_layers: int
    num_moe_layers: int
    num_experts: int
    """Routed experts of a mixture layer; 0 in a dense model."""
    num_experts_per_tok: int
    moe_intermediate_size: int
    moe_latent_size: int
    """Width the routed experts work in; hidden_size unless the layer projects down first."""
    num_shared_experts: int
    shared_expert_intermediate_size: int
    """Width of all shared experts together; 0 where there is none."""
    first_k_dense_layers: int

    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    v_head_dim: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    """The part of a head that carries positions; kept beside the latent in the cache (MLA). 0 elsewhere."""
    q_lora_rank: int | None
    kv_lora_rank: int | None
    """Width of the latent that replaces keys and values (multi-head latent attention)."""
    global_head_dim: int
    global_num_key_value_heads: int
    """Heads of the full-attention layers where they differ from the sliding ones."""
    attention_k_eq_v: bool
    """Full-attention layers use the keys as values, and keep one of the two."""
    attention_params_per_layer: int
    """Parameters of one attention block: query, key, value and output projections."""

    attention_layers: int
    """Layers that keep keys and values: the full and the sliding ones."""
    full_attention_layers: int
    sliding_window: int | None
    linear_attention_layers: int
    linear_layer_params: int
    """Parameters of one linear-attention or state-space mixer; 0 where there is none."""
    single_mixer_layers: bool
    """A layer is a mixer or an MLP, never both (Nemotron-H)."""

    max_position_embeddings: int
    position_embedding_rows: int
    """Rows of a learned position table; 0 with rotary positions."""
    native_weight_precision: str
    is_encoder_decoder: bool
    """``num_hidden_layers`` then counts the encoder, and the decoder has as many."""
    mtp_layers: int
    extra_params: int
    """Parameters the dimensions cannot hold: towers, projectors, extra heads."""
    assumptions: tuple[str, ...] = ()
    source: str = "given"
