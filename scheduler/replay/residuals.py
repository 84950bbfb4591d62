"""How far truth lies from forecasts in a modelled replay: draws from the residuals that calibrated the predictor.

A draw is a level between 0 and 1; the same level is a different factor near the training data and far from it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.arithmetic import inference_arithmetic, training_arithmetic
from predictor.bundle import Bundle
from predictor.calibration import LEVELS
from predictor.correction import uncorrected
from predictor.features import Task
from predictor.forecast import Question
from predictor.quantiles import MEMORY_MARGIN, TIME_MARGIN
from predictor.workload import InferenceWorkload
from scheduler.replay.market import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """For each question the logarithm of truth over median forecast, at each of the calibration's levels."""

    time: Floats
    memory: Floats

    @staticmethod
    def at(table: Floats, rows: NDArray[np.integer], levels: Floats) -> Floats:
        """The factors of these rows of `time` or `memory` at levels of the same shape."""
        above = np.clip(np.searchsorted(LEVELS, levels), 1, len(LEVELS) - 1)
        share = np.clip((levels - LEVELS[above - 1]) / (LEVELS[above] - LEVELS[above - 1]), 0.0, 1.0)
        low, high = table[rows, above - 1], table[rows, above]
        factors: Floats = np.exp(low + share * (high - low))
        return factors

    @staticmethod
    def one(row: Floats, level: float) -> float:
        """The factor of one row of `time` or `memory` at one level."""
        above = min(max(bisect_left(_LEVELS, level), 1), len(_LEVELS) - 1)
        share = (level - _LEVELS[above - 1]) / (_LEVELS[above] - _LEVELS[above - 1])
        low, high = float(row[above - 1]), float(row[above])
        return math.exp(low + min(max(share, 0.0), 1.0) * (high - low))


_LEVELS: list[float] = LEVELS.tolist()


def residuals_of(bundle: Bundle | None, questions: Sequence[Question]) -> Residuals:
    """The residuals around forecasts of questions about one workload, as `predictor.quantiles.bands` spreads them."""
    serving = isinstance(questions[0].workload, InferenceWorkload)
    arithmetic = inference_arithmetic(questions) if serving else training_arithmetic(questions)
    tasks = (Task.INFERENCE_TIME, Task.INFERENCE_MEMORY) if serving else (Task.TRAINING_TIME, Task.TRAINING_MEMORY)
    tables = []
    for task in tasks:
        correction = bundle.corrections.get(task) if bundle else None
        if correction is None:
            corrected, calibration = uncorrected(len(questions)), MEMORY_MARGIN if task.is_memory else TIME_MARGIN
        else:
            corrected, calibration = correction.correct(task.features.rows(arithmetic)), correction.calibration
        steps = calibration.quantiles(corrected.distance, LEVELS.tolist())
        middle = calibration.quantiles(corrected.distance, (0.5,))
        tables.append((steps - middle) * (1.0 + corrected.beyond)[:, None])
    return Residuals(time=tables[0], memory=tables[1])
