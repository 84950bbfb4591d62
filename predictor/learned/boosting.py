"""Fit boosted trees to what arithmetic missed.

Boosting starts at zero, which is the arithmetic itself, and every leaf is shrunk towards it. The loss is
pseudo-Huber (Charbonnier et al. 1994): quadratic near the middle, linear for sources that forgot to say
something. A row known only from below pulls while the forecast is below its bound, and is silent above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.gather import Flags, Floats

NO_TREES = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx={last}\n\nend of trees\n"
"""LightGBM text of a model that says zero; LightGBM itself refuses to fit rows that are all alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosting:
    """How the trees of one task are grown."""

    trees: int = 160
    leaves: int = 16
    learning_rate: float = 0.06
    min_rows: int = 8
    """Fewest rows of a leaf; LightGBM counts outliers as parts of a row."""
    ridge: float = 4.0
    """Rows' worth of zeros added to every leaf."""
    features: float = 0.5
    """Share of the columns that a tree may look at."""
    rows: float = 0.8
    """Share of the rows that a tree sees."""
    width: float = 0.1
    """Residual, in logarithms, beyond which the loss is linear."""


def boost(
    rows: Floats,
    residuals: Floats,
    *,
    lower_bound: Flags,
    weights: Floats,
    growing: Sequence[int],
    seed: int,
    settings: Boosting,
) -> str:
    """LightGBM text of trees that predict `residuals` from `rows`, never falling along the `growing` columns."""
    if settings.trees == 0 or not np.ptp(rows, axis=0).any():
        return NO_TREES.format(last=rows.shape[1] - 1)
    import lightgbm  # noqa: PLC0415 - a second at import, and only training needs it

    def gradients(scores: Floats, _: object) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        gap = scores - residuals
        bent = np.sqrt(1.0 + (gap / settings.width) ** 2)
        silent = lower_bound & (gap >= 0.0)
        # the true curvature 1/bent^3 vanishes for outliers and makes their steps wild; the secant's 1/bent never does.
        # Silent rows keep theirs: LightGBM counts the rows of a leaf by it
        first = np.where(silent, 0.0, weights * gap / bent)
        second = weights / bent
        return first.astype(np.float32), second.astype(np.float32)

    constraints = [0] * rows.shape[1]
    for column in growing:
        constraints[column] = 1
    booster = lightgbm.train(
        {
            "objective": gradients,
            "num_leaves": settings.leaves,
            "learning_rate": settings.learning_rate,
            "min_data_in_leaf": settings.min_rows,
            "min_sum_hessian_in_leaf": 1e-3,
            "lambda_l2": settings.ridge,
            "feature_fraction": settings.features,
            "bagging_fraction": settings.rows,
            "bagging_freq": 1,
            "max_bin": 127,
            "min_data_in_bin": 1,
            "feature_pre_filter": False,
            "use_missing": False,
            "monotone_constraints": constraints,
            "monotone_constraints_method": "intermediate",
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,  # the data are small, and two threads on a busy machine wait for each other
            "verbosity": -1,
        },
        lightgbm.Dataset(rows, residuals, free_raw_data=True),
        num_boost_round=settings.trees,
    )
    return str(booster.model_to_string())
