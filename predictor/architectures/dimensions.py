"""The dimensions of a transformer and what follows from them: parameters and cache, by counting.

Names are those of Hugging Face's ``config.json``. Counts leave out biases and norms, which stay
below one per cent; over the whole catalogue they agree with published totals within 2 %.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """A transformer, dense or mixture of experts, with any blend of attention kinds. Every number is filled."""

    num_hidden_layers: int
    hidden_size: int
    vocab_size: int
    tie_word_embeddings: bool
    """The output projection is the token embedding."""

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
    """Width the routed experts read and write: hidden_size, unless the layer projects down first."""
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
    """The part of a head that carries positions, kept beside the latent in the cache (MLA); 0 elsewhere."""
    q_lora_rank: int | None
    kv_lora_rank: int | None
    """Width of the latent that replaces keys and values (multi-head latent attention)."""
    global_head_dim: int
    global_num_key_value_heads: int
    """Heads of the full-attention layers, which may differ from those of the sliding ones."""
    attention_k_eq_v: bool
    """Full-attention layers have no value projection: values are the keys, normalised otherwise."""
    attention_output_gate: bool
    """The query projection also makes a gate of the same width (Qwen3-Next)."""
    attention_params_per_layer: int
    """Query, key, value and output projections of one block; the mean where layers differ."""
    kv_elements_per_token_per_layer: int
    """Numbers one token leaves in the cache of one sliding layer, or of any layer where all are alike."""
    global_kv_elements_per_token_per_layer: int
    """The same for one full-attention layer."""

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
    is_encoder_decoder: bool
    """``num_hidden_layers`` then counts the encoder, and the decoder has as many."""
    mtp_layers: int
    """Layers that predict further tokens; counted in ``extra_params`` where the checkpoint counts them."""
    extra_params: int
    """What the dimensions cannot hold: towers, projectors, extra heads; negative for a narrower embedding."""

    @property
    def sliding_attention_layers(self) -> int:
        return self.attention_layers - self.full_attention_layers

    @property
    def mlp_matrices(self) -> int:
        """Gate, up and down, or up and down."""
        return 3 if self.gated_mlp else 2

    @property
    def dense_mlp_params_per_layer(self) -> int:
        """matrices x hidden x intermediate."""
        return self.mlp_matrices * self.hidden_size * self.intermediate_size

    @property
    def expert_params(self) -> int:
        """One routed expert of one layer: matrices x width x moe_intermediate."""
        return self.mlp_matrices * self.moe_latent_size * self.moe_intermediate_size

    @property
    def moe_params_per_layer(self) -> int:
        """All routed experts, and what every token of a mixture layer passes through."""
        return self.num_experts * self.expert_params + self._moe_common_params

    @property
    def active_moe_params_per_layer(self) -> int:
        """The routed experts that one token is sent to, and the common part."""
        return self.num_experts_per_tok * self.expert_params + self._moe_common_params

    @property
    def _moe_common_params(self) -> int:
        """Shared experts, the router, and the projections to and from a latent width."""
        shared = self.mlp_matrices * self.hidden_size * self.shared_expert_intermediate_size
        latent = 2 * self.hidden_size * self.moe_latent_size if self.moe_latent_size != self.hidden_size else 0
        return shared + self.hidden_size * self.num_experts + latent

    @property
    def mlp_params(self) -> int:
        """Of all layers."""
        dense = self.num_dense_mlp_layers * self.dense_mlp_params_per_layer
        return self._stacks * (dense + self.num_moe_layers * self.moe_params_per_layer)

    @property
    def active_mlp_params(self) -> int:
        """Of all layers, the part that one token passes through."""
        return self.mlp_params - self.inactive_params

    @property
    def inactive_params(self) -> int:
        """Routed experts that one token is not sent to."""
        idle = self.num_experts - self.num_experts_per_tok
        return self._stacks * self.num_moe_layers * idle * self.expert_params

    @property
    def attention_params(self) -> int:
        """Of all layers, linear mixers included; a decoder layer beside an encoder attends twice."""
        blocks = self.attention_layers * (3 if self.is_encoder_decoder else 1)
        linear = self.linear_attention_layers * self.linear_layer_params
        return blocks * self.attention_params_per_layer + linear

    @property
    def embedding_params(self) -> int:
        """Token embedding and learned positions."""
        return (self.vocab_size + self.position_embedding_rows) * self.hidden_size

    @property
    def lm_head_params(self) -> int:
        """The output projection; 0 where it is the embedding."""
        return 0 if self.tie_word_embeddings else self.vocab_size * self.hidden_size

    @property
    def counted_parameters(self) -> int:
        """Everything above together."""
        return self.attention_params + self.mlp_params + self.embedding_params + self.lm_head_params + self.extra_params

    @property
    def kv_elements_per_token(self) -> int:
        """Numbers one token leaves in the caches of all layers, while it is inside every window."""
        full = self.full_attention_layers * self.global_kv_elements_per_token_per_layer
        return full + self.sliding_attention_layers * self.kv_elements_per_token_per_layer

    @property
    def _stacks(self) -> int:
        return 2 if self.is_encoder_decoder else 1


def attention_params(
    *, hidden: int, heads: int, kv_heads: int, head_dim: int, v_head_dim: int, gate: bool, k_eq_v: bool
) -> int:
    """Multi-head or grouped-query attention (Ainslie et al., arXiv:2305.13245): Q + K + V + O."""
    query = hidden * heads * head_dim * (2 if gate else 1)
    keys_and_values = hidden * kv_heads * (head_dim + (0 if k_eq_v else v_head_dim))
    return query + keys_and_values + heads * v_head_dim * hidden


def latent_attention_params(
    *, hidden: int, heads: int, q_rank: int | None, kv_rank: int, nope_dim: int, rope_dim: int, v_head_dim: int
) -> int:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1)."""
    query_out = heads * (nope_dim + rope_dim)
    query = q_rank * (hidden + query_out) if q_rank else hidden * query_out
    latent = hidden * (kv_rank + rope_dim) + kv_rank * heads * (nope_dim + v_head_dim)
    return query + latent + heads * v_head_dim * hidden
