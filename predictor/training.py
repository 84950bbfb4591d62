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
from predictor.correction import Correction, Layer, Spread, Trust
from predictor.domain import describe
from predictor.errors import NotEnoughData
from predictor.features import Task
from predictor.folds import GROUPINGS, group_folds, groups_of
from predictor.gather import Flags, Floats
from predictor.kind_training import train_kinds
from predictor.samples import Samples, Words, samples
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the two layers of a task are grown."""

    habits: Boosting
    particulars: Boosting


SETTINGS: Mapping[Task, Settings] = {
    Task.TRAINING_MEMORY: Settings(habits=Boosting(trees=100, leaves=8), particulars=Boosting(trees=200)),
    Task.INFERENCE_MEMORY: Settings(habits=Boosting(trees=40, leaves=8), particulars=Boosting(trees=100)),
    Task.TRAINING_TIME: Settings(habits=Boosting(trees=100, leaves=8), particulars=Boosting(trees=200, width=0.05)),
    Task.INFERENCE_TIME: Settings(
        habits=Boosting(trees=100, leaves=8, min_rows=40, ridge=20.0),
        particulars=Boosting(trees=400, leaves=32, min_rows=6, ridge=2.0, width=0.05),
    ),
}

_SPREAD = Boosting(trees=60, leaves=8, min_rows=40, ridge=20.0, width=1.0)
_EASIEST = 0.02  # a miss smaller than this is luck, and its logarithm would rule the fit
_SPREAD_FOLDS = 4

_FOLDS = {"configuration": 4, "family": 4, "gpu_type": 4, "site": 6}
_WEIGHTS = {"configuration": 1.0, "family": 1.0, "gpu_type": 1.0, "site": 3.0}
"""What counts for trust and calibration: most of those who ask belong to no source that was trained on."""

_HELD_OUT_REFERENCES = 600
_NEAREST = 0.05  # distance below which two settings are the same for all we know


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


def fit(task: Task, found: Samples, *, seed: int) -> Correction:
    """Learn one task: the trees on all rows, trust and calibration on rows held out group by group."""
    held_out = hold_out(task, found, seed=seed)
    habits, particulars = choose_trust(held_out)
    table = task.features
    texts = grow(task, found, seed=seed)
    left = held_out.left(habits, particulars)
    spread = Trees(spread_text := _spread(held_out, left, seed))
    return Correction(
        task=task,
        habits=Layer(trees=Trees(texts[0]), text=texts[0], trust=habits),
        particulars=Layer(trees=Trees(texts[1]), text=texts[1], trust=particulars),
        spread=Spread(trees=spread, text=spread_text),
        domain=describe(found.rows[:, table.fixed], found.rows[:, table.growing], limit=REFERENCES[task]),
        calibration=calibrate(
            left / _spread_held_out(held_out, left, seed),
            held_out.lower_bound,
            held_out.weights,
            held_out.distances,
            bucket_edges(held_out),
        ),
        rows=len(found),
        configurations=len(set(found.configuration)),
    )


def grow(task: Task, found: Samples, *, seed: int) -> tuple[str, str]:
    """The trees of habits, and those of what the habits leave, as LightGBM text."""
    table, settings = task.features, SETTINGS[task]
    habits = _boost(found, table.habits, found.residuals, table.growing, seed, settings.habits)
    left = found.residuals - Trees(habits).predict(found.rows[:, table.habits])
    return habits, _boost(found, table.all, left, table.growing, seed, settings.particulars)


def _boost(
    found: Samples,
    columns: tuple[int, ...],
    residuals: Floats,
    growing: tuple[int, ...],
    seed: int,
    settings: Boosting,
) -> str:
    return boost(
        found.rows[:, columns],
        residuals,
        lower_bound=found.lower_bound,
        weights=found.weights,
        growing=[place for place, column in enumerate(columns) if column in growing],
        seed=seed,
        settings=settings,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What trees said of rows they had not seen, all groupings one after the other."""

    residuals: Floats
    lower_bound: Flags
    configuration: Words
    steady: Floats
    """Features that do not grow with the job."""
    habits: Floats
    particulars: Floats
    distances: Floats
    weights: Floats

    def take(self, chosen: Flags) -> HeldOut:
        """The rows of a mask."""
        return HeldOut(**{name: getattr(self, name)[chosen] for name in self.__slots__})

    def left(self, habits: Trust, particulars: Trust) -> Floats:
        """What the layers, trusted so far, leave of the residuals."""
        said = habits.at(self.distances) * self.habits + particulars.at(self.distances) * self.particulars
        return self.residuals - said

    def loss(self, habits: Trust, particulars: Trust) -> float:
        """Mean absolute rest; of a lower bound only what is missing to it."""
        left = self.left(habits, particulars)
        missed = np.where(self.lower_bound, np.maximum(left, 0.0), np.abs(left))
        return float(np.average(missed, weights=self.weights))


