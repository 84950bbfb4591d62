"""Choose a kernel: how much sites differ, and how far what one job taught reaches.

The maximum of the marginal likelihood (Rasmussen and Williams 2006, section 5.4.1) over several sites, each one's
residuals from a correction that never saw it: what explains those should explain the next site. Found by steps along
one number at a time, since the surface is smooth and a few per cent more or less change no forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from predictor.features import Task
from predictor.gather import Floats
from predictor.learned.correction import Correction, uncorrected
from predictor.learned.samples import Samples
from predictor.site.fit import Cells, belief, cells_of, choose_noise, evenly
from predictor.site.kernel import Kernel, points

LEAST_CONFIGURATIONS = 20
"""Fewer say too little about how their misses hang together."""

_EXAMINED = 100  # jobs of each site: a large one must not decide alone
_STEPS = (2.0, 1.4, 1.15)
_ROUNDS = 2  # over all numbers with each step
_START = Kernel(
    offset=0.1, habit=0.1, particular=0.1, size=0.1, doubt=0.5,
    habit_reach=2.0, model_reach=2.0, layout_reach=2.0, batch_reach=2.0, size_reach=2.0,
)  # fmt: skip
_LEAST, _MOST = 0.01, 8.0


@dataclass(frozen=True, slots=True)
class Pupil:
    """A site to learn kernels from."""

    cells: Cells
    shift: Floats
    """What a correction that never saw the site says of them."""

    @property
    def missed(self) -> Floats:
        """What there is for the kernel to explain."""
        return self.cells.residual - self.shift


def pupil(found: Samples, base: Correction | None) -> Pupil | None:
    """A site's samples, thinned; None where they are too few."""
    cells = cells_of(found)
    if len(cells) < LEAST_CONFIGURATIONS or cells.lower_bound.all():
        return None
    cells = cells.take(evenly(len(cells), _EXAMINED))
    return Pupil(cells, (base.correct(cells.rows) if base else uncorrected(len(cells))).shift)


def tune(task: Task, pupils: Sequence[Pupil]) -> Kernel:
    """The kernel that explains these sites best, each with the noise that suits it."""
    kernel, best = _START, -np.inf
    for step in _STEPS:
        for _ in range(_ROUNDS):
            noises = [_noise(task, kernel, one) for one in pupils]
            best = _belief(task, kernel, pupils, noises)
            for name in (field.name for field in fields(Kernel)):
                for factor in (step, 1.0 / step):
                    while True:
                        value = float(np.clip(getattr(kernel, name) * factor, _LEAST, _MOST))
                        tried = replace(kernel, **{name: value})
                        if tried == kernel or (found := _belief(task, tried, pupils, noises)) <= best:
                            break
                        kernel, best = tried, found
    return kernel


def _noise(task: Task, kernel: Kernel, one: Pupil) -> float:
    return choose_noise(kernel, points(task, kernel, one.cells.rows, one.shift), one.cells, one.missed)


def _belief(task: Task, kernel: Kernel, pupils: Sequence[Pupil], noises: Sequence[float]) -> float:
    return sum(
        belief(kernel, points(task, kernel, one.cells.rows, one.shift), one.cells, one.missed, noise)
        for one, noise in zip(pupils, noises, strict=True)
    )
