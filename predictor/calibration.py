"""How far forecasts miss, learned on groups that the trees had not seen.

The scores of split conformal prediction (Vovk et al. 2005; Lei et al. 2018): residuals
log(measured / forecast) of held-out groups, kept as one distribution per bucket of distance from the
training data. A run out of memory is a right-censored residual, so the distribution is the product-limit
estimate (Kaplan and Meier 1958). Buckets further out are never narrower than those nearer.

Where a small quantity misses by a constant amount rather than by a share, that amount is added to both sides before
logarithms are taken (`lift`): one distribution then holds for small and large alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.errors import InvalidBundle
from predictor.gather import Flags, Floats

LEVELS: Floats = np.concatenate(([0.001, 0.005], np.arange(0.01, 0.995, 0.01), [0.995, 0.999]))
"""Probabilities at which a distribution is tabulated."""

MIN_EFFECTIVE_ROWS = 40.0
"""Fewer held-out rows cannot support a 95th percentile: its rank would be the maximum or the one before."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Quantiles of log((measured + lift) / (forecast + lift)) by distance bucket."""

    edges: Floats
    """Upper distance of every bucket but the last, rising."""
    table: Floats
    """(buckets, LEVELS): the quantiles, rising along each row."""
    lift: float = 0.0
    """In the unit of what is forecast."""

    def buckets(self, distance: Floats) -> NDArray[np.intp]:
        """The bucket of each distance."""
        return np.searchsorted(self.edges, distance, side="left")

    def quantiles(self, distance: Floats, levels: Sequence[float]) -> Floats:
        """(n, levels): what to add to the lifted log of a forecast to reach each probability."""
        per_bucket = np.stack([np.interp(levels, LEVELS, row) for row in self.table])
        if not len(self.edges):
            return np.broadcast_to(per_bucket, (len(distance), len(levels)))
        return per_bucket[self.buckets(distance)]

    def probability_below(self, distance: Floats, margin: Floats) -> Floats:
        """P(lifted log of measured over forecast <= margin); tails beyond the table fall off as a logistic's."""
        bucket = self.buckets(distance)
        odds = np.log(LEVELS / (1.0 - LEVELS))
        result = np.empty(len(margin))
        for place, row in enumerate(self.table):
            mine = bucket == place
            if mine.any():
                result[mine] = _interpolate(margin[mine], row, odds)
        return 1.0 / (1.0 + np.exp(-np.clip(result, -30.0, 30.0)))

    def to_json(self) -> dict[str, object]:
        return {"edges": self.edges.round(6).tolist(), "table": self.table.round(6).tolist(), "lift": self.lift}

    @classmethod
    def from_json(cls, raw: Mapping[str, object]) -> Calibration:
        try:
            edges = np.asarray(raw["edges"], dtype=np.float64)
            table = np.asarray(raw["table"], dtype=np.float64)
            lift = float(raw.get("lift", 0.0))  # type: ignore[arg-type]  # absent in bundles that lifted nothing
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidBundle(f"a calibration table is unreadable ({error})") from None
        if edges.ndim != 1 or table.shape != (len(edges) + 1, len(LEVELS)) or not np.isfinite(table).all():
            raise InvalidBundle("a calibration table has the wrong shape")
        if (np.diff(table, axis=1) < 0).any() or (np.diff(edges) <= 0).any():
            raise InvalidBundle("a calibration table does not rise")
        if not 0.0 <= lift < np.inf:
            raise InvalidBundle("a calibration's lift is no amount")
        return cls(edges=edges, table=table, lift=lift)


def lifted(logs: Floats, lift: float) -> Floats:
    """Logarithms of quantities with `lift` added to each."""
    return np.log(np.exp(logs) + lift) if lift else logs


def lowered(logs: Floats, lift: float) -> Floats:
    """What `lifted` was given."""
    return np.log(np.maximum(np.exp(logs) - lift, _NOTHING)) if lift else logs


