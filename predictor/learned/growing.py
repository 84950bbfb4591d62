"""Grow the two layers of trees that correct a task: the habits of software and cards, then what habits leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from predictor.features import Task
from predictor.gather import Floats
from predictor.learned.boosting import Boosting, boost
from predictor.learned.recipe import SHIPPED, Growth
from predictor.learned.samples import Samples
from predictor.learned.trees import Trees


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


_SQUARED = 100.0
"""A width of the loss that no residual leaves."""


def grow(task: Task, found: Samples, *, seed: int, growth: Growth = SHIPPED.growth) -> tuple[str, str]:
    """The trees of habits, and those of what the habits leave, as LightGBM text."""
    table, settings = task.features, SETTINGS[task]
    growing = table.growing if growth.monotone else ()
    habits = _boost(found, table.habits, found.residuals, growing, seed, _grown(settings.habits, growth.habits, growth))
    left = found.residuals - Trees(habits).predict(found.rows[:, table.habits])
    return habits, _boost(
        found, table.all, left, growing, seed, _grown(settings.particulars, growth.particulars, growth)
    )


def _grown(settings: Boosting, wanted: bool, growth: Growth) -> Boosting:
    kept = settings if wanted else replace(settings, trees=0)
    return kept if growth.bent_loss else replace(kept, width=_SQUARED)


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
