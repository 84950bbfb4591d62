"""How long one optimizer step takes, on the slowest rank.

A micro step is forward (2 FLOPs per parameter and token), backward (twice that, once where weights are frozen) and
what checkpointing computes again (Kaplan et al. 2020, arXiv:2001.08361, section 2.1; PaLM, arXiv:2204.02311,
appendix B; Korthikanti et al. 2022, arXiv:2205.05198). Launches and gathers of sharded weights run beside it, pipeline
stages wait for each other (Narayanan et al. 2021, arXiv:2104.04473, section 2.2), and the optimizer streams its states.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.columns import EAGER_ATTENTION, FULL_CHECKPOINTING, SELECTIVE_CHECKPOINTING, TrainingColumns
from predictor.gather import Floats
from predictor.roofline.collectives import links
from predictor.roofline.kernel import (
    active_share,
    attention_flops_s,
    beside,
    head_weights,
    host_pace,
    inner_width,
    keys_seen,
    matrix_flops_s,
    memory_bytes_s,
    pair_flops,
    routed_width,
)
from predictor.roofline.training_exchange import exchanges_s, gathers_s, reduction_s
from predictor.workloads.lengths import waited_for

MATRIX_SHARE = 0.88
"""Of the best measured matrix rate, what a training run sustains: shapes are not the best, clocks fall with heat."""
EXPERT_SHARE = 0.45
"""Of that, what grouped products over many narrow, unevenly filled experts reach."""
ATTENTION_SHARE = 0.48
"""Of the achievable matrix rate, what causal attention reaches, forward and backward (arXiv:2307.08691, section 4)."""
PORTED_ATTENTION = 0.53
"""Of that, what attention kernels of Ampere's instructions (FlashAttention-2, Triton) reach on later matrix units:
35 % of an H100's peak against 72 % of an A100's (arXiv:2407.08608, section 1; arXiv:2307.08691, section 4.1), each
over the card's achievable share. Transformer Engine runs cuDNN's own."""
DEPTH = 0.4
"""Of a product's operands and results, the traffic that does not hide behind its arithmetic."""
ADAPTER_BYTES = 5.0
"""Bytes moved by an adapter, per token and element of its matrix's input and output, forward: a cast and a dropout of
the input, a sum over the output, some in FP32. Fitted on open measurements of two sources (4 to 8)."""
FUSED_ADAPTER_BYTES = 1.5
"""The same where one kernel does both products and the sum."""
LOGIT_BYTES = 32.0
"""Bytes moved per logit: product, FP32 copy, softmax, loss and the way back (arXiv:2410.10989, section 3)."""
LEAN_LOGIT_BYTES = 8.0
"""The same where one kernel does it in place."""
SORTED_BYTES = 12.0
"""Bytes moved per element of the copies of a token that go to its experts and come back, forward."""
SCORE_BYTES = 14.0
"""Bytes moved per entry of a materialised score matrix forward: product, mask, FP32 softmax, dropout, cast."""
UNPACK_BYTES = 18.0
"""Bytes written and read again per weight of a quantised base that is widened before each product."""
HOST_ADAM_S = 1.2e-9
"""Seconds per parameter of AdamW on the host (DeepSpeed's CPU Adam, arXiv:2101.06840, table 4: 1 s per 10^9)."""
GATHER_EXPOSED = 0.7
"""Of the shorter of work and gathers of sharded weights, what does not hide behind the other."""
REDUCTION_EXPOSED = 0.9
"""The same of the sum of gradients at the end of a step."""
LAUNCH_EXPOSED = 0.35
"""The same of launches."""
MIXTURE_LAYERS = 1.0
"""Extra launches of a mixture layer (routing, sorting, exchanges), in plain layers."""
STEP_PASSES = 2.0
"""How often a step reads and writes its states: once in a fused kernel, several times in a list of small ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTime:
    """Seconds of one optimizer step; the parts add up to it."""

    step_time_s: Floats
    compute_s: Floats
    """Matrix products and attention."""
    memory_s: Floats
    """Elementwise kernels, logits, widening of quantised weights, and the optimizer."""
    communication_s: Floats
    """What is not hidden behind the work."""
    overhead_s: Floats
    """Launches that are not hidden, and the host's part of a step."""
    bubble_s: Floats
    """Pipeline stages waiting for the first and the last micro batch."""


