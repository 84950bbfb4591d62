"""Learn the kinds of custom jobs that a bundle carries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictor.custom.bayes import Opinion, regress
from predictor.custom.encoding import learn_encoding
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
    return {
        kind: train_kind(kind, seen, seed, np.ones(len(seen)))
        for kind, seen in timed_by_kind(observations).items()
        if len(seen) >= MIN_ROWS
    }


def timed_by_kind(observations: Sequence[Observation]) -> dict[str, list[Observation]]:
    """The timed custom jobs of each kind."""
    by_kind: dict[str, list[Observation]] = {}
    for observation in observations:
        if isinstance(observation.question.workload, CustomWorkload) and observation.runtime_s is not None:
            by_kind.setdefault(observation.question.workload.kind, []).append(observation)
    return dict(sorted(by_kind.items()))


def train_kind(kind: str, seen: Sequence[Observation], seed: int, weights: Floats) -> KindModel:
    """A model of one kind; `weights` are what each job counts."""
    measured = np.log([observation.runtime_s or 1.0 for observation in seen])
    encoding = learn_encoding([observation.question for observation in seen])
    rows = with_intercept(encoding.encode([observation.question for observation in seen]))
    groups = np.array([observation.configuration for observation in seen])
    missed: list[Floats] = []
    for mask in group_folds(groups, _FOLDS, seed):
        coefficients, trees = _fit(rows[~mask], measured[~mask], weights[~mask], seed)
        missed.append(measured[mask] - rows[mask] @ coefficients - Trees(trees).predict(rows[mask]))
    coefficients, text = _fit(rows, measured, weights, seed)
    return KindModel(
        kind=kind,
        encoding=encoding,
        coefficients=coefficients,
        trees=Trees(text),
        text=text,
        deviation=middle_deviation(np.concatenate(missed)) if missed else 0.3,
        rows=len(seen),
    )


def _fit(rows: Floats, measured: Floats, weights: Floats, seed: int) -> tuple[Floats, str]:
    coefficients = power_law(rows, measured, weights)
    settings = _TREES if len(rows) >= ROWS_FOR_TREES else _NO_TREES
    text = boost(
        rows,
        measured - rows @ coefficients,
        lower_bound=np.zeros(len(rows), dtype=bool),
        weights=weights,
        growing=(),
        seed=seed,
        settings=settings,
    )
    return coefficients, text


def power_law(rows: Floats, measured: Floats, weights: Floats) -> Floats:
    """Exponents, held to at most a few where the data say nothing; the level is free."""
    deviations = np.full(rows.shape[1], 1.0)
    deviations[0] = 30.0
    opinion = Opinion(mean=np.zeros(rows.shape[1]), deviation=deviations, noise=0.2, weight=4.0)
    asked = np.eye(rows.shape[1])
    heard = np.sqrt(weights)
    return regress(opinion, rows * heard[:, None], measured * heard, asked).centre


def middle_deviation(missed: Floats) -> float:
    """Of the middle four fifths: a few wild rows must not widen every forecast."""
    low, high = np.quantile(missed, [0.1, 0.9])
    return max(float(high - low) / 2.563, 0.02)
