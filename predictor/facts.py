"""Find the facts that travel with Pythia and read their CSV files strictly.

A fact that cannot be true must never reach a forecast, so a reader refuses the file at the
first bad line and names it; it never skips a row.
"""

from __future__ import annotations

import csv
import importlib.resources
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path

from predictor.errors import InvalidFacts

_MARKER = "gpu_types.csv"  # a folder called datasets without it belongs to somebody else


@cache
def datasets_dir() -> Path:
    """The folder of facts: beside the packages in a checkout, inside the package once installed."""
    package = Path(str(importlib.resources.files("predictor")))
    candidates = (package.parent / "datasets", package / "_data" / "datasets")
    for folder in candidates:
        if (folder / _MARKER).is_file():
            return folder
    looked = " or ".join(str(folder) for folder in candidates)
    raise InvalidFacts(f"the datasets folder was not found in {looked}: reinstall Pythia or run from a checkout")


@dataclass(frozen=True, slots=True)
class FactRow:
    """One line of a facts file; its readers refuse a value with the file and the line."""

    file: str
    line: int
    values: dict[str, str]

    def refuse(self, why: str) -> InvalidFacts:
        """The error for this line: ``raise row.refuse("…")``."""
        return InvalidFacts(f"{self.file} line {self.line}: {why}")

    def text(self, column: str) -> str:
        """A value that must be there."""
        value = self.values[column]
        if not value:
            raise self.refuse(f"{column} is empty")
        return value

    def optional_text(self, column: str) -> str | None:
        return self.values[column] or None

    def number(self, column: str, *, minimum: float = 0.0, maximum: float = math.inf) -> float:
        """A finite number within the bounds, both included."""
        raw = self.text(column)
        try:
            value = float(raw)
        except ValueError:
            raise self.refuse(f"{column} is {raw!r}, not a number") from None
        if not math.isfinite(value) or not minimum <= value <= maximum:
            raise self.refuse(f"{column} is {raw}, must be finite and {_between(minimum, maximum)}")
        return value

    def optional_number(self, column: str, *, minimum: float = 0.0, maximum: float = math.inf) -> float | None:
        return self.number(column, minimum=minimum, maximum=maximum) if self.values[column] else None

    def integer(self, column: str, *, minimum: int = 0, maximum: int = 10**15) -> int:
        value = self.number(column, minimum=minimum, maximum=maximum)
        if value != int(value):
            raise self.refuse(f"{column} is {self.values[column]}, not a whole number")
        return int(value)

    def optional_integer(self, column: str, *, minimum: int = 0, maximum: int = 10**15) -> int | None:
        return self.integer(column, minimum=minimum, maximum=maximum) if self.values[column] else None

    def flag(self, column: str) -> bool:
        """``true`` or ``false``."""
        raw = self.text(column)
        if raw not in ("true", "false"):
            raise self.refuse(f"{column} is {raw!r}, must be true or false")
        return raw == "true"

    def choice(self, column: str, allowed: Sequence[str]) -> str:
        raw = self.text(column)
        if raw not in allowed:
            raise self.refuse(f"{column} is {raw!r}, must be one of {', '.join(allowed)}")
        return raw

    def money(self, column: str) -> Decimal:
        """An amount of dollars: exact, positive, never a float."""
        raw = self.text(column)
        try:
            value = Decimal(raw)
        except InvalidOperation:
            raise self.refuse(f"{column} is {raw!r}, not an amount") from None
        if not value.is_finite() or value <= 0:
            raise self.refuse(f"{column} is {raw}, a price must be above zero")
        return value

    def optional_money(self, column: str) -> Decimal | None:
        return self.money(column) if self.values[column] else None

    def day(self, column: str) -> date:
        raw = self.text(column)
        try:
            return date.fromisoformat(raw)
        except ValueError:
            raise self.refuse(f"{column} is {raw!r}, not a date such as 2026-08-23") from None


def _between(minimum: float, maximum: float) -> str:
    return f"at least {minimum:g}" if maximum == math.inf else f"between {minimum:g} and {maximum:g}"


def read_facts(path: Path, columns: Sequence[str], *, key: Sequence[str]) -> Iterator[FactRow]:
    """Yield the rows of a CSV file that has exactly ``columns``, refusing a repeated ``key``.

    Line numbers are those of an editor: the header is line 1, and a row counts from its last line.
    """
    if not path.is_file():
        raise InvalidFacts(f"{path} does not exist")
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = next(reader, [])
            _check_header(path.name, header, columns)
            seen: dict[tuple[str, ...], int] = {}
            for cells in reader:
                yield _row(path.name, reader.line_num, header, cells, key, seen)
        except csv.Error as error:
            raise InvalidFacts(f"{path.name} line {reader.line_num}: not readable as CSV ({error})") from None
        except UnicodeDecodeError:
            raise InvalidFacts(f"{path.name} line {reader.line_num + 1}: not UTF-8 text") from None


def _check_header(file: str, header: Sequence[str], columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in header]
    if missing:
        raise InvalidFacts(f"{file} line 1: column {', '.join(missing)} is missing")
    unknown = [column for column in header if column not in columns]
    if unknown or len(header) != len(columns):
        raise InvalidFacts(f"{file} line 1: column {', '.join(unknown) or 'repeated'} is not expected")


def _row(
    file: str,
    line: int,
    header: Sequence[str],
    cells: Sequence[str],
    key: Sequence[str],
    seen: dict[tuple[str, ...], int],
) -> FactRow:
    if len(cells) != len(header):
        raise InvalidFacts(f"{file} line {line}: {len(cells)} values for {len(header)} columns")
    row = FactRow(file, line, {column: cell.strip() for column, cell in zip(header, cells, strict=True)})
    identity = tuple(row.values[column].casefold() for column in key)
    if identity in seen:
        raise row.refuse(f"repeats line {seen[identity]} ({', '.join(key)}: {', '.join(identity)})")
    seen[identity] = line
    return row
