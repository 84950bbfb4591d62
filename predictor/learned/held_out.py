"""Rows that trees had not seen, and how far to trust the trees there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from predictor.features import Task
from predictor.gather import Flags, Floats
from predictor.learned.correction import Trust
from predictor.learned.domain import describe
from predictor.learned.folds import GROUPINGS, group_folds, groups_of
from predictor.learned.growing import grow
from predictor.learned.recipe import SHIPPED, Growth
from predictor.learned.samples import Samples, Words
from predictor.learned.trees import Trees

_FOLDS = {"configuration": 4, "family": 4, "gpu_type": 4, "site": 6}
_WEIGHTS = {"configuration": 1.0, "family": 1.0, "gpu_type": 1.0, "site": 3.0}
"""What counts for trust and for the bands of time: most of those who ask belong to no source that was trained on."""

_ALIKE = 1.005
"""Losses of trusts that held-out rows cannot tell apart, one over the other."""

_HELD_OUT_REFERENCES = 600
NEAREST = 0.01
"""Distance below which two questions differ in their sizes alone; sister models of equal width are some 0.05 apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What trees said of rows they had not seen, all groupings one after the other."""

    residuals: Floats
    measured: Floats
    """The measurement itself, or its lower bound, as a logarithm."""
    lower_bound: Flags
    configuration: Words
    steady: Floats
    """Features that do not grow with the job."""
    habits: Floats
    particulars: Floats
    distances: Floats
    weights: Floats
    """Of groupings and sources, as trust counts them."""
    balance: Floats
    """The part of `weights` that keeps a large source from outvoting the others."""
    once: Floats
    """Every configuration counts once in each grouping, however often it was repeated."""

    def take(self, chosen: Flags) -> HeldOut:
        """The rows of a mask."""
        return HeldOut(**{name: getattr(self, name)[chosen] for name in self.__slots__})

    def unbalanced(self) -> HeldOut:
        """The same rows, every setting with an equal say whatever its source."""
        return replace(self, weights=self.weights / self.balance)

    def left(self, habits: Trust, particulars: Trust) -> Floats:
        """What the layers, trusted so far, leave of the residuals."""
        said = habits.at(self.distances) * self.habits + particulars.at(self.distances) * self.particulars
        return self.residuals - said

    def loss(self, habits: Trust, particulars: Trust) -> float:
        """Mean absolute rest; of a lower bound only what is missing to it."""
        left = self.left(habits, particulars)
        missed = np.where(self.lower_bound, np.maximum(left, 0.0), np.abs(left))
        return float(np.average(missed, weights=self.weights))


def hold_out(task: Task, found: Samples, *, seed: int, growth: Growth = SHIPPED.growth) -> HeldOut:
    """Hold out settings, families, cards and sources in turn."""
    table = task.features
    balance = _source_balance(found)
    parts: list[HeldOut] = []
    for grouping in GROUPINGS:
        for mask in group_folds(groups_of(found, grouping), _FOLDS[grouping], seed):
            rest, held = found.take(~mask), found.take(mask)
            habits, particulars = (Trees(text) for text in grow(task, rest, seed=seed, growth=growth))
            domain = describe(rest.rows[:, table.fixed], rest.rows[:, table.growing], limit=_HELD_OUT_REFERENCES)
            parts.append(
                HeldOut(
                    residuals=held.residuals,
                    measured=held.measured,
                    lower_bound=held.lower_bound,
                    configuration=held.configuration,
                    steady=held.rows[:, table.steady],
                    habits=habits.predict(held.rows[:, table.habits]),
                    particulars=particulars.predict(held.rows),
                    distances=domain.distance(held.rows[:, table.fixed]),
                    weights=_WEIGHTS[grouping] * balance[mask] * held.weights,
                    balance=balance[mask],
                    once=held.weights,
                )
            )
    return HeldOut(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in HeldOut.__slots__})


def _source_balance(found: Samples) -> Floats:
    """A source with a hundred times the settings of another counts ten times as much: each is one way to measure."""
    _, place = np.unique(found.source, return_inverse=True)
    settings = np.bincount(place, weights=found.weights)
    return np.asarray(settings[place] ** -0.5)


def choose_trust(held_out: HeldOut, *, several_sites: bool = True) -> tuple[Trust, Trust]:
    """The trust in habits and in particulars that leaves the least on held-out rows, each chosen given the other.

    What one site alone has measured says nothing of others, and is trusted near its own jobs only.
    """
    away = held_out.distances[held_out.distances > 0]
    edges = np.quantile(away, [0.2, 0.4, 0.6, 0.8]) if len(away) else np.empty(0)
    scales = {NEAREST, 5 * NEAREST, *(max(float(edge), NEAREST) for edge in edges)}
    grid = [
        Trust(near=near, far=far, distance=distance)
        for near, far, distance in product(
            (0.0, 0.25, 0.5, 0.75, 0.9, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0), sorted(scales)
        )
        if far <= (near if several_sites else 0.0)
    ]
    none = Trust(near=0.0, far=0.0, distance=NEAREST)
    habits = min(grid, key=lambda trust: held_out.loss(trust, none))
    particulars = _modest(grid, lambda trust: held_out.loss(habits, trust))
    habits = _modest(grid, lambda trust: held_out.loss(trust, particulars))
    return habits, particulars


def _modest(grid: Sequence[Trust], loss: Callable[[Trust], float]) -> Trust:
    """The best, unless one that fades sooner is as good: whoever asks is likely further off than any group held out."""
    losses = {trust: loss(trust) for trust in grid}
    best = min(grid, key=losses.__getitem__)
    alike = [trust for trust in grid if (trust.near, trust.far) == (best.near, best.far)]
    return min((one for one in alike if losses[one] <= _ALIKE * losses[best]), key=lambda trust: trust.distance)
