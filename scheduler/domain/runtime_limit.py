"""How long an attempt may run, and how that is said when it ran longer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.domain.spec import Constraints


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeLimit:
    """Seconds of the command, its start-up included, and where they are from."""

    seconds: float
    words: str


def runtime_limit(constraints: Constraints, forecast: Mapping[str, Any]) -> RuntimeLimit | None:
    """The lower of `max_runtime_s` and, where its user allows it, a multiple of what was forecast at p90.

    A forecast without a run time limits nothing. `forecast` is in the contract's form.
    """
    limits: list[RuntimeLimit] = []
    if constraints.max_runtime_s is not None:
        limits.append(RuntimeLimit(seconds=constraints.max_runtime_s, words="max_runtime_s"))
    multiple, p90 = constraints.max_runtime_over_p90, (forecast.get("runtime_s") or {}).get("p90")
    if multiple is not None and p90:
        expected = float(p90) + float(forecast.get("startup_s") or 0.0)
        words = f"{multiple:g} times the {expected:.0f} s that were forecast at p90"
        limits.append(RuntimeLimit(seconds=multiple * expected, words=words))
    return min(limits, key=lambda limit: limit.seconds, default=None)
