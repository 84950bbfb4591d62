"""How far a question is from what was seen.

Distance is measured on what a layout fixes (model, card, split, precision, software), never on
batch, length or rank: a longer sequence on the same layout must not move a forecast into another
bucket and so below that of a shorter one. Sizes beyond the largest seen count apart, and only widen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.errors import InvalidBundle
from predictor.gather import Floats

_DIGITS = 3  # of scaled features: a thousandth of a standard deviation is no difference

_ALONE = 2**18
"""Products of one call, few enough for OpenBLAS to stay in its caller's thread (up to GEMM_MULTITHREAD_THRESHOLD times
65,536): on a busy machine its threads would wait for each other longer than the whole forecast takes."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Scaled vectors of the training data, and the largest sizes among them."""

    scales: Floats
    """(k,): one unit of distance along each fixed feature."""
    references: Floats
    """(m, k): distinct scaled vectors."""
    largest: Floats
    """(j,): upper ends of the growing features."""
    reach: float
    """Distance that most of the training data keep from their nearest other configuration."""
    ids: tuple[str, ...] | None = None
    """The job that each reference is of; None in a bundle that was made before they were kept."""

    def distance(self, fixed: Floats) -> Floats:
        """Euclidean distance of each row (n, k) to the nearest reference, in units of the scales."""
        scaled = np.round(fixed / self.scales, _DIGITS)
        nearest = self._nearest(scaled)
        # the product says who is nearest; the distance itself must not depend on who else is asked, to the last bit
        apart: Floats = np.sqrt(((scaled - self.references[nearest]) ** 2).sum(axis=1)).round(_DIGITS)
        return apart

    def nearest(self, fixed: Floats, count: int) -> NDArray[np.intp]:
        """(n, at most count): the references nearest to each row (n, k), the nearest first."""
        scaled = np.round(fixed / self.scales, _DIGITS)
        count = min(count, len(self.references))
        considered = min(2 * count, len(self.references))
        norms = (self.references**2).sum(axis=1)
        near = np.empty((len(fixed), considered), dtype=np.intp)
        step = _rows_at_once(self.references)
        for start in range(0, len(fixed), step):
            rows = slice(start, start + step)
            squared = norms - 2.0 * scaled[rows] @ self.references.T
            near[rows] = squared.argpartition(considered - 1, axis=1)[:, :considered]
        near.sort(axis=1)
        # as for `distance`: the product says who is near, the difference says in which order
        squared = (self.apart(fixed, near) ** 2).sum(axis=2)
        order = squared.argsort(axis=1, kind="stable")[:, :count]
        return np.take_along_axis(near, order, axis=1)

    def apart(self, fixed: Floats, references: NDArray[np.intp]) -> Floats:
        """(n, count, k): how far each row (n, k) is from its references (n, count), along each feature."""
        difference: Floats = np.round(fixed / self.scales, _DIGITS)[:, None, :] - self.references[references]
        return difference

    def _nearest(self, scaled: Floats) -> NDArray[np.intp]:
        """The place of the nearest reference to each row."""
        if not len(scaled):
            return np.empty(0, dtype=np.intp)
        # a plan asks one model on many cards: how far each reference is by what all rows share is counted once
        alike = (scaled == scaled[0]).all(axis=0)
        apart = ((self.references[:, alike] - scaled[0, alike]) ** 2).sum(axis=1)
        others, own = self.references[:, ~alike], scaled[:, ~alike]
        # norms - 2 own @ others.T in one product, the norms as one more column
        known = np.column_stack([-2.0 * others, apart + (others**2).sum(axis=1)])
        asked = np.column_stack([own, np.ones(len(own))])
        nearest = np.empty(len(scaled), dtype=np.intp)
        step = _rows_at_once(known)
        for start in range(0, len(scaled), step):
            rows = slice(start, start + step)
            (asked[rows] @ known.T).argmin(axis=1, out=nearest[rows])
        return nearest

    def beyond(self, growing: Floats) -> Floats:
        """How far the sizes of each row (n, j) are above the largest seen, in natural logarithms, summed."""
        above: Floats = np.maximum(growing - self.largest, 0.0).sum(axis=1)
        return above

    def to_json(self) -> dict[str, object]:
        raw: dict[str, object] = {
            "scales": self.scales.round(6).tolist(),
            "references": self.references.round(_DIGITS).tolist(),
            "largest": self.largest.round(6).tolist(),
            "reach": round(self.reach, 6),
        }
        return raw if self.ids is None else raw | {"ids": list(self.ids)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Domain:
        try:
            domain = cls(
                scales=np.asarray(raw["scales"], dtype=np.float64),
                references=np.asarray(raw["references"], dtype=np.float64),
                largest=np.asarray(raw["largest"], dtype=np.float64),
                reach=float(raw["reach"]),
                ids=None if raw.get("ids") is None else tuple(str(one) for one in raw["ids"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidBundle(f"the reference vectors are unreadable ({error})") from None
        known = domain.references
        if known.ndim != 2 or known.shape[1] != len(domain.scales) or not len(known) or not np.isfinite(known).all():
            raise InvalidBundle("the reference vectors have the wrong shape")
        if domain.ids is not None and len(domain.ids) != len(known):
            raise InvalidBundle(f"{len(domain.ids)} ids stand beside {len(known)} reference vectors")
        return domain


def describe(fixed: Floats, growing: Floats, *, limit: int, ids: NDArray[np.str_] | None = None) -> Domain:
    """The domain of a training set, its references thinned to at most `limit`; `ids` names its rows."""
    spread = fixed.std(axis=0)
    # half a standard deviation at least a tenth of a natural unit: a column that never moved is no ruler
    scales = np.maximum(spread, 0.2)
    # of equal vectors the first id stands for all, in whatever order they came
    order = np.arange(len(fixed)) if ids is None else np.argsort(ids, kind="stable")
    scaled, first = np.unique((fixed[order] / scales).round(_DIGITS), axis=0, return_index=True)
    chosen = spread_out(scaled, limit)
    nearest_other = _nearest_other(scaled)
    reach = float(np.quantile(nearest_other, 0.95)) if len(nearest_other) else 0.0
    return Domain(
        scales=scales,
        references=scaled[chosen],
        largest=growing.max(axis=0),
        reach=max(reach, 0.1),
        ids=None if ids is None else tuple(str(one) for one in ids[order[first[chosen]]]),
    )


def spread_out(rows: Floats, limit: int) -> NDArray[np.intp]:
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


def _nearest_other(rows: Floats) -> Floats:
    if len(rows) < 2:
        return np.empty(0)
    result = np.empty(len(rows))
    norms = (rows**2).sum(axis=1)
    step = _rows_at_once(rows)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        squared = norms[start : start + step, None] + norms - 2.0 * part @ rows.T
        squared[np.arange(len(part)), np.arange(start, start + len(part))] = np.inf
        result[start : start + step] = np.sqrt(np.maximum(squared.min(axis=1), 0.0))
    return result


def _rows_at_once(others: Floats) -> int:
    return max(1, _ALONE // max(1, others.size))
