"""How widely held-out rows are missed: which questions are hard, and the distribution of all once that is taken out.

Memory promises an upper end that a card must hold. Near the data every configuration has one vote, as split conformal
prediction asks of rows that may change places. Beyond the reach of the data they may not: five sources are too few for
the 95th percentile of a sixth, so there the margin of bare arithmetic stands. Time was measured by three times as many
sources, and those left out, three votes each, say themselves how far off the next one is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.calibration import Calibration, calibrate, lifted
from predictor.features import Task
from predictor.gather import Flags, Floats
from predictor.learned.boosting import NO_TREES, Boosting, boost
from predictor.learned.correction import Spread, spread_reach
from predictor.learned.domain import Domain
from predictor.learned.folds import group_folds
from predictor.learned.held_out import NEAREST, HeldOut
from predictor.learned.recipe import SHIPPED, Recipe
from predictor.learned.samples import Words
from predictor.learned.trees import Trees
from predictor.quantiles import MEMORY_MARGIN

_SPREAD = Boosting(trees=60, leaves=8, min_rows=40, ridge=20.0, width=1.0)
_EASIEST = 0.02  # a miss smaller than this is luck, and its logarithm would rule the fit
_FOLDS = 4
_MIDDLE = 0.4  # of the reach: parts what is another model or layout from what is hardly known


@dataclass(frozen=True, slots=True, kw_only=True)
class Misses:
    """Held-out rows that say how wide bands must be; all arrays have the same length."""

    apart: Floats
    """log(measured / forecast), lifted as the task's bands are."""
    lower_bound: Flags
    configuration: Words
    columns: Floats
    """What the spread reads: features that do not grow with the job, and the distance."""
    distances: Floats
    weights: Floats

    def take(self, chosen: Flags) -> Misses:
        """The rows of a mask."""
        return Misses(**{name: getattr(self, name)[chosen] for name in self.__slots__})


def misses(task: Task, held_out: HeldOut, left: Floats, domain: Domain) -> Misses:
    """What forecasts left of the residuals of held-out rows, as far from the data as they may speak."""
    lift = MEMORY_MARGIN.lift if task.is_memory else 0.0
    found = Misses(
        apart=lifted(held_out.measured, lift) - lifted(held_out.measured - left, lift) if lift else left,
        lower_bound=held_out.lower_bound,
        configuration=held_out.configuration,
        columns=np.column_stack([held_out.steady, held_out.distances]),
        distances=held_out.distances,
        weights=held_out.once / held_out.once.mean() if task.is_memory else held_out.weights,
    )
    return found.take(found.distances <= domain.reach) if task.is_memory else found


def learn_bands(
    task: Task, found: Misses, domain: Domain, *, seed: int, recipe: Recipe = SHIPPED
) -> tuple[Spread, Calibration]:
    """The spread of a task, and the quantiles of its misses in units of a spread that had not seen them."""
    reach = spread_reach(task, domain)
    spread = _grow(found, reach, seed) if recipe.spread else _no_spread(found, reach)
    unseen = np.ones(len(found.apart))
    for mask in group_folds(found.configuration, _FOLDS, seed) if recipe.spread else ():
        held = found.take(mask)
        unseen[mask] = _grow(found.take(~mask), reach, seed).at(held.columns[:, :-1], held.distances)
    edges = [NEAREST, _MIDDLE * domain.reach, domain.reach] if task.is_memory else _quartiles(found)
    calibration = calibrate(
        found.apart / unseen,
        found.lower_bound,
        found.weights,
        found.distances,
        edges if recipe.by_distance else [],
        far=MEMORY_MARGIN if task.is_memory and recipe.by_distance else None,
        lift=MEMORY_MARGIN.lift if task.is_memory else 0.0,
    )
    return spread, calibration


def _grow(found: Misses, reach: float, seed: int) -> Spread:
    """Trees that tell how widely rows are missed, relative to the usual."""
    if not len(found.apart):
        return _no_spread(found, reach)
    size = np.where(found.lower_bound, np.maximum(found.apart, 0.0), np.abs(found.apart))
    missed = np.log(size + _EASIEST)
    text = boost(
        found.columns,
        missed - np.average(missed, weights=found.weights),
        lower_bound=np.zeros(len(missed), dtype=bool),
        weights=found.weights,
        growing=(found.columns.shape[1] - 1,),
        seed=seed,
        settings=_SPREAD,
    )
    return Spread(trees=Trees(text), text=text, reach=reach)


def _no_spread(found: Misses, reach: float) -> Spread:
    none = NO_TREES.format(last=found.columns.shape[1] - 1)
    return Spread(trees=Trees(none), text=none, reach=reach)


def _quartiles(found: Misses) -> list[float]:
    """Distances that part held-out rows into near, further and far: the quartiles of those not at a known place."""
    away = found.distances[found.distances > 0]
    if not len(away):
        return []
    return sorted({NEAREST, *(round(float(edge), 6) for edge in np.quantile(away, [0.25, 0.5, 0.75, 0.9]))})
