"""Errors by source, GPU type and model family, under each way of holding out."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from predictor.evaluation.configurations import first_readings
from predictor.evaluation.judged import Judged
from predictor.evaluation.scores import configuration_errors
from predictor.features import Task

BY = ("source", "gpu_type", "family")


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceError:
    """Errors of the configurations of one source, card or family."""

    task: Task
    grouping: str
    """What was held out when these were forecast."""
    by: str
    name: str
    configurations: int
    learned: float
    """Median of |forecast / measured - 1|."""
    arithmetic: float
    worst_tenth: float
    """The error that nine in ten configurations stay below."""
    covered: float
    """Share of rows below p95 (memory) or between p10 and p90 (time)."""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def slice_errors(judged: Judged) -> list[SliceError]:
    """Every source, card and family of what was judged."""
    found: list[SliceError] = []
    for by in BY:
        labels = getattr(judged.found, by)
        for name in sorted(set(labels[judged.done & first_readings(judged.found)].tolist())):
            mine = judged.done & first_readings(judged.found) & (labels == name)
            ends, measured = judged.configuration[mine], judged.found.measured[mine]
            learned = configuration_errors(ends, judged.said.p50[mine], measured)
            arithmetic = configuration_errors(ends, judged.found.arithmetic[mine], measured)
            found.append(
                SliceError(
                    task=judged.task,
                    grouping=judged.grouping,
                    by=by,
                    name=name,
                    configurations=len(learned),
                    learned=float(np.median(learned)),
                    arithmetic=float(np.median(arithmetic)),
                    worst_tenth=float(np.quantile(learned, 0.9)),
                    covered=float(judged.covered[mine].mean()),
                )
            )
    return found
