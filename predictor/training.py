"""Train a bundle: trees on what arithmetic missed, and how far to trust them, from groups they had not seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from predictor.boosting import Boosting, boost
from predictor.bundle import Bundle, Source, make_bundle
from predictor.calibration import calibrate
from predictor.correction import Correction, Trust
from predictor.domain import describe
from predictor.errors import NotEnoughData
from predictor.features import Task
from predictor.folds import GROUPINGS, group_folds, groups_of
from predictor.gather import Flags, Floats
from predictor.kind_training import train_kinds
from predictor.samples import Samples, samples
from predictor.telemetry import Observation
from predictor.trees import Trees

MIN_CONFIGURATIONS = 30
"""Fewer different settings of a task leave it to arithmetic, or to the bundle one starts from."""

REFERENCES = {
    Task.TRAINING_MEMORY: 450,
    Task.INFERENCE_MEMORY: 150,
    Task.TRAINING_TIME: 500,
    Task.INFERENCE_TIME: 900,
}
"""Vectors kept for distances; 2,000 in all."""

SETTINGS: Mapping[Task, Boosting] = {
    Task.TRAINING_MEMORY: Boosting(trees=250),
    Task.INFERENCE_MEMORY: Boosting(trees=120),
    Task.TRAINING_TIME: Boosting(trees=250),
    Task.INFERENCE_TIME: Boosting(trees=350, leaves=32),
}

_FOLDS = {"configuration": 4, "family": 4, "gpu_type": 4, "site": 6}
_HELD_OUT_REFERENCES = 600


def train(
    observations: Sequence[Observation],
    *,
    seed: int,
    created: str,
    git_revision: str,
    base: Bundle | None,
    metrics: Mapping[str, Any] | None = None,
) -> Bundle:
    """A bundle from observations; tasks and kinds they say too little about are taken over from `base`.

    `metrics` are scores on held-out groups, to be kept in the manifest.
    """
    corrections = dict(base.corrections) if base else {}
    for task in Task:
        found = samples(task, observations)
        if len(set(found.configuration)) >= MIN_CONFIGURATIONS:
            corrections[task] = fit(task, found, seed=seed)
    kinds = (dict(base.kinds) if base else {}) | train_kinds(observations, seed=seed)
    if not corrections and not kinds:
        raise NotEnoughData(
            f"{len(observations)} observations teach nothing yet: give at least {MIN_CONFIGURATIONS} different "
            "settings of training or inference, or five custom jobs of one kind"
        )
    return make_bundle(
        corrections,
        kinds,
        created=created,
        git_revision=git_revision,
        seed=seed,
        observations=len(observations),
        sources=sources_of(observations),
        metrics=dict(metrics or {}),
    )


def sources_of(observations: Sequence[Observation]) -> tuple[Source, ...]:
    """Where the rows came from, by name."""
    counted = Counter((observation.source, observation.licence) for observation in observations)
    return tuple(Source(name=name, licence=licence, rows=rows) for (name, licence), rows in sorted(counted.items()))


def fit(task: Task, found: Samples, *, seed: int, settings: Boosting | None = None) -> Correction:
    """Learn one task: the trees on all rows, trust and calibration on rows held out group by group."""
    settings = settings or SETTINGS[task]
    held_out = hold_out(task, found, seed=seed, settings=settings)
    trust = choose_trust(held_out)
    left = held_out.residuals - trust.at(held_out.distances) * held_out.shifts
    text = grow(task, found, seed=seed, settings=settings)
    table = task.features
    return Correction(
        task=task,
        trees=Trees(text),
        text=text,
        domain=describe(found.rows[:, table.fixed], found.rows[:, table.growing], limit=REFERENCES[task]),
        trust=trust,
        calibration=calibrate(left, held_out.lower_bound, held_out.weights, held_out.distances, bucket_edges(held_out)),
        rows=len(found),
        configurations=len(set(found.configuration)),
    )


def grow(task: Task, found: Samples, *, seed: int, settings: Boosting) -> str:
    """The trees of a task as LightGBM text."""
    return boost(
        found.rows,
        found.residuals,
        lower_bound=found.lower_bound,
        weights=found.weights,
        growing=task.features.growing,
        seed=seed,
        settings=settings,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What trees said of rows they had not seen, all groupings one after the other."""

    residuals: Floats
    lower_bound: Flags
    shifts: Floats
    distances: Floats
    weights: Floats


def hold_out(task: Task, found: Samples, *, seed: int, settings: Boosting) -> HeldOut:
    """Hold out settings, families, cards and sources in turn; each grouping weighs the same."""
    parts: list[tuple[Samples, Floats, Floats]] = []
    table = task.features
    for grouping in GROUPINGS:
        for mask in group_folds(groups_of(found, grouping), _FOLDS[grouping], seed):
            rest, held = found.take(~mask), found.take(mask)
            trees = Trees(grow(task, rest, seed=seed, settings=settings))
            domain = describe(rest.rows[:, table.fixed], rest.rows[:, table.growing], limit=_HELD_OUT_REFERENCES)
            parts.append((held, trees.predict(held.rows), domain.distance(held.rows[:, table.fixed])))
    return HeldOut(
        residuals=np.concatenate([held.residuals for held, _, _ in parts]),
        lower_bound=np.concatenate([held.lower_bound for held, _, _ in parts]),
        shifts=np.concatenate([shifts for _, shifts, _ in parts]),
        distances=np.concatenate([distances for _, _, distances in parts]),
        weights=np.concatenate([held.weights for held, _, _ in parts]),
    )


def choose_trust(held_out: HeldOut) -> Trust:
    """The trust that leaves the least absolute error on held-out rows, among a grid."""
    spread = (
        np.quantile(held_out.distances[held_out.distances > 0], [0.2, 0.4, 0.6, 0.8])
        if (held_out.distances > 0).any()
        else np.array([1.0])
    )
    grid = [
        Trust(near=near, far=far, distance=max(float(distance), 0.05))
        for near, far, distance in product((0.25, 0.5, 0.75, 0.9, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0), spread)
        if far <= near
    ]
    return min(grid, key=lambda trust: _loss(trust, held_out))


def _loss(trust: Trust, held_out: HeldOut) -> float:
    left = held_out.residuals - trust.at(held_out.distances) * held_out.shifts
    missed = np.where(held_out.lower_bound, np.maximum(left, 0.0), np.abs(left))
    return float(np.average(missed, weights=held_out.weights))


def bucket_edges(held_out: HeldOut) -> list[float]:
    """Distances that part held-out rows into near, further and far: the quartiles of those not at a known place."""
    away = held_out.distances[held_out.distances > 0]
    if not len(away):
        return []
    return sorted({round(float(edge), 6) for edge in np.quantile(away, [0.25, 0.5, 0.75, 0.9])})
