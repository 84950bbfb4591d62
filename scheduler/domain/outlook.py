"""What each cell (a layout of a GPU type) promises, read once from its forecasts into columns.

A bare GPU name stands for several variants; the least favourable one is assumed: one that does not fit before one
that does, then the slowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictor.forecast import Forecast
from scheduler.domain.candidates import Cell, Proposals
from scheduler.domain.cost import MAX_SECONDS
from scheduler.domain.fit import Fit, Tried, judge_fit
from scheduler.domain.quantiles import Floats
from scheduler.domain.spec import Constraints
from scheduler.domain.verdicts import NEARNESS, Code, Verdict

_YEAR_S = 31_557_600


@dataclass(frozen=True, slots=True)
class CellOutlook:
    """One cell with the forecast that counts, and what of it needs no offer to be judged."""

    cell: Cell
    forecast: Forecast
    variant_assumed: str | None
    """The GPU type that a bare name was taken for."""
    fit: Fit
    verdict: Verdict | None
    """Why the cell is out on any offer: memory, no forecast, too long; None where it may do."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """All cells, group after group, with their times as columns."""

    cells: tuple[CellOutlook, ...]
    first: tuple[int, ...]
    """Where each group begins, and at the end the number of cells."""
    startup_s: Floats
    p10_s: Floats
    p50_s: Floats
    p90_s: Floats
    oom_probability: Floats
    timed: np.ndarray[tuple[int], np.dtype[np.bool_]]
    """Whether the cell has a run time at all; where not, its times are 1 and mean nothing."""


def look_at(
    proposals: Proposals, forecasts: Sequence[Forecast], constraints: Constraints, tried: Sequence[Tried]
) -> Outlook:
    """Judge every cell by what does not depend on the offer."""
    cells: list[CellOutlook] = []
    first = [0]
    gpu_types = _gpu_type_of_groups(proposals)
    for group, gpu_type in zip(proposals.groups, gpu_types, strict=True):
        cells.extend(_cell(cell, gpu_type, forecasts, constraints, tried) for cell in group)
        first.append(len(cells))
    spreads = [outlook.forecast.runtime_s for outlook in cells]
    times = np.array(
        [(s.p10, s.p50, s.p90) if s is not None else (1.0, 1.0, 1.0) for s in spreads], dtype=np.float64
    ).reshape(-1, 3)
    # a quantile of zero would have no logarithm; nothing runs for less than a microsecond
    times = np.maximum(times, 1e-6)
    return Outlook(
        cells=tuple(cells),
        first=tuple(first),
        startup_s=np.array([outlook.forecast.startup_s for outlook in cells], dtype=np.float64),
        p10_s=times[:, 0],
        p50_s=times[:, 1],
        p90_s=times[:, 2],
        oom_probability=np.array([1.0 - outlook.fit.probability for outlook in cells], dtype=np.float64),
        timed=np.array([s is not None for s in spreads], dtype=np.bool_),
    )


def _gpu_type_of_groups(proposals: Proposals) -> list[str]:
    names = [""] * len(proposals.groups)
    for lot in proposals.lots:
        names[lot.group] = lot.offer.gpu_type
    return names


def _cell(
    cell: Cell, gpu_type: str, forecasts: Sequence[Forecast], constraints: Constraints, tried: Sequence[Tried]
) -> CellOutlook:
    options = [_variant(cell, gpu_type, forecasts[place], constraints, tried) for place in cell.questions]
    return options[0] if len(options) == 1 else min(options, key=_favour)


def _variant(
    cell: Cell, gpu_type: str, forecast: Forecast, constraints: Constraints, tried: Sequence[Tried]
) -> CellOutlook:
    fit = judge_fit(gpu_type, forecast, tried, constraints.min_fit_probability)
    verdict = _time_verdict(forecast, constraints) if fit.verdict is None else fit.verdict
    if forecast.runtime_s is None:
        verdict = Verdict(Code.NO_FORECAST, None, "its run time cannot be forecast")
    assumed = forecast.gpu_type if forecast.gpu_type != gpu_type else None
    return CellOutlook(cell, forecast, assumed, fit, verdict)


def _favour(outlook: CellOutlook) -> tuple[int, float, float]:
    nearness = NEARNESS[outlook.verdict.code] if outlook.verdict else len(NEARNESS)
    slowest = -outlook.forecast.runtime_s.p90 if outlook.forecast.runtime_s else 0.0
    return nearness, slowest, outlook.fit.probability


def _time_verdict(forecast: Forecast, constraints: Constraints) -> Verdict | None:
    if forecast.runtime_s is None:
        return None
    needed = forecast.startup_s + forecast.runtime_s.p90
    if constraints.max_runtime_s is not None and needed > constraints.max_runtime_s:
        over = needed - constraints.max_runtime_s
        text = f"would run {needed:.0f} s at p90, max_runtime_s is {constraints.max_runtime_s:.0f}"
        return Verdict(Code.MAX_RUNTIME, over, text)
    if needed > MAX_SECONDS:
        text = f"would run {needed / _YEAR_S:.0f} years at p90"
        return Verdict(Code.MAX_RUNTIME, needed - MAX_SECONDS, text)
    return None
