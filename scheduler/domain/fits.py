"""`fit.judge_fit` for all options of a job at once, and how much roomier a place must be after a crash."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from predictor.layout import Layout
from scheduler.domain.arrays import Flags, Floats, Ints
from scheduler.domain.fit import CONVINCING, LEAST_SIGMA, Tried
from scheduler.domain.foresight import Foresight
from scheduler.domain.quantiles import Z95
from scheduler.domain.verdicts import FEASIBLE, NEARNESS, Code


def judge_fits(
    seen: Foresight, gpu_types: NDArray[np.str_], layouts: Sequence[Layout], tried: Sequence[Tried], asked: float
) -> tuple[Floats, Ints, Floats]:
    """The probability that each option fits, what became of it, and the number of that verdict.

    `gpu_types` and `layouts` are of the board's cells; layouts are needed only where something was tried.
    """
    fit = np.where(np.isnan(seen.fit), 1.0, seen.fit)
    crashed = np.zeros(len(fit), dtype=np.bool_)
    if tried:
        fit, crashed = _after(seen, gpu_types, layouts, tried, fit)
    short = seen.vram_p95_gib - seen.usable_gib
    unlikely = fit < asked
    near = np.full(len(fit), FEASIBLE, dtype=np.int64)
    near[unlikely] = NEARNESS[Code.FIT_PROBABILITY]
    near[unlikely & (short > 0)] = NEARNESS[Code.VRAM]
    number = np.where(unlikely, np.where(short > 0, short, fit), 0.0)
    near[crashed], number[crashed] = NEARNESS[Code.TRIED], 0.0
    return fit, near, number


def _after(
    seen: Foresight, gpu_types: NDArray[np.str_], layouts: Sequence[Layout], tried: Sequence[Tried], fit: Floats
) -> tuple[Floats, Flags]:
    same = np.zeros(len(gpu_types), dtype=np.bool_)
    for crash in tried:
        for place in np.flatnonzero(gpu_types == crash.gpu_type).tolist():
            same[place] |= layouts[place] == crash.layout
    count = np.array([layout.gpu_count for layout in layouts], dtype=np.int64)[seen.cell]
    unknown = np.isnan(seen.vram_p50_gib)
    no_larger = np.zeros(len(fit), dtype=np.bool_)
    for crash in tried:
        no_larger |= (seen.usable_gib <= (crash.usable_gib or 0.0)) & (count <= crash.layout.gpu_count)
    worst = max(crash.headroom or 1.0 for crash in tried)
    with np.errstate(divide="ignore", invalid="ignore"):
        headroom = np.where(seen.vram_p50_gib > 0, seen.usable_gib / seen.vram_p50_gib, np.inf)
        spread = np.log(seen.vram_p95_gib / seen.vram_p50_gib) / Z95
        sigma = np.maximum(np.nan_to_num(spread, nan=0.0), max(LEAST_SIGMA, np.log(worst) if worst > 1 else 0.0))
        after = 1.0 - ndtr(-np.log(headroom) / sigma) / ndtr(-np.log(worst) / sigma)
    after = np.where(headroom >= CONVINCING * worst, 1.0, after)
    crashed = same[seen.cell] | np.where(unknown, no_larger, headroom <= worst)
    fit = np.where(unknown, fit, np.minimum(fit, after))
    return np.where(crashed, 0.0, fit), crashed


def roomy_from(headroom: Floats, log_p95_over_p50: Floats, asked: float) -> Floats:
    """The headroom at which a job would fit with the asked probability, had it run out of memory at this headroom.

    The inverse of what `judge_fit` says after a crash, with the spread of the place where it crashed.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        crashed = np.log(headroom)
        sigma = np.maximum(np.maximum(log_p95_over_p50 / Z95, crashed), LEAST_SIGMA)
        needed = -ndtri((1.0 - asked) * ndtr(-crashed / sigma)) * sigma
    enough: Floats = np.fmin(np.exp(needed), CONVINCING * headroom)
    return enough
