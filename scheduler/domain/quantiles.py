"""A whole distribution from three quantiles.

Run times are positive and skewed, so each side of the median is taken as log-normal with its own spread:
q(p) = p50 · (p90/p50)^(z(p)/z(0.9)) above the median and p50 · (p10/p50)^(z(p)/z(0.1)) below it, z being the standard
normal quantile. It passes through p10, p50 and p90 exactly.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from scipy.special import ndtri

from scheduler.domain.arrays import Floats, Ints

__all__ = ["LEVELS", "Z90", "Z95", "Floats", "Ints", "given_fit", "normal_tail", "quantile"]

_NORMAL = NormalDist()
Z90 = _NORMAL.inv_cdf(0.9)
Z95 = _NORMAL.inv_cdf(0.95)

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Midpoints of five equal parts: a mean over them is a mean over the distribution, each part one fifth."""


_SURE = 1 - 1e-9
"""As sure as a quantile is asked for; a log-normal has no last one."""


def quantile(p10: Floats, p50: Floats, p90: Floats, probability: float | Floats) -> Floats:
    """The value that is not exceeded with this probability, for arrays of three quantiles each."""
    if not isinstance(probability, float):
        far: Floats = ndtri(probability) / ndtri(0.9)
        return np.asarray(p50 * (np.where(far >= 0, p90, p10) / p50) ** np.abs(far))
    z = _NORMAL.inv_cdf(probability)
    side = p90 if z >= 0 else p10
    spread: Floats = p50 * (side / p50) ** (abs(z) / Z90)
    return spread


def given_fit(probability: float, fit: Floats) -> Floats:
    """With what probability a job must be done in time if it fits, to be done in time with this one in all.

    Where it fits less often than that, nothing would do, and this is the asked probability itself.
    """
    return np.where(fit >= probability, np.minimum(probability / np.maximum(fit, probability), _SURE), probability)


def normal_tail(z: float) -> float:
    """P(a standard normal exceeds z)."""
    return _NORMAL.cdf(-z)
