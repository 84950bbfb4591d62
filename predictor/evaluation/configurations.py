"""What is judged: one row a configuration and source, the median of its repeats.

A configuration is a workload without its software's version, a GPU type and a layout. Where a source read the memory
of a run twice, the first reading is judged and the second, by the allocator, only taught from.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.gather import Flags, Floats
from predictor.learned.samples import Samples, Words
from predictor.telemetry import SECOND_READINGS

TOYS = ("megatron_golden",)
"""Sources of toy models, whose steps are all overhead; they have lines of their own and no part in the totals."""

ROOMY = 0.85
"""A completed run that used less of its card than this should never have been refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configurations:
    """Measured configurations beside what was forecast of them; all arrays have the same length."""

    source: Words
    learned: Floats
    """|forecast / measured - 1|."""
    arithmetic: Floats
    covered: Flags
    """Below p95 (memory), or between p10 and p90 (time)."""
    over_provision: Floats
    """p95 / measured - 1."""
    roomy: Flags
    """Memory that used less than ROOMY of its card."""
    refused: Flags
    """p95 is above what the card offers."""

    def __len__(self) -> int:
        return len(self.learned)

    def take(self, chosen: NDArray[Any]) -> Configurations:
        """Those of a mask."""
        return Configurations(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    @property
    def counted(self) -> Configurations:
        """Those that have a part in the totals: all but toys, if there are others."""
        real = ~np.isin(self.source, TOYS)
        return self.take(real) if real.any() else self


def first_readings(found: Samples) -> Flags:
    """Rows that are not a second reading of another one's run."""
    second = [np.char.endswith(found.ids, mark) for mark in SECOND_READINGS.values()]
    first: Flags = ~np.any(second, axis=0)
    return first


def configurations(
    found: Samples, *, is_memory: bool, p10: Floats, p50: Floats, p90: Floats, p95: Floats
) -> Configurations:
    """The measured configurations of samples, and what quantiles (logarithms, one a sample) say of them."""
    judged = ~found.lower_bound & first_readings(found)
    rows = found.take(judged)
    names, first, place = np.unique(
        np.char.add(np.char.add(rows.source, "/"), rows.configuration), return_index=True, return_inverse=True
    )

    def usual(values: Floats) -> Floats:
        return _medians(values, place, len(names))

    measured = usual(rows.measured)
    low, high = usual(p10[judged]), usual((p95 if is_memory else p90)[judged])
    usable = rows.usable[first]
    return Configurations(
        source=rows.source[first],
        learned=np.abs(np.expm1(usual(p50[judged]) - measured)),
        arithmetic=np.abs(np.expm1(usual(rows.arithmetic) - measured)),
        covered=(measured <= high) if is_memory else (measured <= high) & (measured >= low),
        over_provision=np.expm1(usual(p95[judged]) - measured),
        roomy=measured < usable + np.log(ROOMY) if is_memory else np.zeros(len(names), dtype=bool),
        refused=usual(p95[judged]) > usable,
    )


def _medians(values: Floats, place: NDArray[np.intp], count: int) -> Floats:
    """Of the values at each place, which is between 0 and `count`."""
    order = np.lexsort((values, place))
    size = np.bincount(place, minlength=count)
    start = np.cumsum(size) - size
    low, high = order[start + (size - 1) // 2], order[start + size // 2]
    medians: Floats = 0.5 * (values[low] + values[high])
    return medians
