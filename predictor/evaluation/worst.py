"""The rows that were forecast worst, with all that the forecast was made from: where to look first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from predictor.evaluation.judged import Judged
from predictor.features import Task
from predictor.forecast import Question
from predictor.telemetry import Observation, other_readings
from predictor.workload import InferenceWorkload, TrainingWorkload

SHOWN = 20

Readings = Mapping[tuple[str, str], Observation]
"""By source and id, as they are told apart everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstRow:
    """One measurement and what was said of it without having seen its configuration."""

    task: Task
    grouping: str
    place: int
    """1 is the worst."""
    id: str
    source: str
    family: str
    gpu_type: str
    job: str
    """In words."""
    unit: str
    measured: float
    p50: float
    low: float
    """p10; of memory nothing is promised below, and this is p50."""
    high: float
    """p90, or p95 of memory."""
    arithmetic: float
    ratio: float
    """p50 / measured."""
    distance: float
    """From the nearest configuration that was trained on, in standard deviations."""
    features: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def readings_of(observations: Iterable[Observation]) -> Readings:
    """Every observation and the further readings of its memory."""
    return {(one.source, one.id): one for seen in observations for one in (seen, *other_readings(seen))}


def worst_rows(judged: Judged, readings: Readings, shown: int = SHOWN) -> list[WorstRow]:
    """The `shown` rows furthest off as a ratio, one of each configuration; the worst comes first."""
    found, said, task = judged.found, judged.said, judged.task
    missed = np.where(judged.done, np.abs(said.p50 - found.measured), -1.0)
    chosen: dict[str, int] = {}
    for row in np.argsort(-missed, kind="stable").tolist():
        if missed[row] >= 0.0 and len(chosen) < shown:
            chosen.setdefault(str(judged.configuration[row]), row)
    high = said.p95 if task.is_memory else said.p90
    low = said.p50 if task.is_memory else said.p10
    return [
        WorstRow(
            task=task,
            grouping=judged.grouping,
            place=place,
            id=str(found.ids[row]),
            source=str(found.source[row]),
            family=str(found.family[row]),
            gpu_type=str(found.gpu_type[row]),
            job=describe(readings[str(found.source[row]), str(found.ids[row])].question),
            unit="GiB" if task.is_memory else "s",
            measured=_rounded(np.exp(found.measured[row])),
            p50=_rounded(np.exp(said.p50[row])),
            low=_rounded(np.exp(low[row])),
            high=_rounded(np.exp(high[row])),
            arithmetic=_rounded(np.exp(found.arithmetic[row])),
            ratio=_rounded(np.exp(said.p50[row] - found.measured[row])),
            distance=_rounded(said.distance[row]),
            features={name: _rounded(value) for name, value in zip(task.features.names, found.rows[row], strict=True)},
        )
        for place, row in enumerate(chosen.values(), start=1)
    ]


def describe(question: Question) -> str:
    """A job in one line, for people who look for what it has in common with its neighbours."""
    workload = question.workload
    layout = question.layout
    where = "" if layout.gpu_count == 1 else f", {layout.gpu_count} GPUs {layout.label()}"
    if isinstance(workload, TrainingWorkload):
        rank = f" rank {workload.lora_rank}" if workload.lora_rank else ""
        base = f" on {workload.quantization}" if workload.quantization else ""
        return (
            f"{workload.architecture.id} {workload.method}{rank}{base} {workload.precision}, "
            f"{workload.sequence_length:g} tokens × {workload.micro_batch_size}, {workload.optimizer}, "
            f"checkpointing {workload.gradient_checkpointing}, {question.vram_metric}{where}{_software(question)}"
        )
    if isinstance(workload, InferenceWorkload):
        batch = "" if workload.max_batch_size is None else f", {workload.max_batch_size} in flight"
        return (
            f"{workload.architecture.id} {workload.precision}, {workload.num_requests} × {workload.input_length:g} + "
            f"{workload.output_length:g} tokens{batch}, {workload.engine}{where}{_software(question)}"
        )
    return f"{workload.kind}{where}"


def _software(question: Question) -> str:
    software = question.workload.software
    said = " ".join(part for part in (software.engine, software.version, software.kernels) if part)
    return f" ({said})" if said else ""


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
