"""Linear regression that begins with an opinion: conjugate, exact, and at ease with one observation.

The normal-inverse-gamma model of Gelman et al., Bayesian Data Analysis, third edition, section 14.8.
Its predictive distribution is a Student t, whose width says how much the opinion still rests on itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictor.gather import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What is believed before anything was seen."""

    mean: Floats
    """(k,): coefficients."""
    deviation: Floats
    """(k,): how wrong each may be."""
    noise: float
    """Standard deviation of repeats."""
    weight: float
    """How many observations the belief in `noise` is worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictive:
    """Student t, one row per question."""

    centre: Floats
    scale: Floats
    freedom: float


def student_quantiles(centre: Floats, scale: Floats, freedom: Floats, levels: Sequence[float]) -> Floats:
    """(n, levels): of Student t distributions, one a row."""
    from scipy.special import stdtrit  # noqa: PLC0415 - 0.2 s at import, and only custom jobs need it

    steps: Floats = stdtrit(freedom[:, None], np.asarray(levels, dtype=np.float64))
    return centre[:, None] + scale[:, None] * steps


def student_below(centre: Floats, scale: Floats, freedom: Floats, value: Floats) -> Floats:
    """P(each quantity <= its value)."""
    from scipy.special import stdtr  # noqa: PLC0415 - as above

    below: Floats = stdtr(freedom, (value - centre) / scale)
    return below


def regress(opinion: Opinion, seen: Floats, measured: Floats, asked: Floats) -> Predictive:
    """Correct the opinion by rows (n, k) with their measurements (n,), and predict the rows asked (m, k)."""
    prior_precision = np.diag((opinion.noise / opinion.deviation) ** 2)
    precision = prior_precision + seen.T @ seen
    pull = prior_precision @ opinion.mean + seen.T @ measured
    mean = np.linalg.solve(precision, pull)
    shape = opinion.weight / 2.0 + len(measured) / 2.0
    misfit = float(measured @ measured + opinion.mean @ prior_precision @ opinion.mean - mean @ precision @ mean)
    rate = opinion.weight / 2.0 * opinion.noise**2 + max(misfit, 0.0) / 2.0
    spread = 1.0 + np.einsum("ij,ji->i", asked, np.linalg.solve(precision, asked.T))
    return Predictive(centre=asked @ mean, scale=np.sqrt(rate / shape * spread), freedom=2.0 * shape)
