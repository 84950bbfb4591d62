"""How long texts get where their lengths vary: the longest batch of a run decides its memory, the mean one its time.

Lengths of natural samples are close to log-normal. Nothing but the mean, or a cap, is known of them here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp, expm1, log, log1p, sqrt
from statistics import NormalDist

import numpy as np

from predictor.gather import Floats
from predictor.workload import TrainingWorkload

SPREAD = 0.5
"""Standard deviation of the logarithm of a sample's length (a coefficient of variation of 0.53).

Instruction data padded to the longest of 2 and of 8 reads 1.32 and 1.87 times as long as without padding (measured
with Mistral 7B on A100), which gives 0.45 to 0.6.
"""

RUN_SAMPLES = 10_000
"""Samples of a run, for its longest: ten times as many make it a third longer."""

CAPPED_MEAN = 0.3
"""Mean length over the cap, where only the cap is known: people set it so that hardly a text is cut
(PEFT's method comparison: 210 tokens of 768)."""

_PACKING_KERNELS = ("padding-free", "multipack", "packing")
"""Batches are laid end to end, and no padding is computed."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens per sequence of one micro batch, padding included."""

    peak: float
    """Of the longest batch of the run."""
    mean: float
    spread: float
    """Standard deviation of the logarithm of a batch's tokens."""


def training_lengths(w: TrainingWorkload) -> Lengths:
    """As said where all are equally long or nothing else was said."""
    said, batch = w.sequence_length, w.micro_batch_size
    if not (w.sequence_length_is_mean or w.sequence_length_is_cap):
        return Lengths(peak=said, mean=said, spread=0.0)
    packed = any(kernel in w.software.kernels for kernel in _PACKING_KERNELS)
    # a sum varies less the more are added (Fenton 1960), and the largest of more varies less too
    spread = sqrt(log1p(expm1(SPREAD**2) / batch)) if packed else SPREAD / sqrt(1.0 + log(batch))
    if w.sequence_length_is_cap:
        padding = 1.0 if packed else exp(SPREAD * _deviations(batch))
        return Lengths(peak=said, mean=said * min(1.0, CAPPED_MEAN * padding), spread=spread)
    longest = exp(spread * _deviations(max(1.0, RUN_SAMPLES / batch))) if packed else _padded_peak(batch)
    return Lengths(peak=said * longest, mean=said, spread=spread)


def waited_for(spread: Floats, ranks: Floats) -> Floats:
    """By how much the slowest of `ranks` that work at once exceeds the mean one, whose batches vary by `spread`."""
    if not spread.any():
        return np.ones_like(spread)
    different, place = np.unique(ranks, return_inverse=True)
    return np.asarray(np.exp(spread * np.array([_deviations(count) for count in different.tolist()])[place]))


def _padded_peak(batch: int) -> float:
    """The longest of all samples over the mean longest of a batch."""
    return exp(SPREAD * max(0.0, _deviations(RUN_SAMPLES) - _deviations(batch)))


@lru_cache(maxsize=1024)
def _deviations(count: float) -> float:
    """Standard deviations by which the largest of `count` normal draws exceeds their mean, about."""
    return NormalDist().inv_cdf(count / (count + 1.0))
