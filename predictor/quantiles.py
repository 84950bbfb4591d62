"""From the arithmetic and its correction to quantiles that cannot cross."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.calibration import LEVELS, Calibration, lifted, lowered
from predictor.gather import Floats
from predictor.learned.correction import Corrected

P10, P90, P95 = 0.1, 0.9, 0.95


UNNAMED_GIB = 4.0
"""Lift of memory: workspaces, kernels and fragments that no formula names are an amount and no share. With it jobs of
2 GiB and of 60 GiB miss alike; without it the small ones of one source would set the band of all."""


def _logistic(deviation: float, lift: float = 0.0) -> Calibration:
    """One bucket of residuals around zero: a bell with the longer tails that telemetry shows."""
    odds = np.log(LEVELS / (1.0 - LEVELS))
    return Calibration(edges=np.empty(0), table=(odds * deviation * np.sqrt(3.0) / np.pi)[None, :], lift=lift)


MEMORY_MARGIN = _logistic(0.2, UNNAMED_GIB)
TIME_MARGIN = _logistic(0.4)
"""How wrong bare arithmetic is taken to be where nothing was learned: p95 memory is 1.38 times the middle and 1.5 GiB,
p90 time 1.62 times, about what the arithmetic misses on public measurements of sources nobody fitted it to."""


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

    A step taken on the lifted logarithm rises with the middle, so that quantiles keep the order of their middles.
    `bare` is how wrong arithmetic alone is taken to be: no size widens a band beyond that. The middle is the corrected
    arithmetic itself: the median miss of far buckets is that of a few other sources, and adding it made forecasts of
    the next source worse.
    """
    centre = arithmetic + corrected.shift
    usual = calibration.quantiles(corrected.distance, (P10, P90, P95))
    steps = usual * _width(usual[:, 2], corrected, bare)[:, None]
    start, lift = lifted(centre, calibration.lift), calibration.lift
    return Bands(
        p10=np.minimum(lowered(start + steps[:, 0], lift), centre),
        p50=centre,
        p90=np.maximum(lowered(start + steps[:, 1], lift), centre),
        p95=np.maximum(lowered(start + steps[:, 2], lift), centre),
    )


def fit_probability(
    need: Floats, usable: Floats, corrected: Corrected, calibration: Calibration, bare: Calibration
) -> Floats:
    """P(need <= usable), both as logarithms and the need by arithmetic; from the same distribution as the quantiles."""
    margin = lifted(usable, calibration.lift) - lifted(need + corrected.shift, calibration.lift)
    usual = calibration.quantiles(corrected.distance, (P95,))[:, 0]
    return calibration.probability_below(corrected.distance, margin / _width(usual, corrected, bare))


def _width(usual: Floats, corrected: Corrected, bare: Calibration) -> Floats:
    """Factor on the usual steps, of which those to P95 are given: the question's own spread, and more for sizes beyond
    the largest seen."""
    own = usual * corrected.spread
    widest = bare.quantiles(corrected.distance, (P95,))[:, 0] / np.maximum(own, 1e-9)
    return corrected.spread * np.minimum(1.0 + corrected.beyond, np.maximum(1.0, widest))
