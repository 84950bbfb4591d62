"""The time of one forward pass of a served model over some tokens, on the slowest rank of one replica.

Kernels run one after the other, so their times add; each takes the longer of its arithmetic and its traffic.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from predictor.columns import InferenceColumns
from predictor.gather import Floats
from predictor.roofline.collectives import Group, all_reduce, all_to_all, group, links, send
from predictor.roofline.kernel import (
    active_share,
    attention_flops_s,
    beside,
    head_weights,
    inner_width,
    kernel_s,
    matrix_flops_s,
    memory_bytes_s,
    pair_flops,
    routed_width,
    streaming_share,
)

ATTENTION_SHARE = 0.6
"""Of the achievable matrix rate, what causal attention over a prompt reaches (FlashAttention-2, arXiv:2307.08691)."""
WIDTH_BYTES = 28.0
"""Bytes moved between matrix products, per token, layer and element of the hidden width (norms, residuals, rotary)."""
INNER_BYTES = 9.0
"""The same per element of the MLP's inner width: the activation function and what feeds the second product."""
SORTED_BYTES = 8.0
"""The same per element of the copies of a token that go to its experts and come back."""
LOGIT_BYTES = 16.0
"""Bytes moved per logit: written, widened to FP32, turned into probabilities, sampled from."""
UNPACK_SHARE = 0.4
"""Of the matrix rate, what products over weights widened on the fly reach."""
EXPERT_IMBALANCE = 1.2
"""How much longer the fullest rank of an expert-parallel group works than the mean one."""
LAUNCH_EXPOSED = 0.1
"""Of the shorter of launching and computing, what does not hide behind the other."""
MIXTURE_LAYERS = 0.45
"""Extra starts and drains of a mixture layer (routing, sorting, two grouped products), in plain layers."""

LATENT_LAYERS = 1.2
"""The same of latent attention (two more projections, their norms, absorbed products by head)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassTime:
    """Seconds of forward passes, by what they wait for; the parts add up to `total`. (n,), or (rounds, n)."""

    compute_s: Floats
    memory_s: Floats
    communication_s: Floats
    overhead_s: Floats

    @property
    def total(self) -> Floats:
        """All parts together."""
        return self.compute_s + self.memory_s + self.communication_s + self.overhead_s

    def times(self, count: Floats) -> PassTime:
        """The same passes `count` times."""
        return PassTime(**{field.name: getattr(self, field.name) * count for field in fields(self)})

    def together(self) -> PassTime:
        """All rounds of (rounds, n), one after the other."""
        return PassTime(**{field.name: getattr(self, field.name).sum(axis=0) for field in fields(self)})

    def plus(self, other: PassTime) -> PassTime:
        """One after the other."""
        return PassTime(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What every pass over a replica meets, one value per question: what its cards reach, and whom they talk to."""

    split: Floats
    """Cards that work on the same layer at once."""
    bytes_s: Floats
    """Of device memory."""
    weights_s: Floats
    """Linear weights read per second, in elements."""
    linear_flops_s: Floats
    attention_flops_s: Floats
    head_flops_s: Floats
    between_bytes: Floats
    """Moved between the matrix products, per token."""
    tensor: Group
    experts: Group
    stages: Group


def replica(c: InferenceColumns) -> Replica:
    """The replica of each row."""
    bandwidth, split, joined = memory_bytes_s(c.gpu), tensor_split(c), links(c.layout, c.gpu)
    widened = (c.weight_bytes < 0.9 * c.activation_bytes) & (c.compute_tflops <= c.gpu.bf16_tflops)
    share = c.pace.matrix_share * np.where(widened, UNPACK_SHARE, 1.0)
    return Replica(
        split=split,
        bytes_s=bandwidth,
        weights_s=bandwidth * streaming_share(c.gpu, c.pace.memory_share) / c.weight_bytes,
        linear_flops_s=matrix_flops_s(c.gpu, c.compute_tflops) * share,
        attention_flops_s=attention_flops_s(c.gpu, c.compute_tflops, ATTENTION_SHARE),
        head_flops_s=attention_flops_s(c.gpu, c.compute_tflops, 1.0),
        between_bytes=_bytes_between(c, split),
        tensor=group(joined, split, np.ones_like(split)),
        # inside a tensor group the all-reduce already brings every token to every expert's rank
        experts=group(joined, np.maximum(1.0, c.layout.ep / split), split),
        stages=group(joined, c.layout.pp, c.layout.gpus / c.layout.pp),
    )


