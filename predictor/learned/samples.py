"""Observations as arrays to learn from: features, what arithmetic said, what was measured, and who belongs together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.arithmetic import inference_arithmetic, training_arithmetic
from predictor.features import Task
from predictor.gather import Flags, Floats
from predictor.telemetry import Observation, other_readings
from predictor.workload import InferenceWorkload, TrainingWorkload

Words = NDArray[np.str_]


OVERLAPPING_SOURCES = {"inferencemax": "aic_silicon", "mlperf_v51": "mlperf_v41"}
"""Sources that measured the same systems; leaving one out while training on the other would test nothing."""

ABSURD_RATIO = 30.0
"""A measurement further than this from arithmetic is a slip of units or of the keyboard; a run that did not fit where
arithmetic asks for far more is not."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows of one task; all arrays have the same length."""

    rows: Floats
    arithmetic: Floats
    """Logarithm of the arithmetic, GiB or seconds."""
    measured: Floats
    """Logarithm of the measurement, or of its lower bound."""
    lower_bound: Flags
    weights: Floats
    """A configuration counts once, however often it was repeated."""
    ids: Words
    configuration: Words
    family: Words
    gpu_type: Words
    source: Words
    site: Words
    """The source, those that overlap taken together."""
    usable: Floats
    """Logarithm of what the card offers, GiB."""

    def __len__(self) -> int:
        return len(self.measured)

    @property
    def residuals(self) -> Floats:
        """What there is to learn: log(measured / arithmetic)."""
        return self.measured - self.arithmetic

    def take(self, chosen: NDArray[Any]) -> Samples:
        """The rows that a mask or index array chooses."""
        return Samples(*(getattr(self, field.name)[chosen] for field in fields(self)))


def samples(task: Task, observations: Sequence[Observation]) -> Samples:
    """What `observations` teach about a task, absurd ones left out."""
    found = every_sample(task, observations)
    return found.take((np.abs(found.residuals) <= np.log(ABSURD_RATIO)) | (found.lower_bound & (found.residuals < 0.0)))


def every_sample(task: Task, observations: Sequence[Observation]) -> Samples:
    """What `observations` on accelerators say about a task, however absurd; what a host measured, such as a smoke run
    of `pythia measure`, says nothing of a card."""
    chosen = _READERS[task]([one for one in observations if one.question.gpu.is_accelerator])
    if not chosen:
        return _none(task)
    questions = [observation.question for observation, _, _ in chosen]
    if task in (Task.TRAINING_MEMORY, Task.TRAINING_TIME):
        last = np.array([observation.last_rank_only for observation, _, _ in chosen])
        training = training_arithmetic(questions, last_stage=last)
        rows = task.features.rows(training)
        said = training.footprint.peak_gib if task.is_memory else training.time.step_time_s
    else:
        serving = inference_arithmetic(questions)
        rows = task.features.rows(serving)
        said = serving.footprint.peak_gib if task.is_memory else serving.time.runtime_s
    configuration = np.array([f"{o.source}/{o.configuration}/{o.question.vram_metric}" for o, _, _ in chosen])
    return Samples(
        rows=rows,
        arithmetic=np.log(said),
        measured=np.log([value for _, value, _ in chosen]),
        lower_bound=np.array([bound for _, _, bound in chosen]),
        weights=_once_each(configuration),
        ids=np.array([o.id for o, _, _ in chosen]),
        configuration=np.array([o.configuration for o, _, _ in chosen]),
        family=np.array([o.family for o, _, _ in chosen]),
        gpu_type=np.array([o.question.gpu.name for o, _, _ in chosen]),
        source=np.array([o.source for o, _, _ in chosen]),
        site=np.array([OVERLAPPING_SOURCES.get(o.source, o.source) for o, _, _ in chosen]),
        usable=np.log([o.question.gpu.usable_gib or np.nan for o, _, _ in chosen]),
    )


_Chosen = list[tuple[Observation, float, bool]]


def _memory(kind: type) -> Callable[[Sequence[Observation]], _Chosen]:
    def read(observations: Sequence[Observation]) -> _Chosen:
        found: _Chosen = []
        for observation in observations:
            if not isinstance(observation.question.workload, kind):
                continue
            if (bound := observation.vram_lower_bound_gib) is not None:
                found.append((observation, bound, True))
            elif observation.peak_vram_gib is not None:
                found.append((observation, observation.peak_vram_gib, False))
            for other in other_readings(observation):
                if other.peak_vram_gib is not None:
                    found.append((other, other.peak_vram_gib, False))
        return found

    return read


def _step_times(observations: Sequence[Observation]) -> _Chosen:
    return [(o, o.step_time_s, False) for o in observations if o.step_time_s is not None]


def _runtimes(observations: Sequence[Observation]) -> _Chosen:
    return [
        (o, o.runtime_s, False)
        for o in observations
        if o.runtime_s is not None and isinstance(o.question.workload, InferenceWorkload)
    ]


_READERS: Mapping[Task, Callable[[Sequence[Observation]], _Chosen]] = {
    Task.TRAINING_MEMORY: _memory(TrainingWorkload),
    Task.INFERENCE_MEMORY: _memory(InferenceWorkload),
    Task.TRAINING_TIME: _step_times,
    Task.INFERENCE_TIME: _runtimes,
}


def _once_each(configuration: Words) -> Floats:
    _, place, repeats = np.unique(configuration, return_inverse=True, return_counts=True)
    return 1.0 / repeats[place]


def _none(task: Task) -> Samples:
    empty = np.empty(0)
    words = np.empty(0, dtype="<U1")
    return Samples(
        np.empty((0, len(task.features.names))), empty, empty, np.empty(0, dtype=bool), empty,
        words, words, words, words, words, words, empty,
    )  # fmt: skip
