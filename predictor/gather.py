"""Turn a list of objects into arrays, reading each distinct object once.

A plan asks the same workload on hundreds of GPU types and layouts: facts are looked up per
distinct object and gathered with an index array, so the cost of a row is a few array cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import chain
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
    keys = [id(item) for item in objects]
    distinct = dict(zip(keys, objects, strict=True))
    rows = [read(item) for item in distinct.values()]
    names = list(rows[0]) if rows else []
    cells = np.fromiter(chain.from_iterable(row.values() for row in rows), np.float64, len(rows) * len(names))
    by_name = np.ascontiguousarray(cells.reshape(len(rows), len(names)).T)
    if len(distinct) < len(objects):
        places = {key: place for place, key in enumerate(distinct)}
        by_name = by_name[:, np.fromiter((places[key] for key in keys), np.intp, len(keys))]
    return dict(zip(names, by_name, strict=True))


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
