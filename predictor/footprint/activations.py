"""What a forward pass keeps for the backward pass, by counting the tensors each operation saves.

After Korthikanti et al. (arXiv:2205.05198, section 4): their 34 s b h + 5 a s^2 b of a GPT layer is this count for
h = q = k = v = o and m = 4 h with two matrices; here widths are the model's own, and unfused software keeps more.
All results are bytes of one rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.columns import EAGER_ATTENTION, FULL_CHECKPOINTING, SELECTIVE_CHECKPOINTING, TrainingColumns
from predictor.gather import Floats, select

LOSS_BYTES = 14.0
"""Per logit: BF16 logits, their FP32 copy, log-softmax and its gradient (Transformers; measured 9 to 15)."""

LEAN_LOSS_BYTES = 8.0
"""Per logit where cross-entropy works in place: BF16 logits, their shifted copy, one FP32 copy (measured)."""

PARALLEL_LOSS_BYTES = 6.0
"""Per logit of Megatron's vocabulary-parallel cross-entropy: BF16 logits and one FP32 copy (measured)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """Bytes of one micro batch on one rank."""

    kept_layer: Floats
    """Kept of one layer between forward and backward pass."""
    whole_layer: Floats
    """All that one layer's backward pass needs, whether kept or computed again."""
    transient_layer: Floats
    """Gradients of activations while one layer goes backward."""
    loss: Floats
    """Logits, their copies and gradients, and the final hidden states."""
    loss_slack: Floats
    """What the caching allocator holds beyond that: freed copies whose place other sizes cannot take."""


def activations(c: TrainingColumns) -> Activations:
    """Count one micro batch."""
    m, b = c.model, _block_bytes(c)
    tokens = c.peak_sequence * c.micro_batch / c.layout.cp
    tp = c.layout.tp
    # sequence parallelism splits norms and residuals too (arXiv:2205.05198, section 4.2.2)
    outside_tp = np.where(c.sequence_parallel, tp, 1.0)
    outside = _outside_blocks(c) / outside_tp
    attention, scores, score_gradients = _attention(c)
    mlp, mlp_gradients = _mlp(c)
    inside = (attention + mlp) / tp
    whole = tokens * (outside + inside + scores / tp)
    checkpoint = tokens * m.hidden * _stream_bytes(c) / outside_tp
    kept = select(
        [c.checkpointing == FULL_CHECKPOINTING, c.checkpointing == SELECTIVE_CHECKPOINTING],
        [checkpoint, whole - tokens * scores / tp],
        whole,
    )
    transient = tokens * (2.0 * b * m.hidden + np.maximum(mlp_gradients, score_gradients) / tp)
    return Activations(
        kept_layer=kept,
        whole_layer=whole,
        transient_layer=transient,
        loss=tokens * _loss(c),
        loss_slack=tokens * m.vocab / tp * select([c.fused_loss, c.lean_loss], [0.0, 6.0], 4.0),
    )


def _block_bytes(c: TrainingColumns) -> Floats:
    """Bytes of an activation inside a layer: FP32 adapters widen it under FSDP, outside autocast (measured on A100)."""
    return np.where(~c.full & (c.layout.stage == 3.0) & ~c.megatron, 4.0, c.compute_bytes)


def _stream_bytes(c: TrainingColumns) -> Floats:
    """Bytes of a residual-stream element kept as a checkpoint.

    k-bit preparation casts norms and embeddings to FP32 and the stream takes the wider type (PEFT,
    prepare_model_for_kbit_training; measured on A100): QLoRA then needs more than LoRA at long sequences.
    """
    return np.where(c.prepared_kbit & (c.layout.stage < 3.0), 4.0, c.compute_bytes)


def _outside_blocks(c: TrainingColumns) -> Floats:
    """Bytes per token of a layer's norms and block inputs."""
    b = _block_bytes(c)
    # an unfused RMSNorm keeps its input in FP32 and the normalised value; a fused one its input
    norm = np.where(c.fused_blocks, b, 4.0 + b)
    return c.model.hidden * (2.0 * norm + 2.0 * b)


def _attention(c: TrainingColumns) -> tuple[Floats, Floats, Floats]:
    """Bytes per token: projections, score matrix, and gradients of the score matrix; mean over attention layers."""
    m, b = c.model, _block_bytes(c)
    query, keys = m.heads * m.head_dim, m.kv_heads * (m.head_dim + m.v_head_dim)
    projections = b * (query + keys + m.heads * m.v_head_dim)
    # a latent is expanded to all heads, and both are kept (DeepSeek-V2, arXiv:2405.04434, section 2.1)
    projections = projections + b * (m.kv_rank + m.rope_dim + m.q_rank)
    seen = np.minimum(c.peak_sequence, np.where(m.full_layers > 0, c.peak_sequence, m.window))
    # eager: softmax in FP32 and in the compute type; Megatron: softmax, its dropout and the mask (5 a s^2 b)
    per_score = np.where(c.megatron, 2.0 * b + 1.0, 4.0 + b)
    eager = c.attention == EAGER_ATTENTION
    scores = np.where(eager, m.heads * seen * per_score, 0.0)
    gradients = np.where(eager, m.heads * seen * (4.0 + b), 0.0)
    return projections, scores, gradients


def _mlp(c: TrainingColumns) -> tuple[Floats, Floats]:
    """Bytes per token of a layer's MLP: kept (mean over layers), and gradients while the widest goes backward."""
    m, b = c.model, _block_bytes(c)
    gated = m.mlp_matrices > 2.0
    # gate, up, activated gate and their product; a fused SwiGLU recomputes the activated gate
    kept = b * np.where(gated, np.where(c.fused_blocks, 3.0, 4.0), 2.0)
    gradients = b * np.where(gated, 3.0, 2.0)
    routed = m.experts_per_token * m.expert_intermediate
    # a token is copied to each of its experts and their outputs are kept until weighted; sent to other ranks, twice
    copies = np.where(c.layout.ep > 1, 4.0, 2.0) * b * m.experts_per_token * m.expert_width
    mixture = (kept * (routed + m.shared_intermediate) + copies, gradients * (routed + m.shared_intermediate) + copies)
    dense = (kept * m.intermediate, gradients * m.intermediate)
    blocks = np.maximum(m.dense_layers + m.moe_layers, 1.0)
    share = m.moe_layers / blocks
    per_layer = np.minimum(1.0, blocks / m.layers)
    widest = np.where(m.moe_layers > 0, mixture[1], 0.0)
    widest = np.maximum(widest, np.where(m.dense_layers > 0, dense[1], 0.0))
    return per_layer * (share * mixture[0] + (1.0 - share) * dense[0]), widest


def _loss(c: TrainingColumns) -> Floats:
    """Bytes per token at the loss on the last stage."""
    m = c.model
    per_logit = select([c.fused_loss, c.megatron, c.lean_loss], [0.0, PARALLEL_LOSS_BYTES, LEAN_LOSS_BYTES], LOSS_BYTES)
    hidden = m.hidden * np.where(c.fused_blocks, 2.0 * c.compute_bytes, 4.0 + 2.0 * c.compute_bytes)
    return np.asarray(m.vocab * per_logit / c.layout.tp + hidden)