@dataclass(frozen=True, slots=True)
class _Passes:
    """How often the forward work is done, counting each backward pass in units of the forward one."""

    forward: Floats
    """1, or 2 where full checkpointing computes it again."""
    layers: Floats
    attention: Floats
    head: Floats


def training_roofline(c: TrainingColumns) -> TrainingTime:
    """The time of one step of every row."""
    joined = links(c.layout, c.gpu)
    passes = _passes(c)
    tokens = c.micro_batch * c.mean_sequence / c.layout.cp * _waiting(c)
    compute = _compute(c, passes, tokens)
    memory = _memory(c, passes, tokens)
    talk = exchanges_s(c, passes.forward, tokens, joined)
    work = compute + memory + talk
    gathered = beside(work, gathers_s(c, passes.forward, joined), GATHER_EXPOSED)
    micro = beside(gathered, _launches(c, passes), LAUNCH_EXPOSED)
    repeats = c.accumulation
    optimizer = _optimizer(c)
    reduction = beside(repeats * work, reduction_s(c, joined), REDUCTION_EXPOSED) - repeats * work
    parts = {
        "compute_s": repeats * compute,
        "memory_s": repeats * memory + optimizer,
        "communication_s": repeats * (talk + gathered - work) + reduction,
        "overhead_s": repeats * (micro - gathered) + c.pace.step_s * host_pace(c.gpu),
        "bubble_s": (c.layout.pp - 1.0) * micro / c.pace.model_chunks,
    }
    return TrainingTime(step_time_s=sum(parts.values(), start=np.zeros_like(micro)), **parts)


def _waiting(c: TrainingColumns) -> Floats:
    """The slowest rank's tokens over the mean rank's: all wait for it in every pass where weights are sharded, and
    once a step elsewhere."""
    passes = np.where(c.layout.stage >= 3.0, 1.0, c.accumulation)
    return waited_for(c.length_spread / np.sqrt(passes), c.layout.dp)


def _passes(c: TrainingColumns) -> _Passes:
    again = np.where(c.checkpointing == FULL_CHECKPOINTING, 1.0, 0.0)
    scores_again = np.where(c.checkpointing == SELECTIVE_CHECKPOINTING, 1.0, again)
    eager = c.attention == EAGER_ATTENTION
    return _Passes(
        forward=1.0 + again,
        layers=1.0 + again + np.where(c.full, 2.0, 1.0),
        # a fused kernel computes the scores once more in its backward pass: 5 products to the forward's 2
        attention=1.0 + np.where(eager, scores_again + 2.0, again + 2.5),
        head=1.0 + np.where(c.full | c.train_embeddings, 2.0, 1.0),
    )


def _launches(c: TrainingColumns, passes: _Passes) -> Floats:
    """Seconds the host needs for one micro step."""
    m = c.model
    loops = m.moe_layers * m.experts / np.maximum(1.0, c.layout.ep) * c.pace.expert_launch_s
    layers = (m.layers + MIXTURE_LAYERS * m.moe_layers) * c.pace.launch_s + loops
    return (layers / c.layout.pp * (passes.forward + 2.0) + c.pace.micro_s) * host_pace(c.gpu)


