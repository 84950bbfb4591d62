"""What was learned about one task, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictor.calibration import Calibration
from predictor.errors import InvalidBundle
from predictor.features import Task
from predictor.gather import Flags, Floats, distinct_rows
from predictor.learned.domain import Domain
from predictor.learned.trees import Trees

BEYOND_KNOWN = float(np.log(2.0))
"""Sizes may be twice the largest seen before a forecast is called a step outside."""


MOST_SPREAD = 1.5
"""Logarithm of the most that one question is taken to be easier or harder than another."""

LEAST_SAY = 0.1
"""Share of the learned correction below which a forecast is called arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What share of the learned correction is applied at a distance from the training data.

    Held-out groups chose it: trees extrapolate by repeating the nearest leaf, which on work unlike any
    seen is worse than arithmetic alone.
    """

    near: float
    far: float
    distance: float
    """Where half the way from `near` to `far` is gone."""

    def at(self, distance: Floats) -> Floats:
        """The share for each row."""
        return self.far + (self.near - self.far) / (1.0 + (distance / self.distance) ** 2)

    def to_json(self) -> dict[str, float]:
        return {"near": self.near, "far": self.far, "distance": self.distance}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Trust:
        """Raises KeyError, TypeError or ValueError where `raw` is not what `to_json` wrote."""
        trust = cls(near=float(raw["near"]), far=float(raw["far"]), distance=float(raw["distance"]))
        if not (0.0 <= trust.far <= trust.near <= 1.0 and trust.distance > 0.0):
            raise ValueError(f"a trust of {trust.near} near and {trust.far} far cannot be")
        return trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """The correction of a list of questions, in natural logarithms; one value per row."""

    shift: Floats
    """To add to the logarithm of the arithmetic."""
    distance: Floats
    """From the nearest known layout, card and model."""
    beyond: Floats
    """How far sizes are above the largest seen."""
    spread: Floats
    """How much wider than usual such questions miss, as a factor."""
    learned: Flags
    """False where the trees have next to no say."""
    in_domain: Flags


def uncorrected(count: int) -> Corrected:
    """The correction of questions about a task that nothing was learned about."""
    none, no = np.zeros(count), np.zeros(count, dtype=bool)
    return Corrected(shift=none, distance=none, beyond=none, spread=np.ones(count), learned=no, in_domain=no)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Trees over some columns of a task, and how far to trust them."""

    trees: Trees
    text: str
    """The trees as LightGBM writes them."""
    trust: Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Trees that know which questions are hard: some sources of error are habits too (a toy model's step is all
    overhead, a text's length is only capped). They read nothing that grows with a job, so that upper quantiles keep
    its order, and only widen with distance."""

    trees: Trees
    text: str

    def at(self, steady: Floats, distance: Floats) -> Floats:
        """Factor of the usual width for each row."""
        told = self.trees.predict(np.column_stack([steady, distance]))
        return np.exp(np.clip(told, -MOST_SPREAD, MOST_SPREAD))


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What corrects the arithmetic of one task, with the data it stands on.

    The habits of software and cards are learned first and hold far from the data; what they leave is learned
    from all columns, model and layout among them, and holds near.
    """

    task: Task
    habits: Layer
    particulars: Layer
    spread: Spread
    domain: Domain
    calibration: Calibration
    rows: int
    configurations: int

    def correct(self, rows: Floats) -> Corrected:
        """`rows` are the features of the task, one line per question."""
        kinds = distinct_rows(rows)  # a layout's memory is the same on many cards
        once = self._correct(rows[kinds.first])
        return Corrected(**{name: getattr(once, name)[kinds.place] for name in Corrected.__slots__})

    def _correct(self, rows: Floats) -> Corrected:
        table = self.task.features
        distance = self.domain.distance(rows[:, table.fixed])
        beyond = self.domain.beyond(rows[:, table.growing])
        near, far = self.particulars.trust.at(distance), self.habits.trust.at(distance)
        # the shares depend on fixed features alone, and the trees never fall along the growing ones: so neither
        # does their product, and a forecast keeps the order of its arithmetic
        shift = far * _habitual(self.habits.trees, rows[:, table.habits]) + near * self.particulars.trees.predict(rows)
        return Corrected(
            shift=shift,
            distance=distance,
            beyond=beyond,
            spread=self.spread.at(rows[:, table.steady], distance),
            learned=np.maximum(near, far) >= LEAST_SAY,
            in_domain=(distance <= self.domain.reach) & (beyond <= BEYOND_KNOWN),
        )

    def to_json(self) -> dict[str, object]:
        """All but the trees, which are files of their own."""
        return {
            "task": str(self.task),
            "features": self.task.features.hash,
            "rows": self.rows,
            "configurations": self.configurations,
            "habits": self.habits.trust.to_json(),
            "particulars": self.particulars.trust.to_json(),
            "calibration": self.calibration.to_json(),
            "domain": self.domain.to_json(),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], habits: str, particulars: str, spread: str) -> Correction:
        """Raises InvalidBundle where the parts do not belong together."""
        try:
            task = Task(raw["task"])
            if raw["features"] != task.features.hash:
                raise InvalidBundle(
                    f"the bundle's {task} has other features than this Pythia: run `pythia train` again"
                )
            correction = cls(
                task=task,
                habits=Layer(trees=Trees(habits), text=habits, trust=Trust.from_json(raw["habits"])),
                particulars=Layer(
                    trees=Trees(particulars), text=particulars, trust=Trust.from_json(raw["particulars"])
                ),
                spread=Spread(trees=Trees(spread), text=spread),
                domain=Domain.from_json(raw["domain"]),
                calibration=Calibration.from_json(raw["calibration"]),
                rows=int(raw["rows"]),
                configurations=int(raw["configurations"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidBundle(f"what was learned of a task is unreadable ({error})") from None
        table = task.features
        fits = (
            correction.habits.trees.features == len(table.habits)
            and correction.particulars.trees.features == len(table.names)
            and correction.spread.trees.features == len(table.steady) + 1
            and len(correction.domain.scales) == len(table.fixed)
            and len(correction.domain.largest) == len(table.growing)
        )
        if not fits:
            raise InvalidBundle(f"the bundle's {task} does not fit its own features")
        return correction


def _habitual(trees: Trees, rows: Floats) -> Floats:
    """Whatever the layout, a card under one software has the same habits."""
    kinds = distinct_rows(rows)
    return trees.predict(rows[kinds.first])[kinds.place]
