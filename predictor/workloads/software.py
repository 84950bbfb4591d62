"""What the software of a question says beside its habits: how old it is, and how it was driven.

One engine's time halved within two years on the same card. Versions become the date of their release, so that
engines are comparable and a version never seen lies between two that were. What was not said is zero, a place of
its own, since nobody knows which version it was.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

from predictor.forecast import Question
from predictor.gather import Floats, as_columns, distinct, gather
from predictor.workload import Software, Workload

UNSAID = 0.0
_FIRST_YEAR = 2022.0

# the first release of each version, to about a month, as the projects' release pages date it
_RELEASES: Mapping[str, Mapping[tuple[int, ...], float]] = {
    "vllm": {
        (0, 1): 2023.47, (0, 2): 2023.74, (0, 3): 2024.08, (0, 4): 2024.25, (0, 5): 2024.45, (0, 6): 2024.68,
        (0, 7): 2025.07, (0, 8): 2025.21, (0, 9): 2025.37, (0, 10): 2025.56, (0, 11): 2025.75, (0, 12): 2025.92,
        (0, 13): 2025.96, (0, 15): 2026.08, (0, 17): 2026.18, (0, 19): 2026.26,
    },
    "tensorrt-llm": {
        (0, 5): 2023.80, (0, 6): 2023.92, (0, 8): 2024.15, (0, 9): 2024.29, (0, 10): 2024.43, (0, 12): 2024.66,
        (0, 14): 2024.84, (0, 16): 2024.98, (0, 17): 2025.10, (0, 19): 2025.35, (0, 20): 2025.46, (1, 0): 2025.73,
        (1, 1): 2025.88, (1, 2): 2026.10,
    },
    "tensorrt": {
        (9, 3): 2024.10, (10, 0): 2024.30, (10, 2): 2024.53, (10, 8): 2025.05, (10, 10): 2025.34, (10, 11): 2025.44,
        (10, 13): 2025.58,
    },
    "sglang": {
        (0, 2): 2024.55, (0, 3): 2024.68, (0, 4): 2024.92, (0, 4, 9): 2025.52, (0, 5, 1): 2025.65, (0, 5, 6): 2025.92,
        (0, 5, 9): 2026.12,
    },
    "torch": {
        (1, 13): 2022.82, (2, 0): 2023.20, (2, 1): 2023.76, (2, 2): 2024.08, (2, 3): 2024.31, (2, 4): 2024.56,
        (2, 5): 2024.79, (2, 6): 2025.08, (2, 7): 2025.31, (2, 8): 2025.60, (2, 9): 2025.79, (2, 10): 2026.05,
    },
    "transformers": {
        (4, 30): 2023.44, (4, 36): 2023.94, (4, 40): 2024.30, (4, 45): 2024.73, (4, 50): 2025.21, (4, 55): 2025.60,
        (5, 0): 2026.00,
    },
}  # fmt: skip

_ALIASES = {"pytorch": "torch"}
_NAMED = re.compile(
    r"(vllm|tensorrt-llm|tensorrt|sglang|transformers|pytorch|torch)\D{0,12}?(\d+(?:\.\d+)+)", re.IGNORECASE
)
_BARE = re.compile(r"^v?(\d+(?:\.\d+)+)")
_MONTHLY = re.compile(r"\b(2[0-9])\.(0[1-9]|1[0-2])\b.*container", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftwareColumns:
    """One row per question."""

    generation: Floats
    """Years since 2022; UNSAID where the version is not known."""
    static: Floats
    """1 where whole batches wait for their last sequence."""
    latency_bound: Floats
    """1 where a server had to answer within a limit, so that it could not fill its batches."""


def software_columns(questions: Sequence[Question]) -> SoftwareColumns:
    """The software of each question."""
    return as_columns(SoftwareColumns, gather(distinct(list(map(attrgetter("workload"), questions))), _numbers))


def _numbers(workload: Workload) -> dict[str, float]:
    scenario = workload.software.scenario
    return {
        "generation": generation(workload.software),
        "static": float("static" in scenario or "bs1" in scenario),
        "latency_bound": float(scenario == "server"),
    }


@lru_cache(maxsize=4096)
def generation(software: Software) -> float:
    """Years since 2022 at the release of this software; the engine's own version before that of a library under it."""
    text = software.version
    bare = _BARE.match(text)
    if bare and software.engine in _RELEASES:
        return _since(_RELEASES[software.engine], bare[1])
    found = [(_ALIASES.get(name.lower(), name.lower()), version) for name, version in _NAMED.findall(text)]
    for name, version in sorted(found, key=lambda one: one[0] != software.engine):
        return _since(_RELEASES[name], version)
    monthly = _MONTHLY.search(text)
    return 2000.0 + int(monthly[1]) + int(monthly[2]) / 12.0 - _FIRST_YEAR if monthly else UNSAID


def _since(releases: Mapping[tuple[int, ...], float], version: str) -> float:
    """The newest release that is not newer than the version; a version before all of them counts as the first."""
    known = sorted(releases)
    asked = tuple(int(part) for part in version.split("."))
    return releases[known[max(0, bisect_right(known, asked) - 1)]] - _FIRST_YEAR
