"""Inference: weights, KV cache of the sequences in flight and the working memory of a pass, on the fullest GPU.

What an engine grabs up front is not counted: the cache is that of the sequences in flight. Where the user left their
number open it is the largest that the card holds: of an engine with paged memory at `SAFE_SHARE`, as it would choose
from its own limits, since sequences wait where there is no page; of one contiguous batch, which runs out of memory
instead, so much less that it fits almost surely. Where memory is what limits it the forecast is that of all that was
planned with, though whole sequences rarely fill it: a longer text that makes the batch smaller never needs less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.columns import ALLOCATED, RESERVED, InferenceColumns
from predictor.footprint.parts import GIB, Footprint, context_gib, overhead_gib
from predictor.gather import Flags, Floats, select

SAFE_SHARE = 0.9
"""Of the usable memory that engines plan with (vLLM, gpu_memory_utilization)."""

SURE_RATIO, SURE_GIB = 1.384, 4.0
"""Plan a contiguous batch with memory whose 95th percentile by the margin of bare arithmetic is the card's: as many GiB
as times the ratio, both with the amount added, are what is usable (`MEMORY_MARGIN` in `predictor.quantiles`)."""

STATE_BYTES = 4.0
"""Linear-attention and state-space states are kept in FP32 (Mamba-2, arXiv:2405.21060; Gated DeltaNet)."""

OLD_LOGIT_BYTES = 6.0
"""Per prompt position: logits in 16 bits and their FP32 copy (Transformers before 4.45, `logits.float()`)."""

SAMPLER_BYTES = 8.0
"""Per logit of a sequence that gets its next token: FP32 logits and one copy to sort or normalise."""

WORKSPACE_SLACK = 0.15
"""Of the working memory, what the allocator holds beside it."""


@dataclass(frozen=True, slots=True)
class _Needs:
    """Bytes on the fullest GPU."""

    weights: Floats
    cache_per_sequence: Floats
    """Of one sequence of a replica."""
    cache_shared: Floats
    """The cached prefix, kept once."""
    work_fixed: Floats
    work_per_sequence: Floats
    """Working memory that grows with the sequences of a replica."""
    replicas: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceFootprint(Footprint):
    """With what must fit of an elastic cache, what is wanted of an open contiguous batch, and of all others the peak
    itself: figures that never fall as texts grow, whatever batch is chosen."""

    fitting: Floats
    """Sequences in flight over all replicas whose cache fits what is planned with, one on each at least."""
    least_batch: Floats
    """Sequences in flight over all replicas: one on each, or all that are wanted."""
    least_cache_gib: Floats
    least_peak_gib: Floats


def inference_footprint(c: InferenceColumns) -> InferenceFootprint:
    """Peak of the fullest GPU, at the batch asked or at the one chosen."""
    needs = _needs(c)
    context = context_gib(c.layout.gpus) + c.graphs_gib
    planned = _planned_gib(c)
    batch, fitting, crowded = _batch(c, needs, planned, context)
    per_replica = np.ceil(batch / needs.replicas)
    cache, work = _with_sequences(c, needs, per_replica)
    left_open = np.isnan(c.max_batch)
    elastic, contiguous = left_open & c.paged, left_open & ~c.paged
    # admission of an engine with paged memory waits for free pages, so one sequence is all that must fit (vLLM,
    # arXiv:2309.06180, section 4.5); a contiguous batch is what Pythia has chosen, and all of it must
    least_cache, least_work = _with_sequences(c, needs, np.ones_like(per_replica))
    least = needs.weights + least_cache + least_work
    chosen = needs.weights + cache + work
    slack = _slack(c, work, context + chosen / GIB)
    # what the allocator holds back is planned with, and is no tensor of a reading that counts tensors alone
    held = np.where(contiguous & (c.metric == ALLOCATED), 0.0, slack)
    room = (planned - context - held) * GIB - needs.weights
    cache = np.where(left_open & crowded, np.maximum(room - work, np.where(elastic, least_cache, cache)), cache)
    allocated = needs.weights + cache + work
    overhead = overhead_gib(c.metric, slack, context)
    peak = allocated / GIB + overhead
    least_overhead = overhead_gib(c.metric, _slack(c, least_work, context + least / GIB), context)
    wanted, wanted_cache = _wanted(c, needs, (planned - context) * GIB - needs.weights)
    return InferenceFootprint(
        weights=needs.weights / GIB,
        gradients=np.zeros_like(cache),
        optimizer=np.zeros_like(cache),
        activations=work / GIB,
        kv_cache=cache / GIB,
        overhead=overhead,
        need_gib=np.where(elastic, least, chosen) / GIB + context,
        elastic=elastic,
        crowded=crowded & elastic,
        planned_gib=planned - np.where((c.metric == ALLOCATED) | (c.metric == RESERVED), context, 0.0),
        batch=batch,
        fitting=fitting,
        least_batch=select([elastic, contiguous], [needs.replicas, wanted], batch),
        least_cache_gib=select([elastic, contiguous], [least_cache, np.maximum(wanted_cache, least_cache)], cache)
        / GIB,
        least_peak_gib=np.where(elastic, least / GIB + least_overhead, peak),
    )


def _planned_gib(c: InferenceColumns) -> Floats:
    """GiB of a card that the sequences in flight may fill together with all else."""
    sure = np.maximum((c.gpu.usable_gib + SURE_GIB) / SURE_RATIO - SURE_GIB, 0.0)
    return np.where(c.paged, SAFE_SHARE * c.gpu.usable_gib, sure)


def _wanted(c: InferenceColumns, needs: _Needs, room: Floats) -> tuple[Floats, Floats]:
    """Sequences that would be in flight if memory were no limit, and the bytes of their cache up to what there is."""
    wanted = np.minimum(c.max_running * needs.replicas, np.where(c.steady, np.inf, c.requests))
    cache, _ = _with_sequences(c, needs, np.ceil(wanted / needs.replicas))
    return wanted, np.minimum(cache, room)


def _slack(c: InferenceColumns, work: Floats, taken: Floats) -> Floats:
    """GiB that the allocator holds beside the working memory, as far as there is room beside what is taken."""
    held = WORKSPACE_SLACK * np.where(c.keeps_prompt_logits, 0.0, work) / GIB
    return np.minimum(held, np.maximum(c.gpu.usable_gib - taken, 0.0))


def _with_sequences(c: InferenceColumns, needs: _Needs, per_replica: Floats) -> tuple[Floats, Floats]:
    """Bytes of cache and of working memory with so many sequences in flight on each replica."""
    cache = needs.cache_per_sequence * per_replica + needs.cache_shared
    work = np.minimum(needs.work_per_sequence * per_replica, needs.work_fixed) + _sampler(c, per_replica)
    return cache, work


def _needs(c: InferenceColumns) -> _Needs:
    layout = c.layout
    # attention repeated on every rank splits the sequences of a replica instead of its heads
    replicas = layout.dp * np.where(c.layout.dp_attention, layout.tp, 1.0)
    return _Needs(
        weights=_weights(c),
        cache_per_sequence=_cache_bytes(c, _pages(c.input + c.output - c.cached_prefix, c.page_tokens)),
        cache_shared=_cache_bytes(c, c.cached_prefix),
        work_fixed=_pass_bytes(c, c.prefill_chunk),
        work_per_sequence=_pass_bytes(c, np.maximum(c.input - c.cached_prefix, 1.0)),
        replicas=replicas,
    )


def _weights(c: InferenceColumns) -> Floats:
    """Linear weights as quantised; embeddings and head in the activations' type, which quantisers leave alone."""
    m, layout = c.model, c.layout
    ranks = layout.gpus / layout.pp
    attention = np.minimum(m.attention_layers * m.attention_parameters, m.block_parameters)
    repeated = np.where(layout.dp_attention, attention, 0.0)
    blocks = (m.block_parameters - repeated) / layout.tp + repeated
    # experts go over the tensor-parallel ranks of a replica, or over more where expert parallelism spans replicas
    experts = m.expert_parameters / np.minimum(np.maximum(layout.tp, layout.ep), ranks)
    share = np.ceil(m.layers / layout.pp) / m.layers
    both = (m.embedding_parameters + m.head_parameters) / layout.tp
    ends = np.where(layout.pp > 1.0, np.maximum(m.embedding_parameters, m.head_parameters) / layout.tp, both)
    return share * (blocks + experts) * c.weight_bytes + (ends + m.extra_parameters) * c.unquantized_bytes