def forward_pass(
    c: InferenceColumns,
    on: Replica,
    *,
    tokens: Floats,
    sequences: Floats,
    keys: Floats,
    cache_read: Floats,
    latent_attention: bool,
) -> PassTime:
    """One pass over `tokens` tokens of a replica through all its stages, with logits for `sequences` of them.

    `keys` is what one token attends to, summed over layers; `cache_read` elements of the cache are read on one rank.
    With `latent_attention` a latent cache is attended without being expanded (DeepSeek-V2, arXiv:2405.04434, 2.1.2).
    What is asked is (n,), or (rounds, n) for rounds of different size.
    """
    pieces = (
        *_linear_layers(c, on, tokens),
        _attention(c, on, tokens * keys, cache_read, latent_attention),
        _head(c, on, sequences),
    )
    work = np.stack([kernel_s(arithmetic, traffic) for arithmetic, traffic in pieces])
    bound = np.stack([arithmetic >= traffic for arithmetic, traffic in pieces])
    compute = np.where(bound, work, 0.0).sum(axis=0)
    memory = np.where(bound, 0.0, work).sum(axis=0) + tokens * on.between_bytes / on.bytes_s
    communication = _communication(c, on, tokens)
    latent = np.where(c.model.kv_rank > 0.0, LATENT_LAYERS * c.model.attention_layers, 0.0)
    layers = c.model.layers + MIXTURE_LAYERS * c.model.moe_layers + latent
    gpu = compute + memory + communication + layers * c.pace.layer_s
    loops = c.model.moe_layers * c.model.experts * c.pace.expert_launch_s
    launched = beside(gpu, layers * c.pace.launch_s + loops, LAUNCH_EXPOSED)
    host = c.pace.step_s + c.pace.sequence_s * sequences
    return PassTime(
        compute_s=compute,
        memory_s=memory,
        communication_s=communication,
        overhead_s=launched - (compute + memory + communication) + host,
    )


def tensor_split(c: InferenceColumns) -> Floats:
    """Cards that work on the same layer at once."""
    return np.where(c.pace.splits_tensors, c.layout.tp, 1.0)


def _linear_layers(c: InferenceColumns, on: Replica, tokens: Floats) -> tuple[tuple[Floats, Floats], ...]:
    """Seconds of arithmetic and of traffic of the layers' products: what all tokens pass, and the routed experts."""
    m, tp, ep = c.model, on.split, c.layout.ep
    dense = m.block_parameters / tp
    # replicas that share experts bring their tokens together: more experts are hit, and each is read once
    sharing = np.maximum(1.0, ep / tp)
    hit = 1.0 - (1.0 - active_share(m)) ** (tokens * sharing)
    uneven = np.where(ep > 1.0, EXPERT_IMBALANCE, 1.0)
    active = m.expert_parameters * active_share(m) / tp * uneven
    read = m.expert_parameters * hit / np.maximum(tp, ep) * uneven
    return (
        (2.0 * tokens * dense / on.linear_flops_s, dense / on.weights_s),
        (2.0 * tokens * active / on.linear_flops_s, read / on.weights_s),
    )


def _attention(
    c: InferenceColumns, on: Replica, pairs: Floats, cache_read: Floats, latent: bool
) -> tuple[Floats, Floats]:
    m = c.model
    per_pair = pair_flops(m)
    if latent:
        absorbed = 2.0 * m.heads * (2.0 * m.kv_rank + m.rope_dim)
        per_pair = np.where(m.kv_rank > 0.0, absorbed, per_pair)
    arithmetic = pairs * per_pair / on.split / on.attention_flops_s
    return arithmetic, cache_read * c.cache_bytes / (on.bytes_s * c.pace.cache_share)


def _head(c: InferenceColumns, on: Replica, sequences: Floats) -> tuple[Floats, Floats]:
    """The output projection, never quantised, and what is done with its logits."""
    weights = head_weights(c.model) / on.split
    logits = sequences * c.model.vocab * LOGIT_BYTES / on.split
    used = np.minimum(1.0, sequences)  # a piece of a long prompt asks for no logits until the last one
    return 2.0 * sequences * weights / on.head_flops_s, (used * weights * c.unquantized_bytes + logits) / on.bytes_s


def _bytes_between(c: InferenceColumns, split: Floats) -> Floats:
    """Bytes per token of the kernels between matrix products, on one rank."""
    m = c.model
    width = WIDTH_BYTES * m.layers * m.hidden + SORTED_BYTES * routed_width(m)
    return c.activation_bytes / 2.0 * (width + INNER_BYTES * inner_width(m) / split)


def _communication(c: InferenceColumns, on: Replica, tokens: Floats) -> Floats:
    """Two all-reduces a layer under tensor parallelism, two exchanges of tokens with experts, hops between stages."""
    m = c.model
    state = tokens * m.hidden * c.activation_bytes
    reduces = 2.0 * m.layers * all_reduce(state, on.tensor)
    sent = tokens * m.expert_width * c.activation_bytes / on.split
    exchanges = 2.0 * m.moe_layers * all_to_all(sent, m.experts_per_token, on.experts)
    return reduces + exchanges + (c.layout.pp - 1.0) * send(state, on.stages)
