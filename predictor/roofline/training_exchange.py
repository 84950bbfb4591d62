"""What the ranks of a training run tell each other, in seconds on the slowest rank.

Tensor, expert, context and pipeline parallelism are waited for (Megatron, arXiv:2104.04473, section 3.2); the gathers
of sharded weights and the sum of gradients run beside the work (ZeRO, arXiv:1910.02054, section 7).
"""

from __future__ import annotations

import numpy as np

from predictor.columns import TrainingColumns
from predictor.gather import Floats, select
from predictor.roofline.collectives import Links, all_gather, all_reduce, all_to_all, group, send


def exchanges_s(c: TrainingColumns, forward: Floats, tokens: Floats, joined: Links) -> Floats:
    """Seconds of what one micro step waits for: tensor, expert and context parallelism, hops between stages."""
    m, layout = c.model, c.layout
    state = tokens * m.hidden * c.compute_bytes
    ones = np.ones_like(tokens)
    tensor = group(joined, layout.tp, ones)
    reduces = 2.0 * all_reduce(state, tensor) * m.layers / layout.pp * (forward + 1.0) * c.pace.tensor_exposed
    experts = group(joined, np.maximum(1.0, layout.ep / layout.tp), layout.tp)
    routed = all_to_all(tokens * m.expert_width * c.compute_bytes / layout.tp, m.experts_per_token, experts)
    exchanges = 2.0 * routed * m.moe_layers / layout.pp * (forward + 1.0)
    ring = group(joined, layout.cp, layout.tp)
    cache = tokens * (m.cache_full + m.cache_sliding) * c.compute_bytes / layout.tp / layout.pp
    turns = (layout.cp - 1.0) * send(cache, ring) * (forward + 2.0)
    stages = group(joined, layout.pp, layout.gpus / layout.pp)
    return reduces + exchanges + turns + 2.0 * send(state / layout.tp, stages)


def gathers_s(c: TrainingColumns, forward: Floats, joined: Links) -> Floats:
    """Seconds of fetching sharded weights and scattering their gradients in one micro step (ZeRO-3, FSDP)."""
    m, layout = c.model, c.layout
    ranks = group(joined, layout.dp * layout.cp, layout.tp)
    split = layout.tp * layout.pp
    experts = m.expert_parameters / m.parameters
    # experts that are spread over ranks already are gathered only among the ranks that hold the same ones
    whole = (1.0 - experts + experts / np.maximum(1.0, layout.ep / layout.tp)) / split
    weights = m.parameters * whole * np.where(c.quantized, c.base_bytes, c.compute_bytes)
    fetched = all_gather(weights, ranks) * (forward + 1.0)
    gradients = c.trained_parameters * np.where(c.full, whole, 1.0 / split)
    # summed as narrow as they are computed (MixedPrecision.reduce_dtype), whatever they are kept in
    scattered = all_gather(gradients * c.compute_bytes, ranks)
    return np.where(c.layout.stage >= 3.0, fetched + scattered, 0.0)


def reduction_s(c: TrainingColumns, joined: Links) -> Floats:
    """Seconds of summing gradients over ranks in one step, and of sharing the stepped weights (ZeRO 1, 2).

    ZeRO 2 holds no whole gradient, so it scatters one after every micro step.
    """
    layout = c.layout
    ranks = group(joined, layout.dp * layout.cp, layout.tp)
    apart = c.trained_parameters * _expert_part(c) / np.maximum(layout.tp, layout.ep)
    trained = (c.trained_parameters * (1.0 - _expert_part(c)) / layout.tp + apart) / layout.pp
    summed = all_reduce(trained * c.gradient_bytes, ranks)
    scatters = np.where(layout.stage >= 2.0, c.accumulation, 1.0)
    shared = scatters * all_gather(trained * c.gradient_bytes, ranks) + all_gather(trained * c.compute_bytes, ranks)
    return select([layout.stage >= 3.0, layout.stage >= 1.0], [0.0 * summed, shared], summed)


def _expert_part(c: TrainingColumns) -> Floats:
    """Of the trained parameters, those of routed experts."""
    return np.where(c.full, c.model.expert_parameters / c.model.parameters, 0.0)