def _pages(tokens: Floats, page: Floats) -> Floats:
    """Tokens of the whole pages that a sequence occupies (PagedAttention, arXiv:2309.06180, section 4.1)."""
    return np.ceil(tokens / page) * page


def _cache_bytes(c: InferenceColumns, tokens: Floats) -> Floats:
    """Cache of `tokens` tokens of one sequence on one rank.

    Keys and values of every KV head (GQA, arXiv:2305.13245), or one latent per token (MLA, arXiv:2405.04434, section
    2.1), which tensor parallelism cannot split; sliding layers keep their window, linear ones a state of fixed size.
    """
    m, layout = c.model, c.layout
    split = np.where(layout.dp_attention, 1.0, layout.tp)
    full = m.cache_full * tokens / np.minimum(split, np.maximum(m.cache_full_heads, 1.0))
    sliding = m.cache_sliding * np.minimum(tokens, m.window) / np.minimum(split, np.maximum(m.cache_sliding_heads, 1.0))
    state = np.where(tokens > 0, m.cache_state, 0.0) / split
    share = np.ceil(m.layers / layout.pp) / m.layers
    return share * ((full + sliding) / layout.cp * c.cache_bytes + state * STATE_BYTES)


def _pass_bytes(c: InferenceColumns, tokens: Floats) -> Floats:
    """Working memory of a forward pass over `tokens` prompt tokens: one layer at a time, the wider of its blocks."""
    m, tp = c.model, c.layout.tp
    attention = (2.0 * m.heads * m.head_dim + m.kv_heads * (m.head_dim + m.v_head_dim)) / tp
    # gate and up come out together, then their product (gated), or the activation beside its input
    dense = m.mlp_matrices * m.intermediate / tp
    spread = np.maximum(tp, c.layout.ep)
    copies = m.experts_per_token * (m.mlp_matrices * m.expert_intermediate + 2.0 * m.expert_width)
    experts = copies / spread + m.mlp_matrices * m.shared_intermediate / tp
    mlp = np.maximum(np.where(m.dense_layers > 0, dense, 0.0), np.where(m.moe_layers > 0, experts, 0.0))
    layer = (3.0 * m.hidden + np.maximum(attention, mlp)) * c.activation_bytes
    # the layers are done when the logits are made
    logits = np.where(c.keeps_prompt_logits, OLD_LOGIT_BYTES * m.vocab, 0.0)
    return tokens / c.layout.cp * np.maximum(layer, logits)


