"""Turn a list of objects into arrays, reading each distinct object once.

A plan asks the same workload on hundreds of GPU types and layouts: facts are looked up per
distinct object and gathered with an index array, so the cost of a row is a few array cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from itertools import chain
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

T = TypeVar("T")
P = TypeVar("P")
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Distinct(Generic[T]):
    """A list of objects, each distinct one once."""

    objects: Sequence[T]
    place: NDArray[np.intp]
    """Of every object of the list, where it stands among those."""

    def each(self, part: Callable[[T], P]) -> Distinct[P]:
        """A part of every object in its stead: several may share one."""
        parts = distinct([part(item) for item in self.objects])
        return Distinct(parts.objects, parts.place[self.place])


def distinct(objects: Sequence[T]) -> Distinct[T]:
    """Tell objects apart by identity: hashing a frozen value of forty fields costs more than reading it twice."""
    keys = list(map(id, objects))
    first = dict(zip(keys, objects, strict=True))
    if len(first) == 1:
        return Distinct(list(first.values()), np.zeros(len(keys), dtype=np.intp))
    places = dict(zip(first, range(len(first)), strict=True))
    return Distinct(list(first.values()), np.fromiter(map(places.__getitem__, keys), np.intp, len(keys)))


def gather(objects: Distinct[T], read: Callable[[T], Mapping[str, float]]) -> dict[str, Floats]:
    """One array per name that ``read`` gives, with one cell per object; ``read`` gives the same names for all."""
    rows = [read(item) for item in objects.objects]
    names = list(rows[0]) if rows else []
    cells = np.fromiter(chain.from_iterable(row.values() for row in rows), np.float64, len(rows) * len(names))
    by_name = np.ascontiguousarray(cells.reshape(len(rows), len(names)).T)
    if len(rows) == 1:
        by_name = np.broadcast_to(by_name, (len(names), len(objects.place)))
    elif len(rows) < len(objects.place):
        by_name = by_name.take(objects.place, axis=1)
    return dict(zip(names, by_name, strict=True))


@dataclass(frozen=True, slots=True)
class Kinds:
    """Rows of numbers, equal ones taken together."""

    first: NDArray[np.intp]
    """Where the first row of each kind stands."""
    place: NDArray[np.intp]
    """The kind of every row."""


def distinct_rows(rows: Floats) -> Kinds:
    """Take equal rows of (n, k) together.

    Rows are told apart by a weighted sum of their cells, which sorts ten times as fast as whole rows; should two that
    differ have the same sum, whole rows are sorted after all.
    """
    mark = (rows * _odd_weights(rows.shape[1])).sum(axis=1)
    _, first, place = np.unique(mark, return_index=True, return_inverse=True)
    if not np.array_equal(rows, rows[first[place]]):
        whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
        _, first, place = np.unique(whole, return_index=True, return_inverse=True)
    return Kinds(first, place)


@lru_cache(maxsize=256)
def _odd_weights(count: int) -> Floats:
    weights: Floats = np.sqrt(np.arange(count) + 2.0 + np.pi)
    return weights


def select(conditions: Sequence[Flags], values: Sequence[Floats | float], otherwise: Floats | float) -> Floats:
    """`numpy.select` of plain columns: where no condition holds `otherwise`, else the value of the first that does.

    A few calls of `numpy.where` cost a fraction of its checks, which take longer than a plan's rows.
    """
    chosen = otherwise
    for condition, value in zip(reversed(conditions), reversed(values), strict=True):
        chosen = np.where(condition, value, chosen)
    return np.asarray(chosen)


def as_columns(columns: type[C], arrays: Mapping[str, object]) -> C:
    """Build a dataclass of columns from arrays of the same names; a field annotated ``Flags`` becomes boolean."""
    names, flags = _names_of(columns)  # type: ignore[arg-type]  # a class is hashable
    chosen = {name: arrays[name] for name in names}
    for name in flags:
        if isinstance(value := chosen[name], np.ndarray):
            chosen[name] = value != 0.0
    return columns(**chosen)


@cache
def _names_of(columns: type) -> tuple[list[str], list[str]]:
    """All fields of a dataclass of columns, and of them the flags."""
    return [field.name for field in fields(columns)], [one.name for one in fields(columns) if one.type == "Flags"]
