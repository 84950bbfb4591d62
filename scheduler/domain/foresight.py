"""Forecasts of a board's questions as columns, read once however many decisions use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictor.forecast import Forecast
from predictor.forecasts import figures_of
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
    figures, shape = figures_of(forecasts), board.shape
    row = shape.question
    run = (figures.runtime_p10_s, figures.runtime_p50_s, figures.runtime_p90_s)
    # a quantile of zero would have no logarithm; nothing runs for less than a microsecond
    p10, p50, p90 = (np.maximum(np.where(np.isnan(figure), 1.0, figure), 1e-6)[row] for figure in run)
    usable, known = figures.usable_vram_gib, ~np.isnan(figures.vram_p50_gib)
    fit = np.where(np.isnan(figures.fit_probability), figures.vram_p95_gib <= usable, figures.fit_probability)
    return Foresight(
        forecasts=forecasts,
        question=row,
        cell=shape.cell,
        first=shape.first,
        startup_s=figures.startup_s[row],
        p10_s=p10,
        p50_s=p50,
        p90_s=p90,
        timed=~np.isnan(figures.runtime_p50_s)[row],
        vram_p50_gib=figures.vram_p50_gib[row],
        vram_p95_gib=figures.vram_p95_gib[row],
        fit=np.where(known, fit, np.nan)[row],
        usable_gib=usable[row],
        # without weights or device memory nothing speaks against it; a comparison with NaN is false
        holds_weights=(~(figures.weights_gib > usable) | (usable == 0))[row],
    )


def holds_weights(forecast: Forecast) -> bool:
    """Whether the weights alone are no larger than the card's memory: all that a catalogue can tell."""
    parts, usable = forecast.vram_breakdown, forecast.usable_vram_gib
    return parts is None or usable is None or parts.weights <= usable
