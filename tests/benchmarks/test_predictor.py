"""What the benchmark says of a new source is what its curve says."""

from __future__ import annotations

from benchmarks.predictor import new_source
from predictor.evaluation.configurations import TOYS
from predictor.evaluation.learning_curve import Point
from predictor.features import Task


def point(source: str | None, own: int, error: float) -> Point:
    return Point(
        task=Task.TRAINING_TIME,
        source=source,
        own=own,
        sources=2,
        configurations=60,
        error=error,
        covered=0.8,
        width=2.0,
    )


def test_each_source_counts_once_in_the_mean_and_toys_in_nothing() -> None:
    found = [point("a", 10, 0.1), point("b", 10, 0.3), point(TOYS[0], 10, 9.0), point(None, 10, 0.12)]
    assert new_source([*found, point(None, 100, 0.05), point("a", 100, 0.05)]) == {
        "training_time after 10": {
            "sources": 2, "configurations": 60, "learned": 0.12, "source_mean": 0.2, "covered": 0.8,
        },
        "training_time after 100": {
            "sources": 2, "configurations": 60, "learned": 0.05, "source_mean": 0.05, "covered": 0.8,
        },
    }  # fmt: skip
