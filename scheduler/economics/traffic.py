"""Requests as they come: a day made up from its mean, its peak and its shape, or a trace of a real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.errors import InvalidSpec

Floats = NDArray[np.float64]

DAY_S = 86_400.0
_STEP_S = 60.0
"""Within a minute of a made-up day the rate is constant."""
_NIGHT = 0.05
"""Of the office day's rate by day, before mean and peak are met."""


class Shape(StrEnum):
    """How a day's rate goes."""

    FLAT = "flat"
    DAY = "day"
    """A wave: least at 3 in the morning, most at 15."""
    OFFICE = "office"
    """Rises from 7 to 9, stays until 17, is gone at 19."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests in the order of their arrival, one cell each."""

    name: str
    arrival_s: Floats
    """Since the beginning, ascending."""
    input_tokens: Floats
    output_tokens: Floats
    horizon_s: float
    """How long the dedicated stand and are paid for: a day, or the length of a trace."""

    def __len__(self) -> int:
        return len(self.arrival_s)

    def read_tokens(self, cached_tokens: float) -> Floats:
        """Of each prompt, what the prefix cache does not hold, over the mean of that."""
        read = np.maximum(self.input_tokens - cached_tokens, 0.0) if cached_tokens else self.input_tokens
        return _over_mean(read)

    def work(self, prefill: float, cached_tokens: float = 0.0) -> Floats:
        """Of each request in mean ones, where the mean spends a share `prefill` of its time on its prompt."""
        read, written = self.read_tokens(cached_tokens), _over_mean(self.output_tokens)
        # an empty answer still is a prompt, and a share of zero would be no work at all
        return np.asarray(np.maximum(prefill * read + (1.0 - prefill) * written, 1e-9))


def _over_mean(tokens: Floats) -> Floats:
    return tokens / tokens.mean() if tokens.any() else np.ones(len(tokens))


def traffic_of(name: str, rows: Sequence[tuple[float, float, float]] | Floats) -> Traffic:
    """From seconds, input and output tokens in any order; equal times stay as given.

    A trace ends with the mean gap after its last request, so that its rate is that of its requests.
    """
    cells = np.array(rows, dtype=np.float64).reshape(-1, 3)
    cells = cells[np.argsort(cells[:, 0], kind="stable")]
    arrival_s = cells[:, 0] - cells[0, 0]
    span = float(arrival_s[-1])
    horizon_s = span * len(cells) / (len(cells) - 1) if span > 0 else 1.0
    return Traffic(
        name=name, arrival_s=arrival_s, input_tokens=cells[:, 1], output_tokens=cells[:, 2], horizon_s=horizon_s
    )


def synthetic_day(
    shape: Shape,
    *,
    mean_rps: float,
    peak_rps: float,
    input_length: float,
    output_length: float,
    length_cv: float,
    seed: int,
) -> Traffic:
    """A Poisson process of that rate over a day; lengths are lognormal about their means.

    `length_cv`: standard deviation of the lengths over their mean. Raises InvalidSpec where no day of the shape has
    such a mean and peak, or it has no request.
    """
    chance = np.random.default_rng(seed)
    rates = rates_of_day(shape, mean_rps=mean_rps, peak_rps=peak_rps)
    # given how many come in a minute, each comes at a uniform moment of it
    counts = chance.poisson(rates * _STEP_S)
    total = int(counts.sum())
    if not total:
        raise InvalidSpec(f"a day of {mean_rps:g} requests a second on average came out without any request")
    arrival_s = np.repeat(np.arange(len(rates)) * _STEP_S, counts) + chance.uniform(0.0, _STEP_S, total)
    arrival_s.sort()
    return Traffic(
        name=f"made-up day ({shape})", arrival_s=arrival_s,
        input_tokens=_lengths(chance, input_length, length_cv, total, 1.0),
        output_tokens=_lengths(chance, output_length, length_cv, total, 0.0), horizon_s=DAY_S,
    )  # fmt: skip


def _lengths(chance: np.random.Generator, mean: float, cv: float, count: int, least: float) -> Floats:
    if mean <= 0:
        return np.zeros(count)
    sigma2 = np.log1p(cv * cv)
    return np.maximum(np.rint(mean * np.exp(chance.normal(-sigma2 / 2, np.sqrt(sigma2), count))), least)


def rates_of_day(shape: Shape, *, mean_rps: float, peak_rps: float) -> Floats:
    """Requests a second in each minute: the shape, sharpened by that power that gives the mean under the peak."""
    if peak_rps < mean_rps:
        raise InvalidSpec(f"peak_rps is {peak_rps:g}, below mean_rps {mean_rps:g}")
    minute = (np.arange(int(DAY_S / _STEP_S)) + 0.5) / 60.0
    if shape is Shape.FLAT:
        if peak_rps != mean_rps:
            raise InvalidSpec("a flat day's peak_rps is its mean_rps: leave it out, or choose another shape")
        return np.full(len(minute), mean_rps)
    if shape is Shape.DAY:
        form = (1.0 + np.cos(2 * np.pi * (minute - 15.0) / 24.0)) / 2.0
    else:
        form = np.interp(minute, [0, 7, 9, 17, 19, 24], [_NIGHT, _NIGHT, 1.0, 1.0, _NIGHT, _NIGHT])
    wanted, low, high = mean_rps / peak_rps, 0.0, 200.0
    if (form**high).mean() > wanted:
        most = 1.0 / float((form**high).mean())
        raise InvalidSpec(f"peak_rps of a day of the shape {shape} is at most {most:.3g} × mean_rps")
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if (form**middle).mean() > wanted else (low, middle)
    return np.asarray(peak_rps * form**high)
