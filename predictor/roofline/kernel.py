"""What the time of every model pass is built from: achieved rates, work per token, and how the two overlap.

A GPU does a piece of work in the longer of its arithmetic and its memory traffic (Williams, Waterman, Patterson
2009, "Roofline"); kernels do not overlap perfectly, so the corner is rounded. Rates are achieved ones: the
data-sheet rate times the best share measured for that card. Training and inference build on this module.
"""

from __future__ import annotations

import numpy as np

from predictor.fact_columns import GpuColumns, ModelColumns
from predictor.gather import Floats

MEMORY_SHARE = 0.88
"""Of the data-sheet bandwidth, what long streaming reads reach (BabelStream on A100 and H100: 87-92 %)."""

CORNER = 1.7
"""Exponent of the rounded roofline of one kernel: where both bounds are equal it takes 1.5 times either,
since a product over few rows neither fills the matrix units nor streams at full rate."""

HBM_BALANCE = 32.0
"""Bytes of bandwidth per 1,000 vector FLOPs of the most compute-heavy card with HBM (MI300X: 5.3 TB/s, 163 TFLOPS);
cards with GDDR have 9 to 26."""

HOST_YEAR = 0.82
"""A server's single-thread time against that of the year before, between the CPUs of DGX A100 and DGX H100."""


def kernel_s(arithmetic: Floats, traffic: Floats) -> Floats:
    """A kernel's time from the seconds of its arithmetic and of its memory traffic; never less than either."""
    return np.asarray((arithmetic**CORNER + traffic**CORNER) ** (1.0 / CORNER))


def beside(one: Floats, other: Floats, exposed: float) -> Floats:
    """Time of two things that run at once: the longer, and the part of the shorter that stays `exposed` after all."""
    return np.maximum(one, other) + exposed * np.minimum(one, other)


def host_pace(gpu: GpuColumns) -> Floats:
    """Time of host work relative to the servers of 2020; a card sits in machines of its own generation."""
    return np.clip(HOST_YEAR ** (gpu.year - 2020.0), 0.4, 1.5)


def memory_bytes_s(gpu: GpuColumns) -> Floats:
    """Achieved bytes/s of device memory."""
    return gpu.bandwidth_gbs * (1e9 * MEMORY_SHARE)


def streaming_share(gpu: GpuColumns, share: Floats) -> Floats:
    """Of the achievable bandwidth, what kernels reach that reach `share` of it on cards with HBM.

    What limits them there are the loads that the multiprocessors keep in flight (Little's law; Volkov 2016,
    "Understanding Latency Hiding on GPUs"), so a card with less bandwidth for its multiprocessors is nearer to full.
    """
    balance = gpu.bandwidth_gbs / np.maximum(gpu.fp32_tflops, 1e-9)
    return np.clip(share * HBM_BALANCE / np.maximum(balance, 1e-9), share, 1.0)


def matrix_flops_s(gpu: GpuColumns, compute_tflops: Floats) -> Floats:
    """Achieved dense FLOP/s of large matrix products in the given data-sheet rate."""
    return compute_tflops * gpu.achievable_fraction * 1e12


def attention_flops_s(gpu: GpuColumns, compute_tflops: Floats, share: float) -> Floats:
    """Achieved FLOP/s of attention, which stays in 16 bits whatever the weights are; `share` of large products."""
    sixteen = np.where(gpu.bf16_tflops > 0.0, gpu.bf16_tflops, compute_tflops)
    return matrix_flops_s(gpu, np.minimum(sixteen, compute_tflops)) * share


def active_share(model: ModelColumns) -> Floats:
    """Of the routed experts' parameters, the part one token passes through."""
    return model.experts_per_token / np.maximum(model.experts, 1.0)


def head_weights(model: ModelColumns) -> Floats:
    """Parameters of the output projection, tied or not."""
    return model.vocab * model.hidden


def inner_width(model: ModelColumns) -> Floats:
    """Elements between the first and the last product of all MLPs that one token passes, routed experts included."""
    mixture = model.shared_intermediate + model.experts_per_token * model.expert_intermediate
    return model.dense_layers * model.intermediate + model.moe_layers * mixture


def routed_width(model: ModelColumns) -> Floats:
    """Elements of one token that are copied to its routed experts, summed over layers."""
    return model.moe_layers * model.experts_per_token * model.expert_width


def pair_flops(model: ModelColumns) -> Floats:
    """FLOPs of one layer for one query looking at one key, all heads: scores and weighted values."""
    return 2.0 * model.heads * (model.head_dim + model.v_head_dim)


def keys_seen(model: ModelColumns, start: Floats, count: Floats) -> Floats:
    """Keys one new token looks at, summed over attention layers; mean of `count` causal tokens after `start`."""
    full = start + count / 2.0
    sliding = (_area(start + count, model.window) - _area(start, model.window)) / np.maximum(count, 1e-9)
    return model.full_layers * full + model.sliding_layers * np.minimum(sliding, full)


def _area(position: Floats, window: Floats) -> Floats:
    """The integral of min(p, window) from 0 to `position`."""
    inside = np.minimum(position, window)
    return inside**2 / 2.0 + window * (position - inside)
