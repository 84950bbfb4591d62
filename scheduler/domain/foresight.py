"""Forecasts of a board's questions as columns, read once however many decisions use them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictor.forecast import Forecast
from scheduler.domain.arrays import Flags, Floats, Ints
from scheduler.domain.candidates import Board


@dataclass(frozen=True, slots=True, eq=False)
class Foresight:
    """One cell per option: a cell of the board taken for one of the variants that its GPU type may mean."""

    forecasts: Sequence[Forecast]
    """Of the board's questions."""
    question: Ints
    cell: Ints
    """Cells of the board, counted through all groups."""
    first: Ints
    """Where each group's cells begin, and at the end the number of cells."""
    startup_s: Floats
    p10_s: Floats
    p50_s: Floats
    p90_s: Floats
    timed: Flags
    """Whether there is a run time at all; where not, its quantiles are 1 and mean nothing."""
    vram_p50_gib: Floats
    """NaN without a memory forecast, as are p95 and fit."""
    vram_p95_gib: Floats
    fit: Floats
    usable_gib: Floats
    """0 where there is no device memory."""
    holds_weights: Flags


def foresee(board: Board, forecasts: Sequence[Forecast]) -> Foresight:
    """Read the forecasts, one for each question of the board in its order."""
    sizes = [len(cells) for cells in board.cells]
    cells = [cell for group in board.cells for cell in group]
    question = [place for cell in cells for place in cell.questions]
    numbers = np.array([_numbers(forecast) for forecast in forecasts], dtype=np.float64).reshape(-1, 9)[question]
    # a quantile of zero would have no logarithm; nothing runs for less than a microsecond
    times = np.maximum(np.where(np.isnan(numbers[:, 1:4]), 1.0, numbers[:, 1:4]), 1e-6)
    return Foresight(
        forecasts=forecasts,
        question=np.array(question, dtype=np.int64),
        cell=np.repeat(np.arange(len(cells)), [len(cell.questions) for cell in cells]),
        first=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        startup_s=numbers[:, 0],
        p10_s=times[:, 0],
        p50_s=times[:, 1],
        p90_s=times[:, 2],
        timed=~np.isnan(numbers[:, 2]),
        vram_p50_gib=numbers[:, 4],
        vram_p95_gib=numbers[:, 5],
        fit=numbers[:, 6],
        usable_gib=numbers[:, 7],
        holds_weights=numbers[:, 8] > 0,
    )


def holds_weights(forecast: Forecast) -> bool:
    """Whether the weights alone are no larger than the card's memory: all that a catalogue can tell."""
    parts, usable = forecast.vram_breakdown, forecast.usable_vram_gib
    return parts is None or usable is None or parts.weights <= usable


def _numbers(forecast: Forecast) -> tuple[float, ...]:
    run, vram, usable = forecast.runtime_s, forecast.peak_vram, forecast.usable_vram_gib or 0.0
    fit = forecast.fit_probability
    if vram is not None and fit is None:
        fit = 1.0 if vram.p95_gib <= usable else 0.0
    return (
        forecast.startup_s,
        *((math.nan,) * 3 if run is None else (run.p10, run.p50, run.p90)),
        *((math.nan,) * 2 if vram is None else (vram.p50_gib, vram.p95_gib)),
        math.nan if fit is None or vram is None else fit,
        usable,
        float(holds_weights(forecast)),
    )
