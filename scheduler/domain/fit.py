"""Whether a job fits a GPU's memory, and what a crash has taught about that.

A job that ran out of memory needed more than the forecast thought likely. Its need, in units of the forecast's
median, exceeds the headroom (usable memory / forecast median) of the place where it crashed. Headroom carries over
from one card and layout to another, bytes do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from predictor.forecast import Forecast, Vram
from predictor.layout import Layout
from scheduler.domain.quantiles import Z95, normal_tail
from scheduler.domain.verdicts import Code, Verdict

LEAST_SIGMA = 0.05
CONVINCING = 2.0
"""Twice the headroom of the crash is worth a try, whatever the forecast's spread says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A placement on which this job has run out of memory."""

    gpu_type: str
    """As its offer names it."""
    layout: Layout
    usable_gib: float | None
    need_p50_gib: float | None
    """The forecast's median then."""

    @property
    def headroom(self) -> float | None:
        """Usable memory over the forecast median; None where either was not known."""
        return self.usable_gib / self.need_p50_gib if self.usable_gib and self.need_p50_gib else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The probability that a job fits, and the verdict where that is not enough."""

    probability: float
    verdict: Verdict | None


def judge_fit(gpu_type: str, forecast: Forecast, tried: Sequence[Tried], asked: float) -> Fit:
    """Judge one forecast against the asked probability and against what earlier attempts have shown."""
    if any(gpu_type == crash.gpu_type and forecast.layout == crash.layout for crash in tried):
        return Fit(probability=0.0, verdict=Verdict(Code.TRIED, None, "ran out of memory there before"))
    vram, usable = forecast.peak_vram, forecast.usable_vram_gib or 0.0
    if vram is None:
        return _without_forecast(forecast, tried)
    probability = forecast.fit_probability
    if probability is None:
        probability = 1.0 if vram.p95_gib <= usable else 0.0
    if tried:
        after_crash = _after_crash(vram, usable, tried)
        if after_crash is None:
            text = f"no roomier than where it ran out of memory: {usable:.1f} GiB for {vram.p50_gib:.1f} GiB at p50"
            return Fit(probability=0.0, verdict=Verdict(Code.TRIED, None, text))
        probability = min(probability, after_crash)
    if probability >= asked:
        return Fit(probability=probability, verdict=None)
    short = vram.p95_gib - usable
    if short > 0:
        text = f"short by {short:.1f} GiB: {vram.p95_gib:.1f} GiB at p95, {usable:.1f} GiB usable"
        return Fit(probability=probability, verdict=Verdict(Code.VRAM, short, text))
    text = f"fits with probability {probability:.3f}, {asked:g} is asked"
    return Fit(probability=probability, verdict=Verdict(Code.FIT_PROBABILITY, probability, text))


def _without_forecast(forecast: Forecast, tried: Sequence[Tried]) -> Fit:
    """No memory figure: anything goes, except what is no larger than where the job has crashed."""
    usable, count = forecast.usable_vram_gib or 0.0, forecast.layout.gpu_count
    if any(usable <= (crash.usable_gib or 0.0) and count <= crash.layout.gpu_count for crash in tried):
        text = f"ran out of memory on a card that is no smaller than {usable:.1f} GiB"
        return Fit(probability=0.0, verdict=Verdict(Code.TRIED, None, text))
    return Fit(probability=1.0, verdict=None)


def _after_crash(vram: Vram, usable_gib: float, tried: Sequence[Tried]) -> float | None:
    """P(fits | it did not fit at the crash's headroom); None where there is no more headroom than there.

    The need over its median is log-normal. A crash that the forecast thought unlikely says that its spread was too
    small, so the spread is widened until the crash is one standard deviation out.
    """
    crashed = max((crash.headroom or 1.0 for crash in tried), default=1.0)
    headroom = usable_gib / vram.p50_gib if vram.p50_gib > 0 else math.inf
    if headroom <= crashed:
        return None
    if headroom >= CONVINCING * crashed:
        return 1.0
    sigma = max(math.log(vram.p95_gib / vram.p50_gib) / Z95, math.log(crashed) if crashed > 1 else 0.0, LEAST_SIGMA)
    return 1.0 - normal_tail(math.log(headroom) / sigma) / normal_tail(math.log(crashed) / sigma)