def calibrate(
    residuals: Floats,
    censored: Flags,
    weights: Floats,
    distances: Floats,
    edges: Sequence[float],
    *,
    far: Calibration | None = None,
    lift: float = 0.0,
) -> Calibration:
    """Tabulate held-out residuals, lifted already; a bucket with too few of them is merged with the next nearer one.

    `censored` residuals are lower bounds. Further than all edges lies `far`, at least as wide as what is nearer, or
    one more bucket of residuals where there is none.
    """
    kept: list[float] = []
    rows: list[Floats] = []
    pending = np.zeros(len(residuals), dtype=bool)
    bounds = [*edges, np.inf] if far is None else [*edges]
    lower = -np.inf
    for upper in bounds:
        pending |= (distances > lower) & (distances <= upper)
        lower = upper
        if effective_rows(weights[pending & ~censored]) < MIN_EFFECTIVE_ROWS:
            continue
        rows.append(censored_quantiles(residuals[pending], censored[pending], weights[pending]))
        kept.append(upper)
        pending = np.zeros(len(residuals), dtype=bool)
    if not rows and far is None:
        rows, kept = [censored_quantiles(residuals, censored, weights)], [np.inf]
    if far is not None:
        rows, kept = [*rows, far.table[-1]], [*kept, np.inf]
    table = np.stack(rows)
    # further from the data can only be less certain: a lucky far bucket must not promise more than a near one
    middle = table[:, [_MEDIAN]]
    above = np.maximum.accumulate(np.maximum(table - middle, 0.0), axis=0)
    below = np.minimum.accumulate(np.minimum(table - middle, 0.0), axis=0)
    table = np.maximum.accumulate(middle + above + below, axis=1)
    return Calibration(edges=np.array(kept[:-1]), table=table, lift=lift)


def effective_rows(weights: Floats) -> float:
    """Kish's effective sample size of weighted rows."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) and weights.any() else 0.0


def censored_quantiles(values: Floats, censored: Flags, weights: Floats) -> Floats:
    """Quantiles at LEVELS of right-censored, weighted values, on the safe side of a finite sample.

    A level p is read at p (n + 1) / n of the estimate, conformal prediction's correction for n rows.
    """
    if not len(values):
        return np.zeros(len(LEVELS))
    order = np.lexsort((censored, values))  # at equal values a measured one happened before a censored one
    values, censored, weights = values[order], censored[order], weights[order]
    at_risk = np.cumsum(weights[::-1])[::-1]
    survival = np.cumprod(np.where(censored, 1.0, 1.0 - weights / at_risk))
    reached = 1.0 - survival
    measured = ~censored
    if not measured.any():
        return np.full(len(LEVELS), values.max())
    rows = max(effective_rows(weights), 1.0)
    upper = np.minimum(LEVELS * (rows + 1.0) / rows, 1.0)
    lower = np.maximum(1.0 - (1.0 - LEVELS) * (rows + 1.0) / rows, 0.0)
    levels = np.where(LEVELS >= 0.5, upper, lower)
    place = np.minimum(np.searchsorted(reached[measured], levels - 1e-12), int(measured.sum()) - 1)
    quantiles: Floats = values[measured][place]
    return quantiles


_NOTHING = 1e-6  # GiB or seconds: what is left where a lower quantile would be below zero
_MEDIAN = int(np.argmin(np.abs(LEVELS - 0.5)))


def _interpolate(at: Floats, known: Floats, values: Floats) -> Floats:
    """Piecewise linear through (known, values), carried on beyond both ends by the slope of the outer tenth."""
    known = known + np.arange(len(known)) * 1e-9  # equal quantiles would leave the inverse undefined
    result = np.interp(at, known, values)
    tenth = len(known) // 10
    high = (values[-1] - values[-1 - tenth]) / max(known[-1] - known[-1 - tenth], 1e-3)
    low = (values[tenth] - values[0]) / max(known[tenth] - known[0], 1e-3)
    result = np.where(at > known[-1], values[-1] + high * (at - known[-1]), result)
    return np.where(at < known[0], values[0] + low * (at - known[0]), result)
