"""What each cell (a layout of a GPU type) promises under a job's constraints and after its earlier attempts.

A bare GPU name stands for several variants; the least favourable one is assumed: one that does not fit before one
that does, then the slowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from predictor.forecast import Forecast
from predictor.forecasts import Forecasts
from scheduler.domain.arrays import Flags, Floats, Ints
from scheduler.domain.candidates import Cell, Proposals
from scheduler.domain.cost import MAX_SECONDS
from scheduler.domain.fit import Fit, Tried, judge_fit
from scheduler.domain.fits import judge_fits, roomy_from
from scheduler.domain.foresight import Foresight, foresee
from scheduler.domain.spec import Constraints
from scheduler.domain.verdicts import FEASIBLE, NEARNESS, Code, Verdict

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Outlook:
    """All cells, group after group, as columns."""

    proposals: Proposals
    foresight: Foresight
    constraints: Constraints
    tried: tuple[Tried, ...]
    option: Ints
    """Of the foresight's options, the one that counts."""
    first: Ints
    """Where each group begins, and at the end the number of cells."""
    near: Ints
    """`FEASIBLE`, or the nearness of what speaks against the cell on any offer."""
    number: Floats
    """The number of that reason."""
    startup_s: Floats
    p10_s: Floats
    p50_s: Floats
    p90_s: Floats
    timed: Flags
    """Whether the cell has a run time at all; where not, its times are 1 and mean nothing."""
    fit: Floats
    """The probability that it fits."""
    headroom: Floats
    """Usable memory over the forecast median; infinite where memory is not forecast."""
    roomy_from: Floats
    """The headroom that a job would need elsewhere, had it run out of memory here."""
    holds_weights: Flags

    @property
    def oom_probability(self) -> Floats:
        """The probability that it does not."""
        return 1.0 - self.fit

    def forecasts(self, places: Ints) -> list[Forecast]:
        """The forecasts that count for some cells; cheaper for many at once, where they are still to be made."""
        rows, forecasts = self.foresight.question[self.option[places]].tolist(), self.foresight.forecasts
        return forecasts.at(rows) if isinstance(forecasts, Forecasts) else [forecasts[row] for row in rows]

    def cell(self, place: int) -> CellOutlook:
        """A cell as a value, with its verdict in words."""
        at = int(np.searchsorted(self.first, place, side="right")) - 1
        board = self.proposals.board
        (forecast,) = self.forecasts(np.array([place]))
        gpu_type = board.groups[at].gpu_type
        fit = judge_fit(gpu_type, forecast, self.tried, self.constraints.min_fit_probability)
        verdict = _time_verdict(forecast, self.constraints) if fit.verdict is None else fit.verdict
        if forecast.runtime_s is None:
            verdict = Verdict(Code.NO_FORECAST, None, "its run time cannot be forecast")
        assumed = forecast.gpu_type if forecast.gpu_type != gpu_type else None
        return CellOutlook(board.cells[at][place - int(self.first[at])], forecast, assumed, fit, verdict)

    @cached_property
    def cells(self) -> list[CellOutlook]:
        """All cells as values."""
        return [self.cell(place) for place in range(int(self.first[-1]))]


def look_at(
    proposals: Proposals, forecasts: Foresight | Sequence[Forecast], constraints: Constraints, tried: Sequence[Tried]
) -> Outlook:
    """Judge every cell by what does not depend on the offer."""
    seen = forecasts if isinstance(forecasts, Foresight) else foresee(proposals.board, forecasts)
    groups = proposals.board.groups
    gpu_types = np.repeat([group.gpu_type for group in groups], np.diff(seen.first)) if groups else np.empty(0, str)
    layouts = [cell.layout for cells in proposals.board.cells for cell in cells] if tried else []
    fit, near, number = judge_fits(seen, gpu_types, layouts, tried, constraints.min_fit_probability)
    _judge_time(seen, constraints, near, number)
    # within a cell: the variant that came least far, then the slowest, then the least likely to fit
    order = np.lexsort((fit, -seen.p90_s * seen.timed, near, seen.cell))
    option = order[np.searchsorted(seen.cell[order], np.arange(int(seen.first[-1])))]
    with np.errstate(divide="ignore", invalid="ignore"):
        headroom = np.nan_to_num(seen.usable_gib / seen.vram_p50_gib, nan=np.inf)[option]
        sigma = np.nan_to_num(np.log(seen.vram_p95_gib / seen.vram_p50_gib), nan=0.0)[option]
    return Outlook(
        proposals=proposals,
        foresight=seen,
        constraints=constraints,
        tried=tuple(tried),
        option=option,
        first=seen.first,
        near=near[option],
        number=number[option],
        startup_s=seen.startup_s[option],
        p10_s=seen.p10_s[option],
        p50_s=seen.p50_s[option],
        p90_s=seen.p90_s[option],
        timed=seen.timed[option],
        fit=fit[option],
        headroom=headroom,
        roomy_from=roomy_from(headroom, sigma, constraints.min_fit_probability),
        holds_weights=seen.holds_weights[option],
    )


def _judge_time(seen: Foresight, constraints: Constraints, near: Ints, number: Floats) -> None:
    needed = seen.startup_s + seen.p90_s
    limits = (MAX_SECONDS,) if constraints.max_runtime_s is None else (constraints.max_runtime_s, MAX_SECONDS)
    for limit in limits:
        over = (near == FEASIBLE) & (needed > limit)
        near[over], number[over] = NEARNESS[Code.MAX_RUNTIME], (needed - limit)[over]
    near[~seen.timed], number[~seen.timed] = NEARNESS[Code.NO_FORECAST], 0.0


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
