"""What was forecast of each held-out row, beside what was measured: all that a report is made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.evaluation.configurations import TOYS, first_readings
from predictor.evaluation.scores import HeldOutForecast
from predictor.features import Task
from predictor.gather import Flags, Floats
from predictor.learned.samples import Samples
from predictor.quantiles import P10, P90, P95


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One task under one way of holding out."""

    task: Task
    grouping: str
    found: Samples
    folds: tuple[Flags, ...]
    said: HeldOutForecast

    @property
    def done(self) -> Flags:
        """Rows that were measured; the others ran out of memory."""
        return ~self.found.lower_bound

    @property
    def counted(self) -> Flags:
        """Measured rows that have a part in the totals: first readings, and not those of toys if there are others."""
        done = self.done & first_readings(self.found)
        real = done & ~np.isin(self.found.source, TOYS)
        return real if real.any() else done

    @property
    def configuration(self) -> NDArray[np.str_]:
        """Equal for repeats by one source."""
        return np.char.add(np.char.add(self.found.source, "/"), self.found.configuration)

    @property
    def covered(self) -> Flags:
        """At or below p95 (memory), or between p10 and p90 (time)."""
        below = self.found.measured <= (self.said.p95 if self.task.is_memory else self.said.p90)
        return below if self.task.is_memory else below & (self.found.measured >= self.said.p10)

    @property
    def pinball(self) -> Floats:
        """Loss of the quantiles that are promised, in logarithms; lower is better, and only true quantiles are lowest
        (Koenker and Bassett 1978; Gneiting and Raftery 2007, section 6)."""
        if self.task.is_memory:
            return _pinball(self.found.measured - self.said.p95, P95)
        low = _pinball(self.found.measured - self.said.p10, P10)
        return 0.5 * (low + _pinball(self.found.measured - self.said.p90, P90))


def _pinball(above: Floats, level: float) -> Floats:
    return np.maximum(level * above, (level - 1.0) * above)


def per_configuration(names: NDArray[np.str_], values: Floats) -> dict[str, float]:
    """The mean of each configuration's rows."""
    distinct, place, count = np.unique(names, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=values) / count
    return dict(zip(distinct.tolist(), means.tolist(), strict=True))
