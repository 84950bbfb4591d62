"""The arithmetic alone against real measurements, where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from predictor.architectures.catalogue import load_models
from predictor.columns import inference_columns, training_columns
from predictor.footprint.inference import inference_footprint
from predictor.footprint.parts import Footprint
from predictor.footprint.training import training_footprint
from predictor.hardware import load_gpu_types
from predictor.telemetry import Observation
from predictor.telemetry_files import read_telemetry
from predictor.workload import TrainingWorkload

FOLDER = os.environ.get("PYTHIA_OBSERVATIONS_DIR")

pytestmark = pytest.mark.skipif(not FOLDER, reason="PYTHIA_OBSERVATIONS_DIR names no folder of observations")


@pytest.fixture(scope="module")
def with_memory() -> list[Observation]:
    """Observations that measured a peak, or ran out of memory."""
    assert FOLDER is not None
    everything = read_telemetry(Path(FOLDER), load_models(), load_gpu_types()).observations
    return [o for o in everything if o.peak_vram_gib is not None or o.vram_lower_bound_gib is not None]


def footprint(observations: Sequence[Observation]) -> Footprint:
    questions = [o.question for o in observations]
    if isinstance(questions[0].workload, TrainingWorkload):
        last = np.array([o.last_rank_only for o in observations])
        return training_footprint(training_columns(questions), last)
    return inference_footprint(inference_columns(questions))


def errors(observations: Sequence[Observation]) -> list[float]:
    measured = np.array([o.peak_vram_gib for o in observations], dtype=np.float64)
    return list(np.abs(footprint(observations).peak_gib / measured - 1.0))


def test_the_median_error_of_memory_is_below_twelve_per_cent(with_memory: list[Observation]) -> None:
    """Nothing was fitted per source; 9.3 % when written."""
    measured = [o for o in with_memory if o.peak_vram_gib is not None]
    training = [o for o in measured if isinstance(o.question.workload, TrainingWorkload)]
    serving = [o for o in measured if o not in training]

    assert np.median(errors(training) + errors(serving)) < 0.12


def test_runs_that_ran_out_of_memory_needed_more_than_the_card(with_memory: list[Observation]) -> None:
    """The driver's peak flags 52 of 53 when written, and runs that used under 85 % of the card are not refused."""
    training = [o for o in with_memory if isinstance(o.question.workload, TrainingWorkload)]
    f = footprint(training)
    usable = np.array([o.question.gpu.usable_gib for o in training], dtype=np.float64)
    ran_out = np.array([o.peak_vram_gib is None for o in training])
    easy = np.array([(o.peak_vram_gib or np.inf) for o in training]) < 0.85 * usable

    assert np.mean(f.need_gib[ran_out] > 0.95 * usable[ran_out]) > 0.9
    assert np.mean(f.need_gib[easy] > usable[easy]) < 0.03
