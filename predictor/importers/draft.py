"""What a format's reader gives: rows as far as the file says them, and the lines that say nothing usable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from predictor.errors import PythiaError


class InvalidResults(PythiaError):
    """A result file cannot be read, or its format is unknown."""

    code = "invalid_results"


class UnusableResult(PythiaError):
    """One result of a file cannot become an observation."""

    code = "unusable_result"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that was kept out, and why, in one sentence."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One row in the form of the observation files, without what its file does not say."""

    line: int
    """Where the result begins in its file, from 1."""
    fields: Mapping[str, Any]
    label: str = ""
    """Which of a file's benchmarks it is, so that something can be given for that one alone."""
    derive: Callable[[dict[str, Any]], None] | None = None
    """Adds to the row what follows from the file and the given together."""


Item = Draft | Rejected
