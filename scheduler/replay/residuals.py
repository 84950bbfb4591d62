"""How far truth lies from forecasts in a modelled replay: draws from the residuals that calibrated the predictor.

A draw is a level between 0 and 1. How wide residuals are is each forecast's own; their shape, with its tails beyond
the quantiles that a forecast states, is that of the predictor's held-out residuals.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.bundle import Bundle
from predictor.calibration import LEVELS, Calibration
from predictor.features import Task
from predictor.forecast import Forecast
from predictor.learned.samples import ABSURD_RATIO
from predictor.quantiles import MEMORY_MARGIN, TIME_MARGIN
from predictor.workload import InferenceWorkload, Workload
from scheduler.domain.arrays import Floats

Places = NDArray[np.integer]

_LEVELS: list[float] = LEVELS.tolist()

_FURTHEST = math.log(ABSURD_RATIO)
"""Training leaves out what is further from its forecast than this; no draw may be what would not be believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """Of one quantity, for a list of forecasts: the logarithm of truth over median."""

    shape: Floats
    """At each of the calibration's levels, in units of the width on its side of the median."""
    above: Floats
    """The width above the median, of each forecast."""
    below: Floats

    def factors(self, places: Places, levels: Floats, column: Places) -> Floats:
        """(jobs, places): truth over median of these forecasts; of `levels` (jobs, k) each place has a column."""
        steps = np.interp(levels, LEVELS, self.shape)
        up, down = np.maximum(steps, 0.0)[:, column], np.minimum(steps, 0.0)[:, column]
        apart = up * self.above[places] + down * self.below[places]
        factors: Floats = np.exp(np.clip(apart, -_FURTHEST, _FURTHEST))
        return factors

    def factor(self, place: int, level: float) -> float:
        """`factors` of one forecast at one level, without arrays."""
        at = min(max(bisect_left(_LEVELS, level), 1), len(_LEVELS) - 1)
        share = min(max((level - _LEVELS[at - 1]) / (_LEVELS[at] - _LEVELS[at - 1]), 0.0), 1.0)
        low, high = float(self.shape[at - 1]), float(self.shape[at])
        step = low + share * (high - low)
        apart = step * float((self.above if step > 0 else self.below)[place])
        return math.exp(min(max(apart, -_FURTHEST), _FURTHEST))


def time_residuals(bundle: Bundle | None, workload: Workload, forecasts: Sequence[Forecast]) -> Residuals:
    """Of the run times of forecasts, whose widths are those of p90 and p10."""
    runs = [one.runtime_s for one in forecasts]
    above = [math.log(run.p90 / run.p50) if run else 0.0 for run in runs]
    below = [math.log(run.p50 / run.p10) if run else 0.0 for run in runs]
    task = Task.INFERENCE_TIME if isinstance(workload, InferenceWorkload) else Task.TRAINING_TIME
    shape = _shape(_calibration(bundle, task) or TIME_MARGIN, 0.1, 0.9)
    return Residuals(shape=shape, above=np.array(above), below=np.array(below))


def memory_residuals(bundle: Bundle | None, workload: Workload, forecasts: Sequence[Forecast]) -> Residuals:
    """Of the peaks of forecasts, whose width is that of p95 on both sides."""
    peaks = [one.peak_vram for one in forecasts]
    width = np.array([math.log(peak.p95_gib / peak.p50_gib) if peak else 0.0 for peak in peaks])
    task = Task.INFERENCE_MEMORY if isinstance(workload, InferenceWorkload) else Task.TRAINING_MEMORY
    shape = _shape(_calibration(bundle, task) or MEMORY_MARGIN, 0.05, 0.95)
    return Residuals(shape=shape, above=width, below=width)


def _calibration(bundle: Bundle | None, task: Task) -> Calibration | None:
    correction = bundle.corrections.get(task) if bundle else None
    return correction.calibration if correction else None


def _shape(calibration: Calibration, low: float, high: float) -> Floats:
    """The residuals nearest the data, which are the most, with their median at 0 and both named levels at ∓1."""
    residuals = calibration.table[0]
    middle, lower, upper = np.interp((0.5, low, high), LEVELS, residuals)
    apart = residuals - middle
    shape: Floats = np.where(apart > 0, apart / max(upper - middle, 1e-9), apart / max(middle - lower, 1e-9))
    return shape
