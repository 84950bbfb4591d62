"""Read boosted trees from LightGBM's text, all trees of a model at once.

A tree becomes a word with one bit per leaf, numbered from the left: what `predictor.learned.trees` evaluates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.gather import Flags, Floats

MAX_LEAVES = 32
"""One bit each in the word of a tree."""

Ints = NDArray[np.intp]

_SPLIT_FIELDS = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
_KINDS = {"threshold": np.float64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """The trees of a model; splits of all trees one after the other. A split sends values up to its threshold left."""

    features: int
    """Columns that the trees read."""
    leaf_values: Floats
    """(trees, leaves of the largest): from left to right."""
    tree: Ints
    """Of each split."""
    feature: Ints
    threshold: Floats
    kept: NDArray[np.uint32]
    """The leaves that remain for a value above the threshold, a bit each from the left."""


def read_forest(text: str) -> Forest:
    """Read a model as `Booster.model_to_string` writes it.

    Raises KeyError, ValueError or IndexError where it is none, or one with categorical splits, linear leaves, several
    classes, or missing values that take a side of their own.
    """
    head, *trees = text.partition("\nend of trees")[0].split("\nTree=")
    if _line(head, "num_class") != "1":
        raise ValueError("it has several classes")
    if any(_line(tree, "num_cat") != "0" or _line(tree, "is_linear", "0") != "0" for tree in trees):
        raise ValueError("it has categorical splits or linear leaves")
    values, leaves = _numbers(trees, "leaf_value", np.float64)
    if leaves.max(initial=1) > MAX_LEAVES:
        raise ValueError(f"a tree has {leaves.max()} leaves, more than {MAX_LEAVES}")
    branches = np.flatnonzero(leaves > 1)
    splits = leaves[branches] - 1
    columns = []
    for name in _SPLIT_FIELDS:
        column, counts = _numbers([trees[place] for place in branches], name, _KINDS.get(name, np.intp))
        if (counts != splits).any():
            raise ValueError("a tree has unequal columns")
        columns.append(column)
    feature, threshold, kind, left, right = columns
    # bit 0 is a categorical split, bits 2 and 3 say that missing values or zeros take a side of their own
    if (kind & 0b1101).any():
        raise ValueError("it gives missing values a side of their own")
    kept, order = _number_leaves(_Children.of(left, splits), _Children.of(right, splits))
    leaf_values = np.zeros((len(trees), leaves.max(initial=1)))
    leaf_values[_places(leaves)] = values
    numbered = np.take_along_axis(leaf_values[branches], np.maximum(order, 0), axis=1)
    leaf_values[branches] = np.where(order >= 0, numbered, 0.0)
    return Forest(
        features=int(_line(head, "max_feature_idx")) + 1,
        leaf_values=leaf_values,
        tree=np.repeat(branches, splits),
        feature=feature,
        threshold=threshold,
        kept=kept,
    )


def _line(block: str, name: str, default: str | None = None) -> str:
    _, found, rest = block.partition(f"\n{name}=")
    if not found and default is None:
        raise KeyError(name)
    return rest.partition("\n")[0] if found else str(default)


def _numbers(trees: list[str], name: str, kind: type[Any]) -> tuple[NDArray[Any], Ints]:
    """A field of all trees, one after the other, and how many numbers each tree has."""
    lines = [_line(tree, name) for tree in trees]
    counts = np.array([line.count(" ") + 1 for line in lines], dtype=np.intp)
    found = np.fromstring(" ".join(lines), dtype=kind, sep=" ") if lines else np.empty(0, dtype=kind)
    if len(found) != counts.sum():
        raise ValueError(f"a {name} is no number")
    return found, counts


def _places(counts: Ints) -> tuple[Ints, Ints]:
    """Row and column of each cell in a table whose row i holds `counts[i]` of them."""
    row = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    return row, np.arange(len(row)) - first[row]


@dataclass(frozen=True, slots=True)
class _Children:
    """(trees, splits of the largest): what each split leads to on one side; leaf k is written as ~k."""

    child: Ints
    exists: Flags

    @classmethod
    def of(cls, child: Ints, splits: Ints) -> _Children:
        table = np.zeros((len(splits), splits.max(initial=0)), dtype=np.intp)
        exists = np.zeros(table.shape, dtype=bool)
        places = _places(splits)
        table[places], exists[places] = child, True
        return cls(table, exists)


def _number_leaves(left: _Children, right: _Children) -> tuple[NDArray[np.uint32], Ints]:
    """For each split the leaves that going right keeps; and by tree the leaves from the left, -1 beyond the last.

    LightGBM writes a split always after its parent, so one pass over the splits counts leaves and another numbers them,
    for all trees side by side.
    """
    exists = left.exists
    trees, width = exists.shape
    split, last = np.arange(width), exists.sum(axis=1, keepdims=True)
    for side in (left.child, right.child):
        if (exists & (side >= 0) & ((side <= split) | (side >= last))).any():
            raise ValueError("a split does not come after its parent")
    row = np.arange(trees)
    leaves = np.zeros((trees, width), dtype=np.intp)
    on_the_left = np.zeros_like(leaves)
    for node in reversed(range(width)):
        on_the_left[:, node], on_the_right = (
            np.where(side[:, node] < 0, 1, leaves[row, np.maximum(side[:, node], 0)])
            for side in (left.child, right.child)
        )
        leaves[:, node] = np.where(exists[:, node], on_the_left[:, node] + on_the_right, 0)
    start = np.zeros_like(leaves)
    order = np.full((trees, width + 1), -1, dtype=np.intp)
    for node in range(width):
        first = start[:, node]
        for side, place in ((left.child, first), (right.child, first + on_the_left[:, node])):
            child = side[:, node]
            ends, goes_on = exists[:, node] & (child < 0), exists[:, node] & (child >= 0)
            order[row[ends], place[ends]] = ~child[ends]
            start[row[goes_on], child[goes_on]] = place[goes_on]
    # each leaf once: sorted, the numbered ones are 0, 1, 2 … after the -1 of those that a smaller tree lacks
    if (np.sort(order, axis=1) != np.maximum(np.arange(width + 1) - (width - last), -1)).any():
        raise ValueError("a leaf is reached twice or never")
    ruled_out = ((np.uint64(1) << on_the_left.astype(np.uint64)) - np.uint64(1)) << start.astype(np.uint64)
    return ~ruled_out[exists].astype(np.uint32), order
