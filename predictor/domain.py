"""How far a question is from what was seen.

Distance is measured on what a layout fixes (model, card, split, precision, software), never on
batch, length or rank: a longer sequence on the same layout must not move a forecast into another
bucket and so below that of a shorter one. Sizes beyond the largest seen count apart, and only widen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.errors import InvalidBundle
from predictor.gather import Floats

_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Domain:
    """Scaled vectors of the training data, and the largest sizes among them."""

    scales: Floats
    """(k,): one unit of distance along each fixed feature."""
    references: NDArray[np.float32]
    """(m, k): distinct scaled vectors."""
    largest: Floats
    """(j,): upper ends of the growing features."""
    reach: float
    """Distance that most of the training data keep from their nearest other configuration."""

    def distance(self, fixed: Floats) -> Floats:
        """Euclidean distance of each row (n, k) to the nearest reference, in units of the scales."""
        result = np.empty(len(fixed))
        norms = (self.references**2).sum(axis=1)
        for start in range(0, len(fixed), _CHUNK):
            rows = (fixed[start : start + _CHUNK] / self.scales).astype(np.float32)
            squared = (rows**2).sum(axis=1) + (norms - 2.0 * rows @ self.references.T).min(axis=1)
            result[start : start + _CHUNK] = np.sqrt(np.maximum(squared, 0.0))
        return result

    def beyond(self, growing: Floats) -> Floats:
        """How far the sizes of each row (n, j) are above the largest seen, in natural logarithms, summed."""
        above: Floats = np.maximum(growing - self.largest, 0.0).sum(axis=1)
        return above

    def to_json(self) -> dict[str, object]:
        return {
            "scales": self.scales.round(6).tolist(),
            "references": self.references.round(4).tolist(),
            "largest": self.largest.round(6).tolist(),
            "reach": round(self.reach, 6),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, object]) -> Domain:
        try:
            domain = cls(
                scales=np.asarray(raw["scales"], dtype=np.float64),
                references=np.asarray(raw["references"], dtype=np.float32),
                largest=np.asarray(raw["largest"], dtype=np.float64),
                reach=float(raw["reach"]),  # type: ignore[arg-type]  # a wrong type is caught below
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidBundle(f"the reference vectors are unreadable ({error})") from None
        known = domain.references
        if known.ndim != 2 or known.shape[1] != len(domain.scales) or not len(known) or not np.isfinite(known).all():
            raise InvalidBundle("the reference vectors have the wrong shape")
        return domain


def describe(fixed: Floats, growing: Floats, *, limit: int) -> Domain:
    """The domain of a training set, its references thinned to at most `limit`."""
    spread = fixed.std(axis=0)
    # half a standard deviation at least a tenth of a natural unit: a column that never moved is no ruler
    scales = np.maximum(spread, 0.2)
    scaled = np.unique((fixed / scales).round(3), axis=0).astype(np.float32)
    references = scaled[_spread_out(scaled, limit)]
    nearest_other = _nearest_other(scaled)
    reach = float(np.quantile(nearest_other, 0.95)) if len(nearest_other) else 0.0
    return Domain(scales=scales, references=references, largest=growing.max(axis=0), reach=max(reach, 0.1))


def _spread_out(rows: NDArray[np.float32], limit: int) -> NDArray[np.intp]:
    """Rows that cover the others with the least radius: each next one is the furthest from those chosen
    (Gonzalez 1985, twice the best possible radius at most)."""
    if len(rows) <= limit:
        return np.arange(len(rows))
    chosen = [0]
    gap = ((rows - rows[0]) ** 2).sum(axis=1)
    while len(chosen) < limit:
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, ((rows - rows[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(sorted(chosen))


def _nearest_other(rows: NDArray[np.float32]) -> Floats:
    if len(rows) < 2:
        return np.empty(0)
    result = np.empty(len(rows))
    norms = (rows**2).sum(axis=1)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        squared = norms[start : start + _CHUNK, None] + norms - 2.0 * part @ rows.T
        squared[np.arange(len(part)), np.arange(start, start + len(part))] = np.inf
        result[start : start + _CHUNK] = np.sqrt(np.maximum(squared.min(axis=1), 0.0))
    return result
