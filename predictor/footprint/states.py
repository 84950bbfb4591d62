"""What the parameters of a training run cost on a rank: weights, gradients, optimizer states, and how they are sharded.

ZeRO (Rajbhandari et al., arXiv:1910.02054, section 5) splits over the data-parallel ranks first optimizer states, then
gradients, then weights; PyTorch's FSDP is the third stage. All results are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.columns import TrainingColumns
from predictor.gather import Flags, Floats

IS_LAST: Flags = np.array([[False], [True]])
"""(2, 1): of the first and the last stage of a pipeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """Bytes on a rank of the first and of the last pipeline stage, (2, n)."""

    weights: Floats
    gradients: Floats
    pending: Floats
    """Gradients of earlier passes of the same step, while another pass runs."""
    optimizer: Floats
    step_copy: Floats
    """Temporary of the optimizer step."""
    casts: Floats
    """Low-precision copies of FP32 weights that autocast keeps while a pass runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """Parameters on a rank before data-parallel sharding."""

    dense: Floats
    """In layers, no routed expert."""
    experts: Floats
    outside: Floats
    """Embedding, head and towers."""
    data_ranks: Floats
    """Ranks that hold the same, and may share it out."""
    expert_ranks: Floats
    """The same for experts: fewer, since expert parallelism has spread them already."""

    @property
    def total(self) -> Floats:
        return self.dense + self.experts + self.outside

    def shared(self, bytes_per_parameter: Floats, sharded: Flags) -> Floats:
        """Bytes of all parameters at so many bytes each, shared out in rows where `sharded` is true."""
        data = np.where(sharded, self.data_ranks, 1.0)
        experts = np.where(sharded, self.expert_ranks, 1.0)
        return bytes_per_parameter * ((self.dense + self.outside) / data + self.experts / experts)


def states(c: TrainingColumns) -> States:
    """Of the first and the last stage of the pipeline, (2, n); the same rank where there is one stage."""
    held = _held(c)
    stage = c.layout.stage
    # FSDP under mixed precision keeps its shards in FP32 whatever the checkpoint was loaded in (accelerate's upcast)
    no_copy = (c.master_bytes == 0.0) & (c.trained_weight_bytes < 4.0)
    upcast = c.full & (stage == 3.0) & c.upcast_shards & no_copy
    wide = np.where(upcast, 2.0, 1.0)
    share = np.where(
        c.full,
        c.trained_parameters / c.model.parameters,
        c.trained_parameters / (c.layout.tp * c.layout.pp) / np.maximum(held.total, 1.0),
    )
    per_gradient = share * c.gradient_bytes * wide
    # DistributedDataParallel holds its buckets beside the gradients (PyTorch, gradient_as_bucket_view=False)
    buckets = np.where((c.layout.dp > 1) & (stage == 0.0) & ~c.megatron, 2.0, 1.0)
    gradients = held.shared(per_gradient, stage >= 2.0) * buckets
    whole = c.whole_gradients & (stage == 3.0)
    pending = np.where(whole, held.total * share * c.compute_bytes, gradients)
    on_gpu = np.where(c.offload, 0.0, share)
    return States(
        weights=_weights(c, held, wide, share),
        gradients=gradients,
        pending=np.where(c.megatron | (c.accumulation > 1.0), pending, 0.0),
        optimizer=held.shared(on_gpu * (c.state_bytes * wide + c.master_bytes), stage >= 1.0),
        step_copy=held.shared(on_gpu * c.step_copy_bytes * wide, stage >= 1.0),
        casts=np.where(c.autocast & c.full & (stage < 3.0), held.total * c.compute_bytes, 0.0)
        + np.where(c.eight_bit_matmul, (held.dense + held.experts) * 2.0, 0.0),
    )


def _weights(c: TrainingColumns, held: _Held, wide: Floats, share: Floats) -> Floats:
    """Weights at rest, and in stage 3 what is gathered for the pass: a layer in use, the next one, and the ends."""
    in_layers = held.dense + held.experts
    adapters = np.where(c.full, 0.0, held.total * share * c.trained_weight_bytes)
    whole = in_layers * c.base_bytes + held.outside * c.weight_bytes + adapters
    sharded = c.layout.stage == 3.0
    at_rest = held.shared(c.base_bytes, sharded) + held.outside * (c.weight_bytes - c.base_bytes) / np.where(
        sharded, held.data_ranks, 1.0
    )
    at_rest = (at_rest + adapters / np.where(sharded, held.data_ranks, 1.0)) * wide
    layers = np.maximum(np.ceil(c.model.layers / c.layout.pp), 1.0)
    gathered = in_layers * np.minimum(1.0, 2.0 / layers) * np.minimum(c.base_bytes, c.compute_bytes)
    gathered = gathered + held.outside * c.compute_bytes
    # what is gathered and what is kept overlap; together they never exceed the whole model
    return np.where(sharded, np.minimum(at_rest + gathered, np.maximum(whole * wide, at_rest)), at_rest)


def _held(c: TrainingColumns) -> _Held:
    m, layout = c.model, c.layout
    share = np.ceil(m.layers / layout.pp) / m.layers
    ranks = layout.gpus / layout.pp
    # experts are split by tensor parallelism too where the ranks suffice (Megatron Core, expert tensor parallelism)
    splits = np.minimum(layout.ep * layout.tp, ranks)
    ends = np.where(
        layout.pp > 1.0,
        np.where(IS_LAST & ~m.tied, m.head_parameters, m.embedding_parameters),
        m.embedding_parameters + m.head_parameters,
    )
    towers = np.where((layout.pp > 1.0) & IS_LAST, 0.0, m.extra_parameters)
    return _Held(
        dense=share * m.block_parameters / layout.tp,
        experts=share * m.expert_parameters / splits,
        outside=ends / layout.tp + towers,
        data_ranks=layout.dp * layout.cp,
        expert_ranks=np.maximum(ranks / splits, 1.0),
    )
