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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.errors import InvalidBundle

Floats = NDArray[np.float64]

MAX_LEAVES = 32
"""One bit each in the word of a tree."""

_CHUNK = 128  # rows at a time: the words of a few hundred trees then stay in the processor's cache

# 2 generates the multiplicative group of 37, so the powers 2^0 … 2^31 leave different remainders
_BIT_OF_REMAINDER = np.zeros(37, dtype=np.uint8)
_BIT_OF_REMAINDER[[pow(2, bit, 37) for bit in range(MAX_LEAVES)]] = np.arange(MAX_LEAVES)


@dataclass(frozen=True, slots=True)
class _Splits:
    """All splits of all trees on one feature."""

    feature: int
    thresholds: Floats
    """Rising, (k,)."""
    words: NDArray[Any]
    """Unsigned, (k + 1, trees): the leaves that remain when a value is above the first i thresholds."""


@dataclass(frozen=True, slots=True)
class _Tree:
    """A split sends values up to its threshold left; clearing a word's bits says which leaves that rules out."""

    features: list[int]
    thresholds: list[float]
    kept: list[int]
    """By split: the leaves that remain for a value above the threshold."""
    leaf_values: list[float]
    """From left to right."""


class Trees:
    """A sum of regression trees over a fixed number of features."""

    def __init__(self, text: str) -> None:
        """Read a model as `Booster.model_to_string` writes it; InvalidBundle if it is none we can evaluate."""
        try:
            header, trees = _parse(text)
            self.features = int(header["max_feature_idx"]) + 1
        except (KeyError, ValueError, IndexError) as error:
            raise InvalidBundle(f"a model is not LightGBM text ({type(error).__name__}: {error})") from None
        self.count = len(trees)
        width = max((len(tree.leaf_values) for tree in trees), default=1)
        self._values = np.zeros((self.count, width))
        for place, tree in enumerate(trees):
            self._values[place, : len(tree.leaf_values)] = tree.leaf_values
        self._offsets = np.arange(self.count) * width
        # half the width is half the memory to move, and moving memory is all there is to do
        word = np.uint16 if width <= 16 else np.uint32
        self._ones, self._one, self._base = word(np.iinfo(word).max), word(1), word(37)
        self._splits = tuple(_splits(trees, word))

    def predict(self, rows: Floats) -> Floats:
        """The sum over all trees, one value per row of (n, features)."""
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ValueError(f"rows have shape {rows.shape}, the trees read {self.features} features")
        result = np.empty(len(rows))
        if not len(rows):
            return result
        # a plan asks one workload on many cards: what all rows share is looked up once
        shared = np.full(self.count, self._ones)
        own: list[tuple[NDArray[Any], NDArray[np.intp]]] = []
        for splits in self._splits:
            column = rows[:, splits.feature]
            above = np.searchsorted(splits.thresholds, column, side="left")
            if column.min() == column.max():
                shared &= splits.words[above[0]]
            else:
                own.append((splits.words, above))
        looked_up = np.empty((min(_CHUNK, len(rows)), self.count), dtype=self._ones.dtype)
        for start in range(0, len(rows), _CHUNK):
            chunk = slice(start, min(start + _CHUNK, len(rows)))
            words = np.tile(shared, (chunk.stop - start, 1))
            for table, above in own:
                found = looked_up[: len(words)]
                np.take(table, above[chunk], axis=0, out=found, mode="clip")  # "raise" would copy to be safe
                words &= found
            lowest = words & (~words + self._one)
            leaves = _BIT_OF_REMAINDER[lowest % self._base]
            result[chunk] = self._values.take(leaves + self._offsets).sum(axis=1)
        return result


def _parse(text: str) -> tuple[Mapping[str, str], list[_Tree]]:
    head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    header = dict(_pairs(head))
    if header["num_class"] != "1":
        raise ValueError("it has several classes")
    return header, [_tree(dict(_pairs(block))) for block in blocks]


def _pairs(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        key, found, value = line.partition("=")
        if found:
            yield key, value


def _tree(fields: Mapping[str, str]) -> _Tree:
    values = [float(value) for value in fields["leaf_value"].split()]
    if len(values) == 1:
        return _Tree([], [], [], values)
    if len(values) > MAX_LEAVES:
        raise ValueError(f"a tree has {len(values)} leaves, more than {MAX_LEAVES}")
    if fields["num_cat"] != "0" or fields.get("is_linear", "0") != "0":
        raise ValueError("it has categorical splits or linear leaves")
    # bit 0 is a categorical split, bits 2 and 3 say that missing values or zeros take a side of their own
    if any(int(kind) & 0b1101 for kind in fields["decision_type"].split()):
        raise ValueError("it gives missing values a side of their own")
    left = [int(value) for value in fields["left_child"].split()]
    right = [int(value) for value in fields["right_child"].split()]
    features = [int(value) for value in fields["split_feature"].split()]
    thresholds = [float(value) for value in fields["threshold"].split()]
    if {len(features), len(thresholds), len(left), len(right)} != {len(values) - 1}:
        raise ValueError("a tree has unequal columns")
    kept, order = _number_leaves(left, right)
    return _Tree(features, thresholds, kept, [values[leaf] for leaf in order])


def _number_leaves(left: list[int], right: list[int]) -> tuple[list[int], list[int]]:
    """For each split the leaves that going right keeps, as bits from the left; and the leaves in that order.

    LightGBM writes leaf k as the child ~k, and a split always after its parent.
    """
    nodes = len(left)
    leaves = [0] * nodes
    for node in reversed(range(nodes)):
        for child in (left[node], right[node]):
            if 0 <= child <= node or child >= nodes:
                raise ValueError("a split does not come after its parent")
            leaves[node] += 1 if child < 0 else leaves[child]
    starts = [0] * nodes
    kept = [0] * nodes
    order = [-1] * (nodes + 1)
    for node in range(nodes):
        start = starts[node]
        on_the_left = 1 if left[node] < 0 else leaves[left[node]]
        kept[node] = 0xFFFFFFFF ^ (((1 << on_the_left) - 1) << start)
        for child, position in ((left[node], start), (right[node], start + on_the_left)):
            if child < 0:
                order[position] = ~child
            else:
                starts[child] = position
    if sorted(order) != list(range(nodes + 1)):
        raise ValueError("a leaf is reached twice or never")
    return kept, order


def _splits(trees: list[_Tree], word: type[np.uint16] | type[np.uint32]) -> Iterator[_Splits]:
    features = np.array([feature for tree in trees for feature in tree.features], dtype=np.intp)
    thresholds = np.array([threshold for tree in trees for threshold in tree.thresholds])
    kept = np.array([bits for tree in trees for bits in tree.kept], dtype=np.uint32).astype(word)
    places = np.repeat(np.arange(len(trees)), [len(tree.features) for tree in trees])
    for feature in np.unique(features):
        mine = features == feature
        distinct, above = np.unique(thresholds[mine], return_inverse=True)
        words = np.full((len(distinct) + 1, len(trees)), np.iinfo(word).max, dtype=word)
        np.bitwise_and.at(words, (above + 1, places[mine]), kept[mine])
        yield _Splits(int(feature), distinct, np.bitwise_and.accumulate(words, axis=0))
