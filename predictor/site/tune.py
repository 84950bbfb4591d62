"""Learn what sites are like from several of them: the standard deviations and reaches of a kernel.

What is asked of a kernel is that a site's next job is forecast better after one, three, ten … of its own, so that is
what is minimised: each site's jobs are drawn in a few orders, and what the first of an order leave of the others'
misses is compared with what nothing leaves. Each site's residuals come from a correction that never saw it. By the
marginal likelihood (Rasmussen and Williams 2006, section 5.4.1) one source with a large common miss makes a single job
of any other site move all its forecasts, mostly for the worse. Few sites say little: a kernel pays for every step away
from the one to begin with. Found by steps along one number at a time, since the surface is smooth and a few per cent
more or less change no forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from predictor.features import Task
from predictor.gather import Floats
from predictor.learned.correction import Correction, uncorrected
from predictor.learned.samples import Samples
from predictor.site.fit import Cells, cells_of, choose_noise, evenly, tails
from predictor.site.kernel import Kernel, covariance, points
from predictor.threads import one_thread

LEAST_CONFIGURATIONS = 20
"""Fewer say too little about how their misses hang together."""

OWN = (1, 3, 10, 30, 100)
"""Jobs of its own after which a site's other jobs are forecast."""

_EXAMINED = 140  # jobs of each site: a large one must not decide alone
_LEAST_LEFT = 10  # jobs to forecast
_ORDERS = 3
_SEED = 7
_HALF = 0.15
"""A miss that counts half; one that is twice as large counts little more, for the median is what must fall."""
_STIFF = 0.008
"""Loss that a number must save for being e times what it was at the start."""
_SETTLING = 3  # rounds of reweighting
_STEPS = (2.0, 1.4)
_ROUNDS = 2  # over all numbers with each step
_START = Kernel(
    offset=0.1, habit=0.1, particular=0.1, size=0.1, doubt=0.5,
    habit_reach=2.0, model_reach=2.0, layout_reach=2.0, batch_reach=2.0, size_reach=2.0,
)  # fmt: skip
_LEAST, _MOST = 0.01, 8.0


@dataclass(frozen=True)
class Pupil:
    """A site to learn kernels from."""

    cells: Cells
    shift: Floats
    """What a correction that never saw the site says of them."""

    @property
    def missed(self) -> Floats:
        """What there is for the kernel to explain."""
        return self.cells.residual - self.shift

    @cached_property
    def lessons(self) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Places of the jobs that are known, and of those then forecast."""
        count = len(self.cells)
        orders = [np.random.default_rng([_SEED, count, order]).permutation(count) for order in range(_ORDERS)]
        timed = ~self.cells.lower_bound
        return [
            (order[:own], order[own:][timed[order[own:]]])
            for order in orders
            for own in OWN
            if own <= count - _LEAST_LEFT
        ]


def pupil(found: Samples, base: Correction | None) -> Pupil | None:
    """A site's samples, thinned; None where they are too few."""
    cells = cells_of(found)
    if len(cells) < LEAST_CONFIGURATIONS or cells.lower_bound.all():
        return None
    cells = cells.take(evenly(len(cells), _EXAMINED))
    return Pupil(cells, (base.correct(cells.rows) if base else uncorrected(len(cells))).shift)


def tune(task: Task, pupils: Sequence[Pupil]) -> Kernel:
    """The kernel by which these sites are learned best, each with the noise that suits it."""
    with one_thread():
        return _tune(task, pupils)


def _tune(task: Task, pupils: Sequence[Pupil]) -> Kernel:
    kernel = _START
    for step in _STEPS:
        for _ in range(_ROUNDS):
            noises = [_noise(task, kernel, one) for one in pupils]
            least = _loss(task, kernel, pupils, noises)
            for name in (field.name for field in fields(Kernel)):
                for factor in (step, 1.0 / step):
                    while True:
                        value = float(np.clip(getattr(kernel, name) * factor, _LEAST, _MOST))
                        tried = replace(kernel, **{name: value})
                        if tried == kernel or (found := _loss(task, tried, pupils, noises)) >= least:
                            break
                        kernel, least = tried, found
    return kernel


def _noise(task: Task, kernel: Kernel, one: Pupil) -> float:
    return choose_noise(kernel, points(task, kernel, one.cells.rows, one.shift), one.cells, one.missed)


def _loss(task: Task, kernel: Kernel, pupils: Sequence[Pupil], noises: Sequence[float]) -> float:
    """Mean over sites of what their own jobs leave of the misses, 1 being all; and what it costs to leave the start."""
    left = [_left(task, kernel, one, noise) for one, noise in zip(pupils, noises, strict=True)]
    departed = (np.log(getattr(kernel, field.name) / getattr(_START, field.name)) for field in fields(Kernel))
    return float(np.mean(left)) + _STIFF * sum(float(far) ** 2 for far in departed)


def _left(task: Task, kernel: Kernel, one: Pupil, noise: float) -> float:
    seen, missed = points(task, kernel, one.cells.rows, one.shift), one.missed
    between = covariance(kernel, seen, seen)
    shares = []
    for known, asked in one.lessons:
        said = _said(between, missed, one.cells.lower_bound, known, asked, noise)
        shares.append(_bent(missed[asked] - said) / _bent(missed[asked]))
    return float(np.mean(shares))


def _said(
    between: Floats, missed: Floats, lower_bound: NDArray[np.bool_], known: NDArray[np.intp], asked: NDArray[np.intp],
    noise: float,
) -> Floats:  # fmt: skip
    """What the known jobs teach of those asked, slips among them counting less."""
    within, taught = between[np.ix_(known, known)], np.zeros(len(known))
    for _ in range(_SETTLING):
        precision = tails(missed[known] - taught, lower_bound[known], noise)
        weights = np.linalg.solve(within + np.diag(1.0 / np.maximum(precision, 1e-6)), missed[known])
        taught = within @ weights
    said: Floats = between[np.ix_(asked, known)] @ weights
    return said


def _bent(missed: Floats) -> float:
    far = np.abs(missed)
    return float((far / (far + _HALF)).mean())
