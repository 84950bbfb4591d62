"""Forecasts of a list of questions: their figures as columns at once, a value object only of what somebody looks at.

A plan compares hundreds of candidates by a dozen figures and shows a few of them; making an object of each would cost
more than forecasting it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import overload

import numpy as np
from numpy.typing import NDArray

from predictor.forecast import Forecast
from predictor.gather import Flags, Floats, as_columns
from predictor.words import Basis

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Figures:
    """What decisions compare, one cell per question; NaN where a forecast has no such quantity."""

    startup_s: Floats
    runtime_p10_s: Floats
    runtime_p50_s: Floats
    runtime_p90_s: Floats
    vram_p50_gib: Floats
    vram_p95_gib: Floats
    fit_probability: Floats
    usable_vram_gib: Floats
    """0 where there is no device memory."""
    weights_gib: Floats
    in_domain: Flags
    learned: Flags
    """Whether the basis is `learned`."""


class Forecasts(Sequence[Forecast]):
    """A list of forecasts whose items are made when they are asked for, and then kept."""

    __slots__ = ("_made", "_make", "figures")

    def __init__(self, figures: Figures, make: Callable[[Rows], Sequence[Forecast]]) -> None:
        """`make` gives the forecasts of some rows, in order; it is asked for each row at most once or twice."""
        self.figures = figures
        self._make = make
        self._made: list[Forecast | None] = [None] * len(figures.startup_s)

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, index: int) -> Forecast: ...

    @overload
    def __getitem__(self, index: slice) -> list[Forecast]: ...

    def __getitem__(self, index: int | slice) -> Forecast | list[Forecast]:
        if isinstance(index, slice):
            return self.at(range(*index.indices(len(self))))
        return self.at([range(len(self))[index]])[0]

    def __iter__(self) -> Iterator[Forecast]:
        return iter(self.at(range(len(self))))

    def __eq__(self, other: object) -> bool:
        """Equal to any list of equal forecasts."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Forecast.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def at(self, rows: Sequence[int]) -> list[Forecast]:
        """The forecasts of some rows, made in one go."""
        missing = [row for row in rows if self._made[row] is None]
        if missing:
            # threads that look at once make equal values; the last one stays
            for row, made in zip(missing, self._make(np.array(missing)), strict=True):
                self._made[row] = made
        return [forecast for row in rows if (forecast := self._made[row]) is not None]


def listed(forecasts: Sequence[Forecast]) -> Forecasts:
    """Forecasts that were made one by one."""
    return Forecasts(figures_of(forecasts), lambda rows: [forecasts[row] for row in rows.tolist()])


def taken(forecasts: Sequence[Forecast], rows: Sequence[int]) -> Forecasts:
    """Some rows of a list of forecasts, as a list of their own; no value is made for it."""
    whole = forecasts if isinstance(forecasts, Forecasts) else listed(forecasts)
    at = np.asarray(rows, dtype=np.intp)
    columns = {field.name: getattr(whole.figures, field.name)[at] for field in fields(Figures)}
    return Forecasts(Figures(**columns), lambda wanted: whole.at(at[wanted].tolist()))


def joined(parts: Sequence[tuple[Sequence[int], Forecasts]], count: int) -> Forecasts:
    """Parts of a list of `count` forecasts put back together, each with the places it belongs at."""
    part_of, row_in = np.empty(count, dtype=np.intp), np.empty(count, dtype=np.intp)
    for number, (places, part) in enumerate(parts):
        part_of[places], row_in[places] = number, np.arange(len(part))

    def make(rows: Rows) -> list[Forecast]:
        made: dict[int, Forecast] = {}
        for number, (_, part) in enumerate(parts):
            mine = rows[part_of[rows] == number]
            made.update(zip(mine.tolist(), part.at(row_in[mine].tolist()), strict=True))
        return [made[row] for row in rows.tolist()]

    if not parts:
        return listed([])
    order = np.argsort(np.concatenate([np.asarray(places, dtype=np.intp) for places, _ in parts]))
    columns = {
        field.name: np.concatenate([getattr(part.figures, field.name) for _, part in parts])[order]
        for field in fields(Figures)
    }
    return Forecasts(Figures(**columns), make)


def figures_of(forecasts: Sequence[Forecast]) -> Figures:
    """The figures of any list of forecasts; at hand where the predictor made it."""
    if isinstance(forecasts, Forecasts):
        return forecasts.figures
    names = [field.name for field in fields(Figures)]
    numbers = np.array([_numbers(forecast) for forecast in forecasts], dtype=np.float64).reshape(-1, len(names))
    return as_columns(Figures, dict(zip(names, numbers.T, strict=True)))


def _numbers(forecast: Forecast) -> tuple[float | None, ...]:
    run, vram, parts = forecast.runtime_s, forecast.peak_vram, forecast.vram_breakdown
    return (
        forecast.startup_s,
        *((None,) * 3 if run is None else (run.p10, run.p50, run.p90)),
        *((None,) * 2 if vram is None else (vram.p50_gib, vram.p95_gib)),
        forecast.fit_probability,
        forecast.usable_vram_gib or 0.0,
        None if parts is None else parts.weights,
        forecast.in_domain,
        forecast.basis is Basis.LEARNED,
    )