def _sampler(c: InferenceColumns, sequences: Floats) -> Floats:
    """Logits of the sequences that get a token, gathered whole on the rank that samples."""
    return np.where(c.keeps_prompt_logits, 0.0, SAMPLER_BYTES * c.model.vocab) * sequences


def _batch(c: InferenceColumns, needs: _Needs, planned: Floats, context: Floats) -> tuple[Floats, Floats, Flags]:
    """Sequences in flight over all replicas, how many fit, and where memory alone keeps them from being more.

    As asked, or the most that fit what is planned with, at least one a replica.
    """
    fixed = needs.weights + needs.cache_shared + GIB * context
    free = np.maximum(planned * GIB - fixed, 0.0)
    # what the allocator holds beside a contiguous batch must fit too; pages give way to it
    slack = np.where(c.paged | c.keeps_prompt_logits, 1.0, 1.0 + WORKSPACE_SLACK)
    each = needs.cache_per_sequence + slack * SAMPLER_BYTES * c.model.vocab
    # working memory stops growing once a pass is full: the larger of the batches under either regime fits
    growing = free / (each + slack * needs.work_per_sequence)
    full_pass = np.maximum(free - slack * needs.work_fixed, 0.0) / each
    fitting = np.floor(np.maximum(growing, full_pass))
    chosen = np.clip(np.minimum(fitting, c.max_running), 1.0, None) * needs.replicas
    most = np.where(c.steady, np.inf, c.requests)
    short = fitting < np.minimum(c.max_running, np.ceil(most / needs.replicas))
    batch = np.minimum(np.where(np.isnan(c.max_batch), chosen, c.max_batch), most)
    return batch, np.maximum(fitting, 1.0) * needs.replicas, short
