"""Training: weights, gradients, optimizer states and activations of the fullest rank.

Two moments compete for the peak: a backward pass (weights, states, what the pass keeps) and the optimizer
step (weights, gradients, states, a temporary). They do not add up, since activations are gone at the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.columns import ALLOCATED, RESERVED, TrainingColumns
from predictor.footprint import GIB, Footprint, context_gib
from predictor.footprint_activations import Activations, activations
from predictor.gather import Flags, Floats

LAYER_SLACK = 0.27
"""Of the memory one layer works in, what stays cached beside it (driver minus allocated readings, A100)."""


UNAVOIDABLE = 0.25
"""Of the allocator's slack, what is still there when memory runs out and everything free has been given back."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """Bytes on a rank of one pipeline stage."""

    weights: Floats
    gradients: Floats
    optimizer: Floats
    step_copy: Floats
    kept: Floats
    """Activations of all passes in flight."""
    working: Floats
    """One layer going backward, or the loss."""
    pending: Floats
    """Gradients of earlier passes of the same step."""
    slack: Floats
    """Freed blocks that the caching allocator cannot use for other sizes."""

    @property
    def pass_extra(self) -> Floats:
        """What the start of a backward pass adds to weights and states."""
        return self.kept + self.working + self.pending

    @property
    def end_extra(self) -> Floats:
        """What the end of a backward pass adds: all gradients, no more checkpoints."""
        return np.maximum(self.gradients, self.pending) + self.working

    @property
    def step_extra(self) -> Floats:
        """What the optimizer step adds to weights and states."""
        return self.gradients + self.step_copy

    @property
    def peak(self) -> Floats:
        return self.weights + self.optimizer + np.maximum(np.maximum(self.pass_extra, self.step_extra), self.end_extra)


def training_footprint(c: TrainingColumns, last_stage: Flags | None = None) -> Footprint:
    """Peak of the fullest rank; in rows of `last_stage` that of the last stage, which is all a source may read."""
    a = activations(c)
    first, last = _stage(c, a, is_last=False), _stage(c, a, is_last=True)
    take_last = (c.layout.pp <= 1.0) | (last.peak >= first.peak)
    if last_stage is not None:
        take_last = take_last | last_stage
    return _footprint(c, _pick(take_last, last, first))


def _stage(c: TrainingColumns, a: Activations, *, is_last: bool) -> _Stage:
    """The first or the last stage of the pipeline; the same rank where there is one stage."""
    held, in_blocks = _parameters_held(c, is_last)
    outside = held - in_blocks
    data_ranks = c.layout.dp * c.layout.cp
    # FSDP under mixed precision keeps its shards in FP32 whatever the checkpoint was loaded in (accelerate's upcast)
    upcast = c.full & (c.layout.stage == 3.0) & c.habitual_precision & ~c.megatron & (c.trained_weight_bytes < 4.0)
    wide = np.where(upcast, 2.0, 1.0)
    shard = [np.where(c.layout.stage >= stage, data_ranks, 1.0) for stage in (1.0, 2.0, 3.0)]
    trained = np.where(c.full, held * c.trained_parameters / c.model.parameters, c.trained_parameters / _splits(c))
    adapters = np.where(c.full, 0.0, trained * c.trained_weight_bytes)
    weights = (in_blocks * c.base_bytes + outside * c.weight_bytes) * wide + adapters
    layer = in_blocks / np.maximum(np.ceil(c.model.layers / c.layout.pp), 1.0)
    gathered = np.where(
        c.layout.stage == 3.0,
        np.minimum(in_blocks, 2.0 * layer) * np.minimum(c.base_bytes, c.compute_bytes) + outside * c.compute_bytes,
        0.0,
    )
    gradients = trained * c.gradient_bytes * wide
    # DistributedDataParallel holds its buckets beside the gradients (PyTorch, gradient_as_bucket_view=False)
    buckets = np.where((c.layout.dp > 1) & (c.layout.stage == 0.0) & ~c.megatron, 2.0, 1.0)
    states = np.where(c.offload, 0.0, trained * (c.state_bytes * wide + c.master_bytes))
    step_copy = np.where(c.offload, 0.0, trained * c.step_copy_bytes * wide)
    # 1F1B keeps as many passes as there are stages behind (Narayanan et al., arXiv:2104.04473, section 2.2)
    in_flight = np.ones_like(held) if is_last else np.minimum(c.layout.pp, c.accumulation)
    layers = np.ceil(c.model.layers / c.layout.pp)
    one_layer = a.whole_layer + a.transient_layer
    recomputed = np.where(c.checkpointing > 0.0, one_layer, a.transient_layer)
    loss = np.where(c.layout.pp <= 1.0, a.loss, a.loss if is_last else 0.0)
    return _Stage(
        weights=weights / shard[2] + gathered,
        gradients=gradients * buckets / shard[1],
        optimizer=states / shard[0],
        step_copy=step_copy / shard[0],
        kept=layers * a.kept_layer * in_flight,
        working=np.maximum(recomputed, loss),
        pending=np.select(
            [c.megatron, (c.accumulation > 1.0) & c.whole_gradients & (c.layout.stage == 3.0), c.accumulation > 1.0],
            [gradients * buckets / shard[1], trained * c.compute_bytes, gradients * buckets / shard[1]],
            0.0,
        ),
        slack=LAYER_SLACK * one_layer + np.where(c.layout.pp <= 1.0, 1.0, 1.0 if is_last else 0.0) * a.loss_slack,
    )