def _compute(c: TrainingColumns, passes: _Passes, tokens: Floats) -> Floats:
    """Seconds of matrix products and attention of one micro step."""
    m, layout = c.model, c.layout
    rate = matrix_flops_s(c.gpu, c.compute_tflops) * MATRIX_SHARE
    sixteen = attention_flops_s(c.gpu, c.compute_tflops, MATRIX_SHARE)
    ridge = rate / memory_bytes_s(c.gpu)
    split = layout.tp * layout.pp
    dense = 2.0 * tokens * m.block_parameters / split / rate
    dense = dense * (1.0 + DEPTH * ridge * c.compute_bytes / 2.0 * (1.0 + layout.tp) / m.hidden)
    experts = 2.0 * tokens * m.expert_parameters * active_share(m) / split / (rate * EXPERT_SHARE)
    narrow = np.maximum(m.expert_intermediate / np.maximum(1.0, layout.tp / layout.ep), 1.0)
    experts = experts * (
        1.0 + DEPTH * ridge * c.compute_bytes / 2.0 * (1.0 / narrow + 1.0 / np.maximum(m.expert_width, 1.0))
    )
    adapters = 2.0 * tokens * c.lora_parameters / split / sixteen * 3.0
    attention = tokens * keys_seen(m, np.zeros_like(tokens), c.mean_sequence) * pair_flops(m) / split
    ported = np.where(c.gpu.warp_group_matmul & ~c.megatron, PORTED_ATTENTION, 1.0)
    head = 2.0 * tokens * head_weights(m) / layout.tp / sixteen
    return (
        (dense + experts) * passes.layers
        + adapters
        + attention * passes.attention / (sixteen * ATTENTION_SHARE * ported)
        + head * passes.head
    )


def _memory(c: TrainingColumns, passes: _Passes, tokens: Floats) -> Floats:
    """Seconds of everything elementwise of one micro step; backward moves twice what forward does."""
    m, layout = c.model, c.layout
    bandwidth = memory_bytes_s(c.gpu)
    scale = c.compute_bytes / 2.0
    # sequence parallelism splits what lies between the products; plain tensor parallelism repeats it
    width = c.pace.width_bytes * m.layers * m.hidden + SORTED_BYTES * routed_width(m)
    between = width / np.where(c.megatron, layout.tp, 1.0) + c.pace.mlp_bytes * inner_width(m) / layout.tp
    eager = np.where(c.attention == EAGER_ATTENTION, SCORE_BYTES, 0.0)
    scores = eager * m.attention_layers * m.heads * c.mean_sequence / layout.tp
    logits = m.vocab / layout.tp * np.where(c.fused_loss | c.lean_loss | c.megatron, LEAN_LOGIT_BYTES, LOGIT_BYTES)
    adapted = np.where(c.full, 0.0, c.lora_parameters / np.maximum(c.lora_rank, 1.0))
    adapted = adapted * m.active_parameters / m.parameters / layout.tp
    adapters = adapted * np.where(c.fused_adapters, FUSED_ADAPTER_BYTES, ADAPTER_BYTES)
    elementwise = tokens * ((between + adapters + scores) * scale / layout.pp * (passes.forward + 2.0) + logits)
    widened = np.where(c.quantized, c.base_bytes + UNPACK_BYTES, 0.0) * (m.block_parameters + m.expert_parameters)
    return (elementwise + widened / (layout.tp * layout.pp) * (passes.forward + 1.0)) / bandwidth


def _optimizer(c: TrainingColumns) -> Floats:
    """Seconds of the step itself: states, master copy, weights and gradients streamed; over PCIe where offloaded."""
    layout = c.layout
    shards = layout.tp * layout.pp * np.where(layout.stage >= 1.0, layout.dp * layout.cp, 1.0)
    trained = c.trained_parameters / np.minimum(shards, layout.gpus)
    moved = 2.0 * (c.state_bytes + c.master_bytes + c.trained_weight_bytes + c.gradient_bytes)
    on_card = trained * moved * STEP_PASSES / memory_bytes_s(c.gpu)
    over_pcie = trained * (c.gradient_bytes + c.trained_weight_bytes) / (c.gpu.pcie_gbs * 1e9)
    return np.where(c.offload, over_pcie + trained * HOST_ADAM_S, on_card)
