"""Whether probabilities mean what they say: coverage at every level, and how often what should fit did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from predictor.evaluation.judged import Judged
from predictor.evaluation.scores import SIZES_GIB
from predictor.features import Task
from predictor.gather import Flags, Floats

LEVELS = (0.01, 0.025, 0.05, *(round(0.1 * tenth, 1) for tenth in range(1, 10)), 0.95, 0.975, 0.99)

EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 1.0)
"""Bins of stated probabilities, finer at both ends, where decisions are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How many measurements lie below a quantile, which should be as many as it says."""

    task: Task
    grouping: str
    level: float
    below: float
    rows: int

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """What was said to fit with about the same probability, and how much of it did."""

    task: Task
    grouping: str
    on: str
    """`own card`: runs that completed against those out of memory. `every size`: each measured peak against the
    memory of cards of every size, as if it had been asked about them all."""
    low: float
    high: float
    said: float
    """Mean probability that was stated."""
    fitted: float
    """Share that did fit."""
    cases: int

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def levels(judged: Judged) -> list[Level]:
    """Coverage at LEVELS of what counts, by the probability integral transform (Dawid 1984)."""
    rank = judged.said.rank[judged.counted]
    return [
        Level(
            task=judged.task,
            grouping=judged.grouping,
            level=level,
            below=float((rank <= level).mean()),
            rows=len(rank),
        )
        for level in LEVELS
    ]


def fit_reliability(judged: Judged) -> list[Reliability]:
    """Reliability on the cards that were used, and on every size of card; nothing for time."""
    if not judged.task.is_memory:
        return []
    known = np.isfinite(judged.found.usable)
    real, measured = judged.counted, judged.found.measured
    return [
        *_bins(judged, "own card", judged.said.fit[known], judged.done[known]),
        *_bins(
            judged,
            "every size",
            judged.said.fit_sizes[real].ravel(),
            (measured[real, None] <= np.log(SIZES_GIB)).ravel(),
        ),
    ]


def _bins(judged: Judged, on: str, said: Floats, fitted: Flags) -> Sequence[Reliability]:
    place = np.clip(np.searchsorted(EDGES, said, side="right") - 1, 0, len(EDGES) - 2)
    return [
        Reliability(
            task=judged.task,
            grouping=judged.grouping,
            on=on,
            low=EDGES[one],
            high=EDGES[one + 1],
            said=float(said[place == one].mean()),
            fitted=float(fitted[place == one].mean()),
            cases=int((place == one).sum()),
        )
        for one in range(len(EDGES) - 1)
        if (place == one).any()
    ]
