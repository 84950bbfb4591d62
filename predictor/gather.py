"""Turn a list of objects into arrays, reading each distinct object once.

A plan asks the same workload on hundreds of GPU types and layouts: facts are looked up per
distinct object and gathered with an index array, so the cost of a row is a few array cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

T = TypeVar("T")
C = TypeVar("C")


def gather(objects: Sequence[T], read: Callable[[T], Mapping[str, float]]) -> dict[str, Floats]:
    """One array per name that ``read`` gives, with one cell per object; ``read`` gives the same names for all.

    Objects are told apart by identity: hashing a frozen value of forty fields costs more than reading it twice.
    """
    places: dict[int, int] = {}
    rows: list[list[float]] = []
    names: list[str] = []
    index = np.empty(len(objects), dtype=np.intp)
    for row, item in enumerate(objects):
        place = places.setdefault(id(item), len(rows))
        if place == len(rows):
            numbers = read(item)
            names = names or list(numbers)
            rows.append(list(numbers.values()))
        index[row] = place
    by_name = np.array(rows, dtype=np.float64).T[:, index]
    return {name: by_name[place] for place, name in enumerate(names)}


def per_row(values: Iterable[float], count: int) -> Floats:
    """A column of numbers that differ by question, read one by one."""
    return np.fromiter(values, dtype=np.float64, count=count)


def as_columns(columns: type[C], arrays: Mapping[str, object]) -> C:
    """Build a dataclass of columns from arrays of the same names; a field annotated ``Flags`` becomes boolean."""
    chosen: dict[str, object] = {}
    for field in fields(columns):  # type: ignore[arg-type]
        value = arrays[field.name]
        chosen[field.name] = value != 0.0 if field.type == "Flags" and isinstance(value, np.ndarray) else value
    return columns(**chosen)
