"""What each layout serves, at the number of sequences in flight that makes its tokens cheapest.

The machine is paid by the hour whatever it does, so the cheapest token is that of the highest rate. The rate is swept
over the sequences in flight, up to what memory holds and what a latency limit allows. Latencies follow from the rate
by Little's law (1961): B sequences in flight at R requests a second each stay for B / R seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from typing import Protocol

from predictor.forecast import Forecast, Question, Spread
from predictor.layout import Layout
from predictor.words import Precision
from predictor.workload import InferenceWorkload

LADDER = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Sequences in flight on one replica that are tried; between two steps the rate changes by a tenth at most."""

WAVES = 64
"""Requests of a sweep, in batches: long enough for the start and the tail not to count."""


class Forecaster(Protocol):
    """Whatever answers how much and how long."""

    def forecast(self, questions: Sequence[Question]) -> Sequence[Forecast]:
        """One forecast for each question, in order."""
        ...


class Stop(StrEnum):
    """What keeps more sequences from being in flight."""

    MEMORY = "memory"
    """The next step does not fit at the probability asked."""
    LATENCY = "latency"
    """The next step breaks a limit."""
    RATE = "rate"
    """More in flight would serve no more."""
    ENGINE = "engine"
    """The longest batch tried."""


class Bound(StrEnum):
    """What most of the time of a phase is spent on."""

    COMPUTE = "compute"
    MEMORY = "bandwidth"
    COMMUNICATION = "communication"
    OVERHEAD = "overhead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a served request may take at the forecast's p90, seconds; None: as long as it likes."""

    ttft_s: float | None = None
    """To the first token, of a request that does not wait for a place."""
    tpot_s: float | None = None
    """For each further token, mean over the answer."""
    fit_probability: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Shares of the time, adding up to 1, and what each phase waits for."""

    prefill: float
    decode: float
    prefill_bound: Bound | None
    """None where there is no such phase."""
    decode_bound: Bound | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """A layout of one GPU type at work, steadily, with the best number of sequences in flight."""

    question: Question
    in_flight: int
    """Over all replicas."""
    stopped_by: Stop
    request_s: Spread
    """Machine seconds per request: the reciprocal of the rate."""
    ttft_s: Spread
    tpot_s: Spread
    phases: Phases
    forecast: Forecast

    @property
    def precision(self) -> Precision:
        """Of the weights as served."""
        return _serving(self.question).precision


def replicas_of(layout: Layout) -> int:
    """Groups of GPUs that each serve sequences of their own."""
    return layout.data_parallel * (layout.tensor_parallel if layout.data_parallel_attention else 1)


def best_operating(questions: Sequence[Question], predictor: Forecaster, limits: Limits) -> list[Operating | None]:
    """For each inference question its best operating point; None where not even one sequence fits or is in time."""
    swept = [
        (place, _with_batch(question, step * replicas_of(question.layout)))
        for place, question in enumerate(questions)
        for step in LADDER
    ]
    forecasts = predictor.forecast([question for _, question in swept]) if swept else ()
    found: list[Operating | None] = []
    asked = zip(swept, forecasts, strict=True)
    for _, steps in groupby(asked, key=lambda one: one[0][0]):
        found.append(_best([(question, forecast) for (_, question), forecast in steps], limits))
    return found


def ladder(point: Operating, predictor: Forecaster) -> list[Operating]:
    """The same layout with fewer sequences in flight, step by step up to the point itself."""
    steps = sorted({step * replicas_of(point.question.layout) for step in LADDER} | {point.in_flight})
    questions = [_with_batch(point.question, step) for step in steps if step <= point.in_flight]
    forecasts = predictor.forecast(questions)
    return [_operating(question, forecast) for question, forecast in zip(questions, forecasts, strict=True)]


def _with_batch(question: Question, in_flight: int) -> Question:
    asked = replace(_serving(question), max_batch_size=in_flight, num_requests=WAVES * in_flight)
    return replace(question, workload=asked)


def _serving(question: Question) -> InferenceWorkload:
    if not isinstance(question.workload, InferenceWorkload):
        raise TypeError(f"{type(question.workload).__name__} serves nobody")
    return question.workload


def _best(steps: Sequence[tuple[Question, Forecast]], limits: Limits) -> Operating | None:
    """The step of the highest rate before the first that does not fit or is too slow."""
    possible: list[Operating] = []
    stop = Stop.ENGINE
    for question, forecast in steps:
        if (forecast.fit_probability or 0.0) < limits.fit_probability:
            stop = Stop.MEMORY
            break
        point = _operating(question, forecast)
        if _too_slow(point.ttft_s, limits.ttft_s) or _too_slow(point.tpot_s, limits.tpot_s):
            stop = Stop.LATENCY
            break
        possible.append(point)
    if not possible:
        return None
    best = min(possible, key=lambda point: point.request_s.p50)
    return replace(best, stopped_by=stop if best is possible[-1] else Stop.RATE)


def _too_slow(takes: Spread, limit: float | None) -> bool:
    return limit is not None and takes.p90 > limit


def _operating(question: Question, forecast: Forecast) -> Operating:
    workload, runtime, details = _serving(question), forecast.runtime_s, forecast.details
    assert runtime is not None  # noqa: S101 - serving is always timed
    in_flight = workload.max_batch_size or 1
    prefill = details["prefill_s"] / (details["prefill_s"] + details["decode_s"])
    requests = workload.num_requests
    # of one request on its replica: its own prompt, and the step that is under way when it comes
    own_prompt = prefill * replicas_of(question.layout) / requests
    further = max(workload.output_length - 1.0, 1.0)
    stay = in_flight / requests
    tpot = max(stay - own_prompt, 0.0) / further if workload.output_length > 1 else 0.0
    return Operating(
        question=question,
        in_flight=in_flight,
        stopped_by=Stop.ENGINE,
        request_s=_scaled(runtime, 1.0 / requests),
        ttft_s=_scaled(runtime, own_prompt + tpot),
        tpot_s=_scaled(runtime, tpot),
        phases=Phases(
            prefill=prefill,
            decode=1.0 - prefill,
            prefill_bound=_bound("prefill", details),
            decode_bound=_bound("decode", details),
        ),
        forecast=forecast,
    )


def _scaled(runtime: Spread, share: float) -> Spread:
    return Spread(p10=runtime.p10 * share, p50=runtime.p50 * share, p90=runtime.p90 * share)


_PARTS = {
    "compute_s": Bound.COMPUTE,
    "memory_s": Bound.MEMORY,
    "communication_s": Bound.COMMUNICATION,
    "overhead_s": Bound.OVERHEAD,
}


def _bound(phase: str, seconds: Mapping[str, float]) -> Bound | None:
    """What a phase waits for longest; None where there is no such phase."""
    if seconds[f"{phase}_s"] <= 0.0:
        return None
    return _PARTS[max(_PARTS, key=lambda part: seconds[f"{phase}_{part}"])]
