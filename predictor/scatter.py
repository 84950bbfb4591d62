"""Turn columns into lists of values: the way back from `predictor.gather`.

A frozen dataclass sets each of its fields through `object.__setattr__`, which costs several times what an ordinary one
pays, and ten thousand forecasts are seventy thousand values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, make_dataclass
from typing import Any, TypeVar

from predictor.gather import Floats

T = TypeVar("T")


def maker(kind: type[T]) -> Callable[..., list[T]]:
    """A function that makes many values of a frozen dataclass with slots, given an iterable for each field by name.

    It makes values of an ordinary twin with the same slots and then changes their class, so `__post_init__` does not
    run: the columns must be right already. The shortest column says how many.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # a dataclass, which no type can say
    known = frozenset(names)
    twin: type[Any] = make_dataclass(kind.__name__, names, slots=True, repr=False, eq=False, match_args=False)

    def make(**columns: Iterable[object]) -> list[T]:
        if columns.keys() != known:
            raise TypeError(f"{kind.__name__} has the fields {', '.join(names)}, given are {', '.join(columns)}")
        values = list(map(twin, *(columns[name] for name in names)))
        for value in values:
            value.__class__ = kind
        return values

    return make


class Cells(Mapping[str, float]):
    """One row of some columns by name, each looked up when it is asked for."""

    __slots__ = ("_columns", "_row")

    def __init__(self, columns: Mapping[str, Floats], row: int) -> None:
        self._columns = columns
        self._row = row

    def __getitem__(self, name: str) -> float:
        return float(self._columns[name][self._row])

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return repr(dict(self))
