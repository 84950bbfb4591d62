"""Evaluate boosted trees in LightGBM's text format with numpy alone.

Importing LightGBM costs about a second, more than a whole `pythia predict` may take, and a forecast
needs none of its training. All trees are walked at once after QuickScorer (Lucchese et al., SIGIR 2015,
"QuickScorer: a fast algorithm to rank documents with additive ensembles of regression trees"): a tree is
a word with one bit per leaf, numbered from the left; a split that goes right clears the bits of its left
subtree; the lowest bit that survives is the leaf. The masks of all splits on one feature are combined
beforehand for every interval between thresholds, so a row costs one table row per feature, whatever
the depth.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.errors import InvalidBundle
from predictor.gather import Floats
from predictor.learned.tree_text import Forest, read_forest

_CHUNK_BYTES = 2**17
"""Words of as many rows as stay in a core's own cache."""

_EXPONENT_AT, _EXPONENT_OF_ONE = 23, 127
"""Where a single-precision number keeps its exponent, and that of 1.0 (IEEE 754): a word with one bit set, read as a
number, has the bit's place as its exponent."""

_WORTH_JOINING = 2**18
"""Bytes of all words, from which it pays to look for columns that go together."""

_ROWS_A_KIND = 4
"""Rows that must share a combination of columns, on average, for its words to be combined beforehand."""

_Told = tuple[NDArray[Any], NDArray[np.intp]]
"""(kinds, trees): the leaves that remain; and (n,): the kind of every row."""


@dataclass(frozen=True, slots=True)
class _Splits:
    """All splits of all trees on one feature."""

    feature: int
    thresholds: Floats
    """Rising, (k,)."""
    steps: list[float]
    """The same, in which one value is found sooner."""
    words: NDArray[Any]
    """Unsigned, (k + 1, trees): the leaves that remain when a value is above the first i thresholds."""


class Trees:
    """A sum of regression trees over a fixed number of features."""

    def __init__(self, text: str) -> None:
        """Read a model as `Booster.model_to_string` writes it; InvalidBundle if it is none we can evaluate."""
        try:
            forest = read_forest(text)
        except (KeyError, ValueError, IndexError) as error:
            raise InvalidBundle(f"a model is not LightGBM text ({type(error).__name__}: {error})") from None
        self.features = forest.features
        self._values = forest.leaf_values
        self.count, width = forest.leaf_values.shape
        self._offsets = np.arange(self.count, dtype=np.int32) * np.int32(width) - np.int32(_EXPONENT_OF_ONE)
        # half the width is half the memory to move, and moving memory is nearly all there is to do
        word = np.uint16 if width <= 16 else np.uint32
        self._ones = word(np.iinfo(word).max)
        self._splits = tuple(_splits(forest, word)) if len(forest.tree) else ()

    def predict(self, rows: Floats) -> Floats:
        """The sum over all trees, one value per row of (n, features)."""
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ValueError(f"rows have shape {rows.shape}, the trees read {self.features} features")
        result = np.empty(len(rows))
        if not len(rows) or not self.count:
            result[:] = 0.0
            return result
        # a plan asks one workload on many cards: what all rows share is looked up once
        alike = (rows == rows[0]).all(axis=0).tolist()
        shared, first = np.full(self.count, self._ones), rows[0].tolist()
        own: list[_Told] = []
        for splits in self._splits:
            if alike[splits.feature]:
                shared &= splits.words[bisect_left(splits.steps, first[splits.feature])]
            else:
                own.append((splits.words, splits.thresholds.searchsorted(rows[:, splits.feature])))
        if len(rows) * shared.nbytes >= _WORTH_JOINING:
            own = _joined(own, len(rows) // _ROWS_A_KIND)
        step = max(1, min(len(rows), _CHUNK_BYTES // shared.nbytes))
        # made once: fresh pages for every chunk would cost as much as the work in them
        kept, other, single, place, told = (
            np.empty((step, self.count), dtype=kind)
            for kind in (shared.dtype, shared.dtype, np.float32, np.intp, np.float64)
        )
        for start in range(0, len(rows), step):
            chunk = slice(start, min(start + step, len(rows)))
            if (left := chunk.stop - start) < len(kept):
                kept, other, single, place, told = (buffer[:left] for buffer in (kept, other, single, place, told))
            kept[:] = shared
            for table, above in own:
                table.take(above[chunk], axis=0, out=other, mode="clip")  # "raise" would copy to be safe
                kept &= other
            single[:] = np.bitwise_and(kept, np.negative(kept, out=other), out=other)
            leaf = single.view(np.int32)
            leaf >>= _EXPONENT_AT
            leaf += self._offsets
            place[:] = leaf
            self._values.take(place, out=told, mode="clip").sum(axis=1, out=result[chunk])
        return result


def _joined(own: list[_Told], most: int) -> list[_Told]:
    """The same words from fewer tables, each of at most `most` kinds.

    Columns of one card, layout or model go together: neighbours are joined, and the words of each combination that
    occurs are combined once instead of once per row.
    """
    tables: list[_Told] = []
    for words, kind in own:
        if tables:
            before, known = tables[-1]
            both = known * len(words) + kind
            occurs = np.zeros(len(before) * len(words), dtype=bool)
            occurs[both] = True
            kinds = np.flatnonzero(occurs)
            if len(kinds) <= most:
                place = np.empty(len(occurs), dtype=np.intp)
                place[kinds] = np.arange(len(kinds))
                old, new = np.divmod(kinds, len(words))
                tables[-1] = before.take(old, axis=0) & words.take(new, axis=0), place.take(both)
                continue
        tables.append((words, kind))
    return tables


def _splits(forest: Forest, word: type[np.uint16] | type[np.uint32]) -> Iterator[_Splits]:
    order = np.lexsort((forest.threshold, forest.feature))
    feature, threshold, tree = forest.feature[order], forest.threshold[order], forest.tree[order]
    kept = forest.kept[order].astype(word)
    ends = [*(np.flatnonzero(feature[1:] != feature[:-1]) + 1).tolist(), len(order)]
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        mine = slice(start, end)
        rises = np.append(True, threshold[mine][1:] > threshold[mine][:-1])
        words = np.full((int(rises.sum()) + 1, len(forest.leaf_values)), np.iinfo(word).max, dtype=word)
        np.bitwise_and.at(words, (np.cumsum(rises), tree[mine]), kept[mine])
        thresholds = threshold[mine][rises]
        words = np.bitwise_and.accumulate(words, axis=0)
        yield _Splits(int(feature[start]), thresholds, thresholds.tolist(), words)
