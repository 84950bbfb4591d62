"""How alike two jobs are, for carrying what one taught a site over to the other.

A Gaussian process (Rasmussen and Williams 2006, chapters 2 and 5) over physical features: what a forecast misses
here is an offset of the site, plus one of its software and cards, plus one of the model and layout, plus one of
the size, each correlated over its own columns only, and how wrong the trees are here. So one job moves all
forecasts a little, those of like jobs much, and its own nearly all the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.features import Task
from predictor.gather import Floats, distinct_rows

_LAYOUT_NAMES = frozenset({
    "log tensor parallel", "log pipeline parallel", "log data parallel", "log expert parallel",
    "log context parallel", "sharding stage", "log machines",
})  # fmt: skip

_BATCH_NAMES = frozenset({"log batch", "log batch of a replica", "log intensity"})
"""Sizes along which a time may fall, so that no order need be kept."""

_SIZE: Mapping[Task, Mapping[str, float]] = {
    Task.TRAINING_MEMORY: {"log peak": 1.0},
    Task.INFERENCE_MEMORY: {"log peak": 1.0},
    Task.TRAINING_TIME: {"log step": 1.0},
    # of one round of a full batch: how many rounds there are changes nothing about a round
    Task.INFERENCE_TIME: {"log runtime": 1.0, "log requests": -1.0, "log batch": 1.0},
}
"""The size of a job, which rises with its batch, lengths and rank at a fixed layout: what arithmetic says of it, as a
sum of columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Standard deviations of the parts of a site's residual, in logarithms, and how far each reaches."""

    offset: float
    """Of the whole site."""
    habit: float
    """Of software, precision and card."""
    particular: float
    """Of model and layout within those."""
    size: float
    """Of a job's size and batch within those."""
    doubt: float
    """Of the share of the learned correction that does not hold here."""
    habit_reach: float
    """Distances over which a part falls to 61 %, in units of the features: mostly natural logarithms."""
    model_reach: float
    layout_reach: float
    batch_reach: float
    size_reach: float


# Tuned to the public sources of 20 configurations and more, each one's residuals taken from a bundle that never saw it
# (`tune.py`; `python -m benchmarks.kernels` prints them). Learning curves are judged with kernels tuned without the
# source they are drawn for. Memory of inference was measured by one source alone, and takes those of training.
_TRAINING_MEMORY = Kernel(
    offset=0.05, habit=0.05, particular=0.07, size=0.1, doubt=0.5,
    habit_reach=2.0, model_reach=2.0, layout_reach=2.8, batch_reach=2.0, size_reach=1.02,
)  # fmt: skip
_TRAINING_TIME = Kernel(
    offset=0.07, habit=0.0714, particular=0.1, size=0.14, doubt=0.5,
    habit_reach=2.0, model_reach=1.43, layout_reach=2.8, batch_reach=2.0, size_reach=1.0,
)  # fmt: skip
_INFERENCE_TIME = Kernel(
    offset=0.1, habit=0.1, particular=0.2, size=0.14, doubt=0.5,
    habit_reach=1.43, model_reach=2.8, layout_reach=1.4, batch_reach=2.0, size_reach=2.0,
)  # fmt: skip

