"""From the arithmetic and its correction to quantiles that cannot cross."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.calibration import LEVELS, Calibration
from predictor.gather import Floats
from predictor.learned.correction import Corrected

P10, P90, P95 = 0.1, 0.9, 0.95


def _logistic(deviation: float) -> Calibration:
    """One bucket of residuals around zero: a bell with the longer tails that telemetry shows."""
    odds = np.log(LEVELS / (1.0 - LEVELS))
    return Calibration(edges=np.empty(0), table=(odds * deviation * np.sqrt(3.0) / np.pi)[None, :])


MEMORY_MARGIN = _logistic(0.2)
TIME_MARGIN = _logistic(0.4)
"""How wrong bare arithmetic is taken to be where nothing was learned: p95 memory is 1.38 times, p90 time 1.62 times
the middle, about what the arithmetic misses on public measurements of sources nobody fitted it to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """Logarithms of a quantity's quantiles, one value per question."""

    p10: Floats
    p50: Floats
    p90: Floats
    p95: Floats

    def below(self, ceiling: Floats) -> Bands:
        """The same quantity where it cannot pass `ceiling` (a logarithm)."""
        return Bands(**{name: np.minimum(getattr(self, name), ceiling) for name in Bands.__slots__})


def bands(arithmetic: Floats, corrected: Corrected, calibration: Calibration, bare: Calibration) -> Bands:
    """Quantiles around the corrected arithmetic (a logarithm); sizes beyond the largest seen widen them.

    `bare` is how wrong arithmetic alone is taken to be: no size widens a band beyond that. The middle is the corrected
    arithmetic itself: the median miss of far buckets is that of a few other sources, and adding it made forecasts of
    the next source worse.
    """
    centre = arithmetic + corrected.shift
    width = _width(corrected, calibration, bare)
    steps = calibration.quantiles(corrected.distance, (P10, P90, P95)) * width[:, None]
    return Bands(
        p10=centre + np.minimum(steps[:, 0], 0.0),
        p50=centre,
        p90=centre + np.maximum(steps[:, 1], 0.0),
        p95=centre + np.maximum(steps[:, 2], 0.0),
    )


def fit_probability(
    need: Floats, usable: Floats, corrected: Corrected, calibration: Calibration, bare: Calibration
) -> Floats:
    """P(need <= usable), both as logarithms and the need by arithmetic; from the same distribution as the quantiles."""
    margin = usable - (need + corrected.shift)
    return calibration.probability_below(corrected.distance, margin / _width(corrected, calibration, bare))


def _width(corrected: Corrected, calibration: Calibration, bare: Calibration) -> Floats:
    """Factor on the usual steps: the question's own spread, and more for sizes beyond the largest seen."""
    own = calibration.quantiles(corrected.distance, (P95,))[:, 0] * corrected.spread
    widest = bare.quantiles(corrected.distance, (P95,))[:, 0] / np.maximum(own, 1e-9)
    return corrected.spread * np.minimum(1.0 + corrected.beyond, np.maximum(1.0, widest))
