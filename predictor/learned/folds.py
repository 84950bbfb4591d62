"""Split groups, never rows: what belongs together is held out together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from predictor.gather import Flags
from predictor.learned.samples import Samples

GROUPINGS = ("configuration", "family", "gpu_type", "site")
"""From the nearest to the furthest: an unseen setting, model, card, source."""


def group_folds(groups: NDArray[np.str_], count: int, seed: int) -> Iterator[Flags]:
    """Masks of held-out rows: each group in exactly one of at most `count` folds of about equal size.

    Large groups are dealt first and ties are broken by a seeded hash, so the folds do not depend on row order.
    """
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < 2:
        return
    order = sorted(range(len(names)), key=lambda place: (-sizes[place], _hash(str(names[place]), seed)))
    loads = np.zeros(min(count, len(names)))
    fold_of: dict[str, int] = {}
    for place in order:
        fold = int(loads.argmin())
        fold_of[str(names[place])] = fold
        loads[fold] += sizes[place]
    folds = np.array([fold_of[str(group)] for group in groups])
    for fold in range(len(loads)):
        yield folds == fold


def groups_of(samples: Samples, grouping: str) -> NDArray[np.str_]:
    """The group of each row under one of GROUPINGS."""
    groups: dict[str, NDArray[np.str_]] = {
        "configuration": samples.configuration,
        "family": samples.family,
        "gpu_type": samples.gpu_type,
        "site": samples.site,
    }
    return groups[grouping]


def fold_ids(folds: Sequence[Flags], ids: NDArray[np.str_]) -> list[str]:
    """A short hash of the ids in each fold, to say which split a figure belongs to."""
    return [hashlib.sha256("\n".join(sorted(ids[fold])).encode()).hexdigest()[:16] for fold in folds]


def _hash(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()
