"""The peak memory of the fullest GPU as arithmetic gives it, in parts, and how each kind of reading sees it.

The same run reads differently: *allocated* counts tensors, *reserved* adds what the caching allocator
holds back, *driver* adds the CUDA context and communication buffers; *stated*, of which nobody said what it was,
is taken for the driver's. A row's peak is for the reading it asks; its `overhead` is the part that is no tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.columns import ALLOCATED, RESERVED
from predictor.gather import Flags, Floats, select

GIB = 2.0**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """GiB on the fullest GPU, one cell per question; the six parts add up to `peak_gib`."""

    weights: Floats
    """With what is gathered for a pass where they are sharded."""
    gradients: Floats
    optimizer: Floats
    """States, masters, and the temporary of a step where the step is the peak."""
    activations: Floats
    """0 where the optimizer step is the peak; in inference the working memory of a pass."""
    kv_cache: Floats
    overhead: Floats
    """What the caching allocator holds back (reserved, driver), context and communication buffers (driver)."""
    need_gib: Floats
    """What the card must offer: the driver's reading without a cache that merely grows into free memory."""
    elastic: Flags
    """The engine takes as many sequences as the card has room for: the need is that of one on each replica, and the
    rest of the peak gives way rather than run out."""
    crowded: Flags
    """Elastic, and more sequences are asked for than there is room for: the cache fills what the engine plans with."""
    planned_gib: Floats
    """The most that an elastic cache makes of the peak, as the row's metric reads it."""
    batch: Floats
    """Inference: sequences in flight over all replicas, as asked or chosen here. Training: sequences of one pass."""

    @property
    def peak_gib(self) -> Floats:
        """The sum of the parts: the peak as the row's metric reads it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.kv_cache + self.overhead


def context_gib(gpus: Floats) -> Floats:
    """CUDA context with loaded kernels, and NCCL's buffers where GPUs talk to each other.

    An idle PyTorch process with cuBLAS on A100 and H100 reads 0.45 to 0.6 GiB; NCCL adds some 0.1 GiB for each of the
    few rings and trees a rank takes part in (4 MiB x channels x peers, NCCL_BUFFSIZE).
    """
    return 0.5 + np.where(gpus > 1, 0.6, 0.0)


def overhead_gib(metric: Floats, slack: Floats, context: Floats) -> Floats:
    """GiB of a peak that are no tensor, by the reading that each row asks."""
    return select([metric == ALLOCATED, metric == RESERVED], [0.0, slack], slack + context)
