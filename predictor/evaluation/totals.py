"""Memory of training and inference as one quantity, as a card sees it: errors, and whether p95 keeps its promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from predictor.evaluation.scores import Score

SIZEABLE = 50
"""A source of so many configurations has a coverage worth the name."""

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTotal:
    """Both tasks under one way of holding out; each configuration once, toys left out."""

    grouping: str
    configurations: int
    learned: float
    """Median of |forecast / measured - 1|."""
    arithmetic: float
    covered: float
    """Share below p95."""
    least_covered: float
    """The same of the sizeable source that is covered worst."""
    over_provision: float
    """Mean of p95 / measured - 1."""
    refused_roomy: float
    """Share of those with room to spare that p95 would have refused."""
    out_of_memory_flagged: int
    out_of_memory: int
    flagged_interval: tuple[float, float]
    """Of the share flagged, 95 % (Clopper and Pearson 1934)."""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def memory_totals(scores: Sequence[Score]) -> tuple[MemoryTotal, ...]:
    """One total for each way of holding out."""
    memory = [one for one in scores if one.task.is_memory]
    return tuple(
        _total(grouping, [one for one in memory if one.grouping == grouping])
        for grouping in dict.fromkeys(one.grouping for one in memory)
    )


def _total(grouping: str, scores: Sequence[Score]) -> MemoryTotal:
    each = [one.each.counted for one in scores]

    def all_of(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.concatenate([getattr(one, name) for one in each]).astype(np.float64)

    sizeable = [part.covered for one in scores for part in one.by_source.values() if part.configurations >= SIZEABLE]
    flagged = sum(one.out_of_memory_flagged or 0 for one in scores)
    asked = sum(one.out_of_memory or 0 for one in scores)
    roomy = all_of("roomy") > 0
    return MemoryTotal(
        grouping=grouping,
        configurations=len(all_of("learned")),
        learned=float(np.median(all_of("learned"))),
        arithmetic=float(np.median(all_of("arithmetic"))),
        covered=float(all_of("covered").mean()),
        least_covered=min(sizeable, default=float("nan")),
        over_provision=float(all_of("over_provision").mean()),
        refused_roomy=float(all_of("refused")[roomy].mean()) if roomy.any() else 0.0,
        out_of_memory_flagged=flagged,
        out_of_memory=asked,
        flagged_interval=share_interval(flagged, asked),
    )


def share_interval(successes: int, cases: int) -> tuple[float, float]:
    """The exact binomial interval of a share."""
    from scipy.stats import binomtest  # noqa: PLC0415 - a second at import, for one line of a report

    if not cases:
        return (0.0, 1.0)
    found = binomtest(successes, cases).proportion_ci(_CONFIDENCE)
    return (float(found.low), float(found.high))


def total_table(totals: Sequence[MemoryTotal]) -> list[str]:
    """Lines for people."""
    return [
        f"{'memory':16} {one.grouping:20} {one.configurations:>11,} {_percent(one.learned):>11} "
        f"{_percent(one.arithmetic):>11} {_percent(one.covered):>11}  over-provision {_percent(one.over_provision)}, "
        f"{one.out_of_memory_flagged} of {one.out_of_memory} out-of-memory flagged "
        f"({_percent(one.flagged_interval[0])} to {_percent(one.flagged_interval[1])}), "
        f"{_percent(one.refused_roomy)} of roomy runs refused, sizeable sources covered {_percent(one.least_covered)}"
        for one in totals
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
