"""How much longer something runs that has run for a while: the forecast, given that it has not ended yet."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

from scheduler.domain.quantiles import Z90

_NORMAL = NormalDist()
_NEVER_LESS = 1e-6
_SURELY_OVER = 1 - 1e-6
"""Where the forecast says that it should have ended with this probability, it says nothing of the rest any more."""

OVERDUE_SHARE = 0.1
"""Something far beyond its forecast is taken to need a tenth of what it has run, in the median: it must be said that
it ends some day, and the longer it has gone on, the less soon."""


class Remaining(NamedTuple):
    """Seconds from now, at three quantiles."""

    p10_s: float
    p50_s: float
    p90_s: float


def remaining(p10_s: float, p50_s: float, p90_s: float, elapsed_s: float) -> Remaining:
    """Quantiles of T - elapsed given T > elapsed, T being log-normal on each side of its median (`quantiles`)."""
    p10_s, p50_s, p90_s = (max(value, _NEVER_LESS) for value in (p10_s, p50_s, p90_s))
    passed = _passed(p10_s, p50_s, p90_s, elapsed_s)
    if passed >= _SURELY_OVER:
        rest = OVERDUE_SHARE * elapsed_s
        return Remaining(rest / 2, rest, 2 * rest)
    rests = [_value(p10_s, p50_s, p90_s, passed + q * (1 - passed)) - elapsed_s for q in (0.1, 0.5, 0.9)]
    return Remaining(*(max(0.0, rest) for rest in rests))


def _passed(p10_s: float, p50_s: float, p90_s: float, elapsed_s: float) -> float:
    """P(T ≤ elapsed)."""
    if elapsed_s <= 0:
        return 0.0
    wide = math.log(p90_s / p50_s) if elapsed_s >= p50_s else math.log(p50_s / p10_s)
    off = math.log(elapsed_s / p50_s)
    if wide <= 0:
        return 0.0 if off < 0 else 1.0
    return _NORMAL.cdf(off / wide * Z90)


def _value(p10_s: float, p50_s: float, p90_s: float, probability: float) -> float:
    z = _NORMAL.inv_cdf(min(max(probability, 1e-12), 1 - 1e-12))
    side = p90_s if z >= 0 else p10_s
    return float(p50_s * (side / p50_s) ** (abs(z) / Z90))
