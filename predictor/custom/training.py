"""Learn the kinds of custom jobs that a bundle carries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictor.custom.bayes import Opinion, regress
from predictor.custom.encoding import Encoding, learn_encoding
from predictor.custom.kinds import KindModel, with_intercept
from predictor.gather import Floats
from predictor.learned.boosting import Boosting, boost
from predictor.learned.folds import group_folds
from predictor.learned.trees import Trees
from predictor.telemetry import Observation
from predictor.workload import CustomWorkload

MIN_ROWS = 5
ROWS_FOR_TREES = 200
_FOLDS = 5
_NO_TREES = Boosting(trees=0)
_TREES = Boosting(trees=150, leaves=24, min_rows=12)


def train_kinds(observations: Sequence[Observation], *, seed: int) -> dict[str, KindModel]:
    """A model of each kind with enough timed jobs."""
    by_kind: dict[str, list[Observation]] = {}
    for observation in observations:
        if isinstance(observation.question.workload, CustomWorkload) and observation.runtime_s is not None:
            by_kind.setdefault(observation.question.workload.kind, []).append(observation)
    return {kind: _train(kind, seen, seed) for kind, seen in sorted(by_kind.items()) if len(seen) >= MIN_ROWS}


def _train(kind: str, seen: Sequence[Observation], seed: int) -> KindModel:
    measured = np.log([observation.runtime_s or 1.0 for observation in seen])
    encoding = learn_encoding([observation.question for observation in seen])
    rows = with_intercept(encoding.encode([observation.question for observation in seen]))
    groups = np.array([observation.configuration for observation in seen])
    missed: list[Floats] = []
    for mask in group_folds(groups, _FOLDS, seed):
        coefficients, trees = _fit(encoding, rows[~mask], measured[~mask], seed)
        missed.append(measured[mask] - rows[mask] @ coefficients - Trees(trees).predict(rows[mask]))
    coefficients, text = _fit(encoding, rows, measured, seed)
    return KindModel(
        kind=kind,
        encoding=encoding,
        coefficients=coefficients,
        trees=Trees(text),
        text=text,
        deviation=_deviation(np.concatenate(missed)) if missed else 0.3,
        rows=len(seen),
    )


def _fit(encoding: Encoding, rows: Floats, measured: Floats, seed: int) -> tuple[Floats, str]:
    coefficients = _power_law(rows, measured)
    settings = _TREES if len(rows) >= ROWS_FOR_TREES else _NO_TREES
    everything = np.ones(len(rows))
    text = boost(
        rows,
        measured - rows @ coefficients,
        lower_bound=np.zeros(len(rows), dtype=bool),
        weights=everything,
        growing=(),
        seed=seed,
        settings=settings,
    )
    return coefficients, text


def _power_law(rows: Floats, measured: Floats) -> Floats:
    """Exponents, held to at most a few where the data say nothing; the level is free."""
    deviations = np.full(rows.shape[1], 1.0)
    deviations[0] = 30.0
    opinion = Opinion(mean=np.zeros(rows.shape[1]), deviation=deviations, noise=0.2, weight=4.0)
    asked = np.eye(rows.shape[1])
    return regress(opinion, rows, measured, asked).centre


def _deviation(missed: Floats) -> float:
    """Of the middle four fifths: a few wild rows must not widen every forecast."""
    low, high = np.quantile(missed, [0.1, 0.9])
    return max(float(high - low) / 2.563, 0.02)