def _splits(c: TrainingColumns) -> Floats:
    return c.layout.tp * c.layout.pp


def _parameters_held(c: TrainingColumns, is_last: bool) -> tuple[Floats, Floats]:
    """Parameters on a rank before data-parallel sharding: all of them, and those inside layers."""
    m, layout = c.model, c.layout
    share = np.ceil(m.layers / layout.pp) / m.layers
    ranks = layout.gpus / layout.pp
    # experts are divided by their own tensor parallelism too, where the ranks suffice (Megatron Core, MoE guide)
    expert_ranks = np.minimum(np.minimum(layout.ep * layout.tp, ranks), np.maximum(m.experts * layout.tp, 1.0))
    in_blocks = share * (m.block_parameters / layout.tp + m.expert_parameters / expert_ranks)
    head = np.where(m.tied, m.embedding_parameters, m.head_parameters)
    both = m.embedding_parameters + m.head_parameters
    outside = np.where(layout.pp <= 1.0, both, head if is_last else m.embedding_parameters) / layout.tp
    return in_blocks + outside + m.extra_parameters * (0.0 if is_last else 1.0), in_blocks


def _pick(take: Flags, one: _Stage, other: _Stage) -> _Stage:
    return _Stage(*(np.where(take, getattr(one, name), getattr(other, name)) for name in _Stage.__slots__))


def _footprint(c: TrainingColumns, s: _Stage) -> Footprint:
    """Parts at the moment of the peak, and the overhead of the reading that the row asks."""
    at_step = s.step_extra >= np.maximum(s.pass_extra, s.end_extra)
    at_start = ~at_step & (s.pass_extra >= s.end_extra)
    gradients = np.select([at_step, at_start], [s.gradients, s.pending], np.maximum(s.gradients, s.pending))
    live = np.where(at_step, 0.0, s.working + np.where(at_start, s.kept, 0.0))
    optimizer = s.optimizer + np.where(at_step, s.step_copy, 0.0)
    allocated = s.weights + gradients + optimizer + live
    context = context_gib(c.layout.gpus) + np.where(c.layout.stage == 3.0, 1.3, 0.0)
    room = np.maximum(c.gpu.usable_gib - context - allocated / GIB, 0.0)
    slack = np.minimum(s.slack / GIB, room)
    overhead = np.select([c.metric == ALLOCATED, c.metric == RESERVED], [0.0, slack], slack + context)
    return Footprint(
        weights=s.weights / GIB,
        gradients=gradients / GIB,
        optimizer=optimizer / GIB,
        activations=live / GIB,
        kv_cache=np.zeros_like(s.weights),
        overhead=overhead,
        need_gib=(allocated + UNAVOIDABLE * s.slack) / GIB + context,
        batch=c.micro_batch * c.layout.dp,
    )