KERNELS: Mapping[Task, Kernel] = {
    Task.TRAINING_MEMORY: _TRAINING_MEMORY,
    Task.INFERENCE_MEMORY: _TRAINING_MEMORY,
    Task.TRAINING_TIME: _TRAINING_TIME,
    Task.INFERENCE_TIME: _INFERENCE_TIME,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a task's features belong to which part of its kernel."""

    habits: tuple[int, ...]
    model: tuple[int, ...]
    layout: tuple[int, ...]
    batch: tuple[int, ...]
    size: Floats
    """(columns,): weights of the sum that is the size."""


@cache
def columns_of(task: Task) -> Columns:
    """The parts of a task's columns; for those that grow with a job its size speaks."""
    table = task.features
    layout, batch = _named(task, _LAYOUT_NAMES), _named(task, _BATCH_NAMES - {table.names[at] for at in table.growing})
    taken = {*layout, *batch, *table.growing}
    habits = tuple(place for place in table.habits if place not in taken)
    model = tuple(place for place in table.all if place not in {*taken, *habits})
    size = np.array([_SIZE[task].get(name, 0.0) for name in table.names])
    return Columns(habits=habits, model=model, layout=layout, batch=batch, size=size)


def _named(task: Task, names: frozenset[str]) -> tuple[int, ...]:
    return tuple(place for place, name in enumerate(task.features.names) if name in names)


@dataclass(frozen=True, slots=True)
class Points:
    """Rows of features as a kernel sees them, in units of its reaches."""

    habits: Floats
    """(n, columns of software and card)."""
    fixed: Floats
    """(n, all columns that a layout fixes)."""
    batch: Floats
    """(n, columns of batch where no order need be kept, perhaps none)."""
    size: Floats
    """(n, 1)."""
    shift: Floats
    """(n,): what the bundle had learned elsewhere; a logarithm."""

    def __len__(self) -> int:
        return len(self.shift)

    def take(self, chosen: NDArray[Any]) -> Points:
        """The rows that a mask or index array chooses."""
        return Points(*(getattr(self, name)[chosen] for name in self.__slots__))


def points(task: Task, kernel: Kernel, rows: Floats, shift: Floats) -> Points:
    """Scale the features of a task."""
    at = columns_of(task)
    habits = rows[:, at.habits] / kernel.habit_reach
    return Points(
        habits=habits,
        fixed=np.hstack([habits, rows[:, at.model] / kernel.model_reach, rows[:, at.layout] / kernel.layout_reach]),
        batch=rows[:, at.batch] / kernel.batch_reach,
        size=size_of(task, rows)[:, None] / kernel.size_reach,
        shift=shift,
    )


def size_of(task: Task, rows: Floats) -> Floats:
    """The size of each row's job, a logarithm."""
    weights = columns_of(task).size
    used = np.flatnonzero(weights)
    size: Floats = (rows[:, used] * weights[used]).sum(axis=1)
    return size


_FEW = 32  # rows that are compared sooner than sorted
_ALONE = 2**17
"""Multiplications of one call: threads of a busy machine wait for each other longer than that takes."""


def product(some: Floats, others: Floats) -> Floats:
    """some @ others.T, in pieces small enough for OpenBLAS to stay in its caller's thread."""
    result = np.empty((len(some), len(others)))
    step = max(1, _ALONE // max(1, others.size))
    for start in range(0, len(some), step):
        result[start : start + step] = some[start : start + step] @ others.T
    return result


def likeness(some: Floats, others: Floats) -> Floats:
    """(n, m): exp(-d²/2) of the distance between each of `some` (n, k) and each of `others` (m, k)."""
    distinct, place = _distinct(some)
    squared = (distinct**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2.0 * product(distinct, others)
    alike: Floats = np.exp(-0.5 * np.maximum(squared, 0.0))
    return alike if place is None else alike[place]


def _distinct(rows: Floats) -> tuple[Floats, NDArray[np.intp] | None]:
    """The distinct rows and the place of each: a plan asks one workload, whose memory is the same on most cards."""
    if len(rows) < _FEW or not rows.shape[1]:
        return rows, None
    kinds = distinct_rows(rows)
    return (rows, None) if 2 * len(kinds.first) > len(rows) else (rows[kinds.first], kinds.place)


def alike(some: Points, others: Points) -> tuple[Floats, Floats]:
    """(n, m): likeness of software and card, and of all that a layout fixes.

    The second is the first times that of model and layout; a plan has few cards and few layouts, but many pairs.
    """
    behind = some.habits.shape[1]  # the first columns of `fixed`
    habits = likeness(some.habits, others.habits)
    return habits, habits * likeness(some.fixed[:, behind:], others.fixed[:, behind:])


def covariance(kernel: Kernel, some: Points, others: Points) -> Floats:
    """(n, m): of what forecasts of `some` and of `others` miss."""
    return settleable(kernel, some, others, likeness(some.size, others.size)) + kernel.doubt**2 * np.outer(
        some.shift, others.shift
    )


_OTHER_SIZE = float(np.exp(-0.5))


def settleable(kernel: Kernel, some: Points, others: Points, sizes: Floats | float = _OTHER_SIZE) -> Floats:
    """(n, m): the same without the trees' own doubt, and by default between jobs whose sizes are one reach apart.

    A band that narrows by this narrows alike for all sizes, so that its upper end keeps their order.
    """
    within = kernel.particular**2 + kernel.size**2 * sizes * likeness(some.batch, others.batch)
    habits, fixed = alike(some, others)
    return kernel.offset**2 + kernel.habit**2 * habits + within * fixed


def settleable_at_most(kernel: Kernel) -> float:
    """The variance of any one job in `settleable`."""
    return kernel.offset**2 + kernel.habit**2 + kernel.particular**2 + kernel.size**2
