"""What was learned about one task, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictor.calibration import Calibration
from predictor.domain import Domain
from predictor.errors import InvalidBundle
from predictor.features import Task
from predictor.gather import Flags, Floats
from predictor.trees import Trees

BEYOND_KNOWN = float(np.log(2.0))
"""Sizes may be twice the largest seen before a forecast is called a step outside."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """The correction of a list of questions, in natural logarithms; one value per row."""

    shift: Floats
    """To add to the logarithm of the arithmetic."""
    distance: Floats
    """From the nearest known layout, card and model."""
    beyond: Floats
    """How far sizes are above the largest seen."""
    learned: Flags
    """False where the trees have next to no say."""
    in_domain: Flags


def uncorrected(count: int) -> Corrected:
    """The correction of questions about a task that nothing was learned about."""
    none, no = np.zeros(count), np.zeros(count, dtype=bool)
    return Corrected(shift=none, distance=none, beyond=none, learned=no, in_domain=no)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Trees that correct the arithmetic of one task, with the data they stand on."""

    task: Task
    trees: Trees
    text: str
    """The trees as LightGBM writes them."""
    domain: Domain
    trust: Trust
    calibration: Calibration
    rows: int
    configurations: int

    def correct(self, rows: Floats) -> Corrected:
        """`rows` are the features of the task, one line per question."""
        table = self.task.features
        distance = self.domain.distance(rows[:, table.fixed])
        beyond = self.domain.beyond(rows[:, table.growing])
        share = self.trust.at(distance)
        return Corrected(
            # the share depends on fixed features alone, and the trees never fall along the growing ones:
            # so neither does their product, and a forecast keeps the order of its arithmetic
            shift=share * self.trees.predict(rows),
            distance=distance,
            beyond=beyond,
            learned=share >= LEAST_SAY,
            in_domain=(distance <= self.domain.reach) & (beyond <= BEYOND_KNOWN),
        )

    def to_json(self) -> dict[str, object]:
        """All but the trees, which are a file of their own."""
        return {
            "task": str(self.task),
            "features": self.task.features.hash,
            "rows": self.rows,
            "configurations": self.configurations,
            "trust": {"near": self.trust.near, "far": self.trust.far, "distance": self.trust.distance},
            "calibration": self.calibration.to_json(),
            "domain": self.domain.to_json(),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], text: str) -> Correction:
        try:
            task = Task(raw["task"])
            if raw["features"] != task.features.hash:
                raise InvalidBundle(
                    f"the bundle's {task} has other features than this Pythia; train again with `pythia train`"
                )
            correction = cls(
                task=task,
                trees=Trees(text),
                text=text,
                domain=Domain.from_json(raw["domain"]),
                trust=Trust(**{name: float(raw["trust"][name]) for name in ("near", "far", "distance")}),
                calibration=Calibration.from_json(raw["calibration"]),
                rows=int(raw["rows"]),
                configurations=int(raw["configurations"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidBundle(f"what was learned of a task is unreadable ({error})") from None
        table = task.features
        fits = (
            correction.trees.features == len(table.names)
            and len(correction.domain.scales) == len(table.fixed)
            and len(correction.domain.largest) == len(table.growing)
            and correction.trust.distance > 0
        )
        if not fits:
            raise InvalidBundle(f"the bundle's {task} does not fit its own features")
        return correction
