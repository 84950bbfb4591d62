"""One deployment as a fleet has it: how fast with how many in flight, how long to start, what each use is billed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
from numpy.typing import NDArray

from predictor.roofline.startup import STORAGE_BYTES_S
from scheduler.domain.money import cost_micros
from scheduler.economics.fleet_simulation import FleetRun
from scheduler.economics.serving import Forecaster, Operating, ladder
from scheduler.economics.tokens import TokenCost
from scheduler.economics.traffic import Traffic

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GIB = 2.0**30
GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A replica of the fleet, at the forecast's median unless it is one of the ends."""

    cost: TokenCost
    rates: Floats
    """Mean requests a second with 0, 1, 2, … sequences in flight."""
    own_prompt_s: float
    """The mean prompt, read alone."""
    tpot_s: Floats
    """By sequences in flight, as `rates`."""
    prefill: float
    """Share of a mean request's work that is its prompt."""
    provision_s: float
    """Until the machine is there; nobody bills that."""
    start_s: float
    """The process, the model's weights from storage, the engine's preparations: billed."""
    ends: tuple[Deployment, Deployment] | None = None
    """The same at the forecast's p10 of the time, and at its p90; a start takes as long in each."""

    @property
    def cold_s(self) -> float:
        """From the request for one until it serves."""
        return self.provision_s + self.start_s

    @property
    def capacity(self) -> float:
        """Mean requests a second, full."""
        return float(self.rates[-1])

    def ttft_s(self, traffic: Traffic, wait_s: Floats, in_flight: Ints, cached_tokens: float = 0.0) -> Floats:
        """Time to first token: the wait, the own prompt by what of it is not cached, and the step under way."""
        first: Floats = traffic.read_tokens(cached_tokens) * self.own_prompt_s
        first += wait_s  # in place: of ten million requests each array is 80 MB
        first += self.tpot_s[in_flight]
        return first

    def paid_s(self, run: FleetRun) -> Floats:
        """Seconds that each elastic life is metered: from the moment its machine is there."""
        return run.gone_s - run.asked_s - self.provision_s

    def bills_micros(self, used_s: Floats) -> Ints:
        """What each use costs, with the offer's increment and minimum, rounded half-even.

        Uses are whole microseconds: the rest is what differences of floats leave, and must not begin an increment.
        """
        offer, count = self.cost.offer, self.cost.gpu_count
        increment_s, per_hour = offer.billing_increment_s, self.cost.micros_per_hour // count
        used_s = np.round(used_s, 6)
        increments = np.ceil(np.maximum(used_s, offer.minimum_s) / increment_s).astype(np.int64)
        # a day may have a million uses, but only so many lengths
        lengths, places = np.unique(np.where(used_s > 0, increments, 0), return_inverse=True)
        prices = [cost_micros(per_hour, count, length * increment_s) for length in lengths.tolist()]
        return np.array(prices, dtype=np.int64)[places]

    def day_micros(self, used_s: float, *, discount: Decimal) -> int:
        """What one replica that is kept for so long costs."""
        full = int(self.bills_micros(np.array([used_s]))[0])
        return int((full * (1 - discount)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def deployment_of(cost: TokenCost, predictor: Forecaster, *, load_gb_s: float | None = None) -> Deployment:
    """The replica that this cost is of.

    `load_gb_s`: what storage gives a machine, 10⁹ bytes a second; None: what the forecast's start-up already assumes.
    """
    steps = ladder(cost.operating, predictor)
    start_s = _start_s(cost, load_gb_s)
    fast, median, slow = (_at(level, cost, steps, start_s) for level in ("p10", "p50", "p90"))
    return replace(median, ends=(fast, slow))


def _at(level: str, cost: TokenCost, steps: Sequence[Operating], start_s: float) -> Deployment:
    """Every step of the ladder at the same quantile of its time: a card that is slow is slow with any load."""
    point = cost.operating
    counts = [step.in_flight for step in steps]
    tpot_s = [getattr(step.tpot_s, level) for step in steps]
    return Deployment(
        cost=cost,
        rates=rates_between(counts, [1.0 / getattr(step.request_s, level) for step in steps]),
        own_prompt_s=getattr(point.ttft_s, level) - getattr(point.tpot_s, level),
        tpot_s=np.interp(np.arange(point.in_flight + 1), counts, tpot_s),
        prefill=point.phases.prefill,
        provision_s=cost.offer.provision_s,
        start_s=start_s,
    )


def rates_between(counts: Sequence[int], rates: Sequence[float]) -> Floats:
    """Requests a second with 0, 1, … up to the last of `counts` in flight, from those at `counts`, ascending.

    Between two of them it is the stay, n / rate, that is a straight line: one sequence more makes a step of the batch
    longer by its own cache and its own prompt. Below the first the stay is that of the first.
    """
    every = np.arange(counts[-1] + 1)
    stay_s = np.interp(every, counts, [count / rate for count, rate in zip(counts, rates, strict=True)])
    return np.asarray(every / stay_s)


def _start_s(cost: TokenCost, load_gb_s: float | None) -> float:
    forecast = cost.operating.forecast
    parts = forecast.vram_breakdown
    if load_gb_s is None or parts is None:
        return forecast.startup_s
    layout = cost.operating.question.layout
    split = layout.tensor_parallel * layout.pipeline_parallel
    # copies of the model on one machine are read from storage once, parts on several machines each by its own
    weights = parts.weights * GIB * min(split, cost.offer.node_gpus)
    return max(0.0, forecast.startup_s - weights / STORAGE_BYTES_S) + weights / (load_gb_s * GB)
