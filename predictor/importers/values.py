"""Take numbers and words out of what a stranger wrote: None where there is nothing usable, never an exception."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import NoReturn

GIB = 2.0**30

_LONGEST_TEXT = 500
_LARGEST_WHOLE = 10**15
_DEEPEST = 64
_NOTHING = frozenset({"", "-", "na", "n/a", "nan", "null", "none"})


def number(value: object) -> float | None:
    """A finite number, also where it is written as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def positive(value: object) -> float | None:
    """A finite number above zero."""
    found = number(value)
    return found if found is not None and found > 0 else None


def whole(value: object) -> int | None:
    """A positive whole number of a size that something can have."""
    found = number(value)
    return int(found) if found is not None and found % 1 == 0 and 0 < found <= _LARGEST_WHOLE else None


def text(value: object) -> str | None:
    """A short text that says something."""
    if not isinstance(value, str) or value.strip().casefold() in _NOTHING or len(value) > _LONGEST_TEXT:
        return None
    return value.strip()


def section(value: object, *names: str) -> Mapping[str, object]:
    """A mapping inside mappings; empty where the path ends early."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def parse_json(source: str) -> object:
    """The JSON value of a text; ValueError for anything else, NaN and bottomless nesting included."""
    try:
        value = json.loads(source, parse_constant=_refuse_constant)
        if not _is_too_deep(value):
            return value
    except RecursionError:
        pass
    raise ValueError("it is nested too deeply")


def from_cell(cell: str) -> object:
    """What a table's cell or a typed value means: a number, true, false, a JSON list or object, else its text."""
    try:
        return parse_json(cell)
    except ValueError:
        return {"true": True, "false": False}.get(cell.strip().casefold(), cell)


def gib(value: object) -> float | None:
    """Bytes as GiB."""
    found = positive(value)
    return found / GIB if found is not None else None


def known(**fields: object) -> dict[str, object]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def _is_too_deep(value: object) -> bool:
    """Deeper than any result is nested, and than copying or printing it could follow."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")
