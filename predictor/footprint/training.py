"""Training: weights, gradients, optimizer states and activations of the fullest rank.

Three moments compete for the peak, and do not add up: the start of a backward pass (all activations, few gradients),
its end (all gradients, one layer's activations) and the optimizer step (no activations, a temporary beside the states).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.columns import TrainingColumns
from predictor.footprint.activations import Activations, activations
from predictor.footprint.parts import GIB, Footprint, context_gib, overhead_gib
from predictor.footprint.states import IS_LAST, States, states
from predictor.gather import Flags, Floats, select

LAYER_SLACK = 0.27
"""Of the memory one layer works in, what stays cached beside it (driver minus allocated readings, A100)."""

VARIED_SLACK = 1.25
"""Of the memory one layer or the loss works in, what stays cached beside it where lengths vary: a new length asks for
blocks that no freed one fits. Fitted on open measurements (A100): the best is 1 for runs read as a mean over GPUs, 2 on
single GPUs, and nothing where software empties the cache between steps."""

UNAVOIDABLE = 0.25
"""Of the allocator's slack, what is still there when memory runs out and everything free has been given back."""

FSDP_GIB = 1.3
"""Streams and buffers of gathers and reductions beside the layers they hold (measured, A100)."""


@dataclass(frozen=True, slots=True)
class _Rank:
    """Bytes on a rank of one pipeline stage, or of the first and the last one."""

    weights: Floats
    optimizer: Floats
    gradients: Floats
    pending: Floats
    step_copy: Floats
    kept: Floats
    """Activations of all passes in flight, and copies of weights that live as long."""
    working: Floats
    """One layer going backward, or the loss."""
    slack: Floats
    """Freed blocks that the caching allocator cannot use for other sizes."""

    @property
    def pass_start(self) -> Floats:
        """What the start of a backward pass adds to weights and states."""
        return self.kept + self.working + self.pending

    @property
    def pass_end(self) -> Floats:
        """What its end adds: every gradient, no more checkpoints."""
        return np.maximum(self.gradients, self.pending) + self.working

    @property
    def step(self) -> Floats:
        """What the optimizer step adds."""
        return self.gradients + self.step_copy

    @property
    def largest(self) -> Floats:
        """The largest of the three moments."""
        return np.maximum(np.maximum(self.pass_start, self.pass_end), self.step)

    @property
    def apart(self) -> Floats:
        """What a pass and the step hold where neither can use the other's blocks.

        FSDP gathers and reduces whole layers on streams of their own, and the caching allocator gives a block back to
        the stream that asked for it (PyTorch, CUDA semantics); blocks of ever new lengths fit nothing else.
        """
        whole = np.where(self.pending > self.gradients, self.pending, 0.0)
        return self.kept + self.working + whole + self.gradients + self.step_copy

    @property
    def peak(self) -> Floats:
        return self.weights + self.optimizer + self.largest


def training_footprint(c: TrainingColumns, last_stage: Flags | None = None) -> Footprint:
    """Peak of the fullest rank; in rows of `last_stage` that of the last stage, which is all a source may read."""
    one_pass = activations(c)
    ends = _rank(c, one_pass, states(c))
    first, last = ends.peak
    take_last = (c.layout.pp <= 1.0) | (last >= first)
    if last_stage is not None:
        take_last = take_last | last_stage
    parts = (getattr(ends, name) for name in _Rank.__slots__)
    return _footprint(c, _Rank(*(np.where(take_last, of_last, of_first) for of_first, of_last in parts)))


def _rank(c: TrainingColumns, one_pass: Activations, s: States) -> _Rank:
    """Of the first and the last stage, (2, n)."""
    layers = np.ceil(c.model.layers / c.layout.pp)
    # 1F1B keeps as many passes as there are stages behind (Narayanan et al., arXiv:2104.04473, section 2.2)
    in_flight = np.where(IS_LAST, 1.0, np.minimum(c.layout.pp, c.accumulation))
    one_layer = one_pass.whole_layer + one_pass.transient_layer
    # without checkpoints the layer is among the activations kept already
    layer = np.where(c.checkpointing > 0.0, one_layer, one_pass.transient_layer)
    makes_loss = np.where(IS_LAST | (c.layout.pp <= 1.0), 1.0, 0.0)
    kept = layers * one_pass.kept_layer * in_flight
    working = np.maximum(layer, makes_loss * one_pass.loss)
    # blocks that one layer's backward pass asked for hold what the loss left behind
    beyond = np.maximum(makes_loss * (one_pass.loss + one_pass.loss_slack) - working, 0.0)
    slack = LAYER_SLACK * one_layer + beyond
    return _Rank(
        weights=s.weights,
        optimizer=s.optimizer,
        gradients=s.gradients,
        pending=s.pending,
        step_copy=s.step_copy,
        kept=kept + s.casts,
        working=working,
        slack=np.where(c.varied, np.maximum(slack, VARIED_SLACK * working), slack),
    )


def _footprint(c: TrainingColumns, r: _Rank) -> Footprint:
    """Parts at the moment of the peak, and the overhead of the reading that the row asks."""
    at_step = r.step >= np.maximum(r.pass_start, r.pass_end)
    at_start = ~at_step & (r.pass_start >= r.pass_end)
    gradients = select([at_step, at_start], [r.gradients, r.pending], np.maximum(r.gradients, r.pending))
    live = select([at_step, at_start], [0.0, r.kept + r.working], r.working)
    optimizer = r.optimizer + np.where(at_step, r.step_copy, 0.0)
    allocated = r.weights + gradients + optimizer + live
    context = context_gib(c.layout.gpus) + np.where(c.layout.stage == 3.0, FSDP_GIB, 0.0)
    slack = r.slack + np.where((c.layout.stage == 3.0) | c.varied, r.apart - r.largest, 0.0)
    room = np.maximum(c.gpu.usable_gib - context - allocated / GIB, 0.0)
    slack = np.minimum(slack / GIB, room)
    return Footprint(
        weights=r.weights / GIB,
        gradients=gradients / GIB,
        optimizer=optimizer / GIB,
        activations=live / GIB,
        kv_cache=np.zeros_like(allocated),
        overhead=overhead_gib(c.metric, slack, context),
        elastic=np.zeros(allocated.shape, dtype=bool),
        crowded=np.zeros(allocated.shape, dtype=bool),
        planned_gib=c.gpu.usable_gib,
        need_gib=(allocated + UNAVOIDABLE * r.slack) / GIB + context,
        batch=c.micro_batch * c.layout.dp,
    )