def hold_out(task: Task, found: Samples, *, seed: int) -> HeldOut:
    """Hold out settings, families, cards and sources in turn."""
    table = task.features
    parts: list[HeldOut] = []
    for grouping in GROUPINGS:
        for mask in group_folds(groups_of(found, grouping), _FOLDS[grouping], seed):
            rest, held = found.take(~mask), found.take(mask)
            habits, particulars = (Trees(text) for text in grow(task, rest, seed=seed))
            domain = describe(rest.rows[:, table.fixed], rest.rows[:, table.growing], limit=_HELD_OUT_REFERENCES)
            parts.append(
                HeldOut(
                    residuals=held.residuals,
                    lower_bound=held.lower_bound,
                    configuration=held.configuration,
                    steady=held.rows[:, table.steady],
                    habits=habits.predict(held.rows[:, table.habits]),
                    particulars=particulars.predict(held.rows),
                    distances=domain.distance(held.rows[:, table.fixed]),
                    weights=_WEIGHTS[grouping] * held.weights,
                )
            )
    return HeldOut(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in HeldOut.__slots__})


def choose_trust(held_out: HeldOut) -> tuple[Trust, Trust]:
    """The trust in habits and in particulars that leaves the least on held-out rows, each chosen given the other."""
    away = held_out.distances[held_out.distances > 0]
    edges = np.quantile(away, [0.2, 0.4, 0.6, 0.8]) if len(away) else np.empty(0)
    scales = {_NEAREST, *(max(float(edge), _NEAREST) for edge in edges)}
    grid = [
        Trust(near=near, far=far, distance=distance)
        for near, far, distance in product(
            (0.0, 0.25, 0.5, 0.75, 0.9, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0), sorted(scales)
        )
        if far <= near
    ]
    none = Trust(near=0.0, far=0.0, distance=_NEAREST)
    habits = min(grid, key=lambda trust: held_out.loss(trust, none))
    particulars = min(grid, key=lambda trust: held_out.loss(habits, trust))
    habits = min(grid, key=lambda trust: held_out.loss(trust, particulars))
    return habits, particulars


def _spread(held_out: HeldOut, left: Floats, seed: int) -> str:
    """Trees that tell how widely held-out rows were missed, relative to the usual."""
    missed = np.log(np.where(held_out.lower_bound, np.maximum(left, 0.0), np.abs(left)) + _EASIEST)
    columns = np.column_stack([held_out.steady, held_out.distances])
    return boost(
        columns,
        missed - np.average(missed, weights=held_out.weights),
        lower_bound=np.zeros(len(missed), dtype=bool),
        weights=held_out.weights,
        growing=(columns.shape[1] - 1,),
        seed=seed,
        settings=_SPREAD,
    )


def _spread_held_out(held_out: HeldOut, left: Floats, seed: int) -> Floats:
    """The spread of each row by trees that had not seen its configuration, for an honest calibration."""
    result = np.ones(len(left))
    for mask in group_folds(held_out.configuration, _SPREAD_FOLDS, seed):
        rest = held_out.take(~mask)
        spread = Spread(trees=Trees(text := _spread(rest, left[~mask], seed)), text=text)
        result[mask] = spread.at(held_out.steady[mask], held_out.distances[mask])
    return result


def bucket_edges(held_out: HeldOut) -> list[float]:
    """Distances that part held-out rows into near, further and far: the quartiles of those not at a known place."""
    away = held_out.distances[held_out.distances > 0]
    if not len(away):
        return []
    return sorted({round(float(edge), 6) for edge in np.quantile(away, [0.25, 0.5, 0.75, 0.9])})
