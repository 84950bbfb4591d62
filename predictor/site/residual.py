"""What one site taught: how its jobs differ from what the bundle had learned elsewhere.

The bundle's forecast is the opinion before; the posterior mean of the site's Gaussian process corrects it, and the
variance left narrows its band. Along the size of a job at a fixed layout a forecast keeps its order: the corrected
curve is replaced by the mean of its rising envelopes from below and above, and the band's width knows no size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from predictor.errors import InvalidBundle
from predictor.features import Task
from predictor.gather import Floats
from predictor.learned.correction import BEYOND_KNOWN, LEAST_SAY, Corrected
from predictor.site.kernel import (
    Kernel,
    Points,
    alike,
    columns_of,
    likeness,
    points,
    product,
    settleable,
    settleable_at_most,
    size_of,
)

FAMILIAR = 0.8
"""Share of the doubt about a job that the site's own jobs must have settled for it to be called in domain."""

_DIGITS = 9  # of a logarithm: the last bits of a product depend on how many rows were asked together
_KNOTS_A_REACH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The correction of one task at one site."""

    task: Task
    kernel: Kernel
    known: Points
    """The jobs that forecasts are compared with, at most a few hundred."""
    weights: Floats
    """(known,): what each of them adds to the residual of a job just like it."""
    tilt: float
    """To add to the learned correction's share, as the site bears it out: -1 would put it off."""
    anchors: Points
    """The jobs that the remaining doubt is measured by."""
    settled: Floats
    """(anchors, anchors): factor of the matrix that turns likeness to the anchors into variance explained."""
    noise: float
    """Standard deviation of what no feature explains, as the site shows it."""
    sureness: float
    """How far, from 0 to 1, the band follows the doubt that remains: a few jobs prove little about their own spread."""
    width: float
    """Of the band, times that: from residuals of jobs left out one at a time."""
    largest: Floats
    """Upper ends of the growing features, over the site and what the bundle had seen."""
    rows: int
    configurations: int
    _curve: tuple[Floats, Floats] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_curve", self._size_curve())  # drawn once, for every forecast

    def refine(self, rows: Floats, base: Corrected) -> Corrected:
        """The correction of the bundle, corrected by the site; one value per row of features."""
        asked = points(self.task, self.kernel, rows, base.shift)
        said = self._said(rows, asked)
        explained = self.explained(asked)
        beyond = np.minimum(base.beyond, self._beyond(rows))
        least, most = self.noise**2, self.noise**2 + settleable_at_most(self.kernel)
        left = ((least + (1.0 - explained) * (most - least)) / most) ** (0.5 * self.sureness)
        return replace(
            base,
            shift=base.shift * (1.0 + self.tilt) + said.round(_DIGITS),
            beyond=beyond,
            spread=base.spread * self.width * left.round(_DIGITS),
            learned=base.learned | (explained >= LEAST_SAY),
            in_domain=base.in_domain | ((explained >= FAMILIAR) & (beyond <= BEYOND_KNOWN)),
        )

    def explained(self, asked: Points) -> Floats:
        """(n,): the share of the doubt before that the site's own jobs have settled."""
        seen = product(settleable(self.kernel, asked, self.anchors), self.settled.T)
        share: Floats = np.clip((seen**2).sum(axis=1) / settleable_at_most(self.kernel), 0.0, 1.0)
        return share

    def _said(self, rows: Floats, asked: Points) -> Floats:
        k, known = self.kernel, self.known
        habits, fixed = alike(asked, known)
        flat = k.offset**2 * self.weights.sum() + (k.habit**2 * habits + k.particular**2 * fixed) @ self.weights
        pull = fixed * likeness(asked.batch, known.batch) * (k.size**2 * self.weights)
        knots, reached = self._curve
        curve = knots + product(pull, reached)
        up = np.maximum.accumulate(curve, axis=1)
        down = np.minimum.accumulate(curve[:, ::-1], axis=1)[:, ::-1]
        said: Floats = flat + _interpolate(size_of(self.task, rows), knots, 0.5 * (up + down))
        return said

    def _size_curve(self) -> tuple[Floats, Floats]:
        """Sizes at which the curve is drawn, and (sizes, known) how far each known job reaches there."""
        reach = self.kernel.size_reach
        low, high = (float(end) * reach for end in (self.known.size.min() - 3.0, self.known.size.max() + 3.0))
        knots = np.linspace(low, high, 2 + int(_KNOTS_A_REACH * (high - low) / reach))
        return knots, likeness(knots[:, None] / reach, self.known.size)

    def _beyond(self, rows: Floats) -> Floats:
        above: Floats = np.maximum(rows[:, self.task.features.growing] - self.largest, 0.0).sum(axis=1)
        return above

    def to_json(self) -> dict[str, object]:
        """Numbers in full: small weights of large opposite sign make up a correction."""
        return {
            "task": str(self.task),
            "features": self.task.features.hash,
            "kernel": asdict(self.kernel),
            "known": _to_lists(self.known),
            "weights": self.weights.tolist(),
            "tilt": self.tilt,
            "anchors": _to_lists(self.anchors),
            "settled": self.settled.tolist(),
            "noise": self.noise,
            "sureness": self.sureness,
            "width": self.width,
            "largest": self.largest.tolist(),
            "rows": self.rows,
            "configurations": self.configurations,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Site:
        """Raises InvalidBundle where the numbers do not belong together."""
        try:
            task = Task(raw["task"])
            if raw["features"] != task.features.hash:
                raise InvalidBundle(f"the site's {task} has other features than this Pythia: train again")
            site = cls(
                task=task,
                kernel=Kernel(**{name: float(value) for name, value in raw["kernel"].items()}),
                known=_from_lists(raw["known"], task),
                weights=np.asarray(raw["weights"], dtype=np.float64),
                tilt=float(raw["tilt"]),
                anchors=_from_lists(raw["anchors"], task),
                settled=np.asarray(raw["settled"], dtype=np.float64),
                noise=float(raw["noise"]),
                sureness=float(raw["sureness"]),
                width=float(raw["width"]),
                largest=np.asarray(raw["largest"], dtype=np.float64),
                rows=int(raw["rows"]),
                configurations=int(raw["configurations"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            raise InvalidBundle(f"what a site taught is unreadable ({error})") from None
        count = len(site.anchors)
        fits = (
            site.weights.shape == (len(site.known),)
            and site.settled.shape == (count, count)
            and site.largest.shape == (len(task.features.growing),)
            and all(np.isfinite(part).all() for part in (site.weights, site.settled, site.largest))
            and site.tilt >= -1.0
            and min(site.noise, site.width) > 0
            and 0.0 <= site.sureness <= 1.0
        )
        if not fits:
            raise InvalidBundle(f"what a site taught of {task} does not fit together")
        return site


def _interpolate(at: Floats, knots: Floats, curves: Floats) -> Floats:
    """What each row's own curve adds to `at`; beyond the knots as much as at the nearest."""
    inside = np.clip(at, knots[0], knots[-1])
    step = knots[1] - knots[0]
    place = np.minimum(((inside - knots[0]) / step).astype(np.intp), len(knots) - 2)
    share = (inside - knots[place]) / step
    row = np.arange(len(at))
    added: Floats = (1.0 - share) * curves[row, place] + share * curves[row, place + 1] - inside
    return added


def _to_lists(known: Points) -> dict[str, object]:
    return {name: getattr(known, name).tolist() for name in Points.__slots__}


def _from_lists(raw: Mapping[str, Any], task: Task) -> Points:
    known = Points(**{name: np.asarray(raw[name], dtype=np.float64) for name in Points.__slots__})
    at = columns_of(task)
    habits = len(at.habits)
    fixed = habits + len(at.model) + len(at.layout)
    widths = {"habits": habits, "fixed": fixed, "batch": len(at.batch), "size": 1}
    for name, width in widths.items():
        if getattr(known, name).shape != (len(known), width):
            raise ValueError(f"{name} of the known jobs has the wrong shape")
    if not len(known) or not all(np.isfinite(getattr(known, name)).all() for name in Points.__slots__):
        raise ValueError("the known jobs are none, or not finite")
    return known
