"""The asker's own custom jobs that are nearest to a question, by what its forecast reads of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictor.custom.encoding import GPU_COLUMNS, Encoding
from predictor.explained.explanation import Difference, Neighbour, Said
from predictor.explained.learning import DIFFERENCES, NEIGHBOURS
from predictor.forecast import Question
from predictor.gather import Floats
from predictor.telemetry import Observation
from predictor.workload import CustomWorkload

_CARD, _COUNT, _NEW = "gpu_type", "gpu_count", "features not known"
_OF_CARDS = {"log gpu count": _COUNT}

UNSAID = "unsaid"


def nearest_past(question: Question, seen: Sequence[Observation], encoding: Encoding) -> tuple[Neighbour, ...]:
    """Of past jobs of its kind, oldest first, those nearest to the question; of equals the newest."""
    if not seen:
        return ()
    newest = seen[::-1]
    rows = encoding.encode([question, *(one.question for one in newest)])
    apart = rows[1:] - rows[0]
    distances = np.sqrt((apart**2).sum(axis=1))
    order = np.argsort(distances, kind="stable")[:NEIGHBOURS]
    return tuple(
        Neighbour(
            id=newest[place].id,
            distance=float(distances[place]),
            differs=_differs(question, newest[place].question, encoding, rows[[0, 1 + place]]),
        )
        for place in order.tolist()
    )


def _differs(asked: Question, known: Question, encoding: Encoding, rows: Floats) -> tuple[Difference, ...]:
    squared: dict[str, float] = {}
    for name, gap in zip(_features(encoding), (rows[1] - rows[0]).tolist(), strict=True):
        squared[name] = squared.get(name, 0.0) + gap**2
    found = [
        Difference(
            feature=name,
            asked=_said(name, asked, rows[0]),
            known=_said(name, known, rows[1]),
            apart=float(np.sqrt(gap)),
        )
        for name, gap in squared.items()
        if gap
    ]
    return tuple(sorted(found, key=lambda one: -one.apart)[:DIFFERENCES])


def _features(encoding: Encoding) -> list[str]:
    """Of every column the feature that it is read from."""
    numbers = [number.name for number in encoding.numbers]
    words = [name for name, _ in encoding.levels]
    return [*numbers, *words, *(_OF_CARDS.get(column, _CARD) for column in GPU_COLUMNS), _NEW]


def _said(name: str, question: Question, row: Floats) -> Said:
    if name == _NEW:
        return float(row[-1])
    if name == _CARD:
        return question.gpu.name
    if name == _COUNT:
        return float(question.layout.gpu_count)
    workload = question.workload
    return workload.feature_map.get(name, UNSAID) if isinstance(workload, CustomWorkload) else UNSAID
