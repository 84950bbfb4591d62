"""Custom jobs: what the user said, corrected by what jobs of the same kind did.

Logarithms of runtime and memory are regressed on the features of past jobs, beginning with an
opinion: the user's own figure, the bundle's model of the kind, or both, each as far as it is sure: a time that is
stated counts as one rough measurement beside the model. One observation moves the forecast
most of the way to it, and some dozens leave little of the opinion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from predictor.custom.bayes import Opinion, Predictive, regress, student_below, student_quantiles
from predictor.custom.encoding import GPU_COLUMNS, Encoding, learn_encoding
from predictor.custom.kinds import KindModel, with_intercept
from predictor.forecast import Question
from predictor.gather import Flags, Floats
from predictor.words import Basis
from predictor.workload import CustomWorkload

if TYPE_CHECKING:
    from predictor.telemetry import Observation

REMEMBERED = 500
"""Observations of a kind that are looked at, the last ones: older software teaches less than it costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomForecasts:
    """What is known of custom jobs of one kind; a quantity nobody stated or measured is NaN."""

    runtime_s: Floats
    """(n, 3): p10, p50 and p90."""
    peak_vram_gib: Floats
    """(n, 2): p50 and p95."""
    fit_probability: Floats
    in_domain: Flags
    basis: Basis
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doubt:
    """How wrong the opinion on a quantity may be, as standard deviations of its logarithm."""

    stated: float
    """Of a user's figure."""
    noise: float
    """Of repeats of one job."""
    gpu_slopes: tuple[float, float, float]
    """Expected exponents of matrix rate, bandwidth and GPU count, for moving a measurement to another card."""
    gpu_doubts: tuple[float, float, float]


# A stated time is taken to be right within a factor of 1.8 two times in three. A job seen on one card is expected to
# gain about two thirds of what a roofline between compute and bandwidth says; more GPUs are not expected to help.
_TIME = _Doubt(stated=0.6, noise=0.12, gpu_slopes=(-0.35, -0.3, 0.0), gpu_doubts=(0.2, 0.2, 0.5))
_MEMORY = _Doubt(stated=0.3, noise=0.04, gpu_slopes=(0.0, 0.0, 0.0), gpu_doubts=(0.02, 0.02, 0.3))

_LOG_EXPONENT_DOUBT = 0.7
_UNIT_DOUBT = 0.3  # of a scaled number, a word or something never seen
_BEHIND_A_FIGURE = 0.4  # doubts shrink where a figure per job already accounts for its features
_HOST_DOUBT = 1.0  # between a host and a card nothing is known
_OPINION_WEIGHT = 4.0
_OVERFLOW = 1.1  # a run out of memory needed more than the card; how much more nobody saw
_ROUNDS = 6


def heeds(question: Question, model: KindModel | None) -> tuple[bool, bool]:
    """Whether the bundle's model of its kind says anything of a job, and whether the job states its own time.

    A model of which the job gives not one feature knows nothing of it but its name, so what is stated is all there is.
    """
    if model is None:
        return False, False
    workload = _workload(question)
    stated = workload.runtime_s is not None
    return not stated or not model.encoding.names.isdisjoint(workload.feature_map), stated


def forecast_kind(
    questions: Sequence[Question], seen: Sequence[Observation], model: KindModel | None
) -> CustomForecasts:
    """Forecast jobs of one kind, which all heed its model alike, from its past observations and the bundle's model;
    either may be absent."""
    heeded, stating = heeds(questions[0], model)
    note = _note(len(seen[-REMEMBERED:]), model, heeded=heeded, stating=stating)
    model = model if heeded else None
    seen = seen[-REMEMBERED:]
    timed = [observation for observation in seen if observation.runtime_s is not None]
    weighed = [observation for observation in seen if _memory(observation) is not None]
    encoding = model.encoding if model else learn_encoding([o.question for o in seen] or questions)
    informed = bool(timed or weighed or model)
    said = encoding.read(questions) if informed else None
    rows = with_intercept(encoding.encode_said(said)) if said else np.ones((len(questions), 1))
    runtime = _quantity(
        rows,
        timed,
        np.log([observation.runtime_s or 1.0 for observation in timed]),
        lower_bound=np.zeros(len(timed), dtype=bool),
        stated=[_workload(question).runtime_s for question in questions],
        seen_stated=[_workload(observation.question).runtime_s for observation in timed],
        encoding=encoding,
        model=model,
        doubt=_TIME,
    )
    memory = _quantity(
        rows,
        weighed,
        np.log([_memory(observation) or 1.0 for observation in weighed]),
        lower_bound=np.array([observation.vram_lower_bound_gib is not None for observation in weighed], dtype=bool),
        stated=[_workload(question).vram_gib or None for question in questions],
        seen_stated=[_workload(observation.question).vram_gib or None for observation in weighed],
        encoding=encoding,
        model=None,
        doubt=_MEMORY,
    )
    usable = np.array([question.gpu.usable_gib or math.nan for question in questions])
    return CustomForecasts(
        runtime_s=runtime.quantiles((0.1, 0.5, 0.9)),
        peak_vram_gib=memory.quantiles((0.5, 0.95)),
        fit_probability=memory.probability_below(usable),
        in_domain=encoding.within(said) if said and (timed or model) else np.zeros(len(questions), dtype=bool),
        basis=Basis.HISTORY if informed else Basis.STATED,
        assumptions=note,
    )


@dataclass(frozen=True, slots=True)
class _Estimate:
    """Student t of the logarithm of one quantity by question; NaN where there is nothing to say."""

    centre: Floats
    scale: Floats
    freedom: Floats

    def quantiles(self, levels: Sequence[float]) -> Floats:
        """(n, levels): of the quantity itself."""
        found: Floats = np.exp(student_quantiles(self.centre, self.scale, self.freedom, levels))
        return found

    def probability_below(self, values: Floats) -> Floats:
        """P(the quantity <= each value)."""
        return student_below(self.centre, self.scale, self.freedom, np.log(values))


def _quantity(
    rows: Floats,
    seen: Sequence[Observation],
    measured: Floats,
    *,
    lower_bound: Flags,
    stated: Sequence[float | None],
    seen_stated: Sequence[float | None],
    encoding: Encoding,
    model: KindModel | None,
    doubt: _Doubt,
) -> _Estimate:
    seen_questions = [observation.question for observation in seen]
    informed = bool(seen) or model is not None
    # a bare statement holds wherever the job runs: without a measurement there is nothing to move from
    asked_rows = rows if informed else np.ones((len(rows), 1))
    seen_rows = with_intercept(encoding.encode(seen_questions)) if seen else np.empty((0, asked_rows.shape[1]))
    told = _logs(stated)
    asked_base = model.log_runtime_of(asked_rows) if model else told
    seen_base = model.log_runtime_of(seen_rows) if model else _logs(seen_stated)
    per_job = ~np.isnan(asked_base)
    asked_base = np.where(per_job, asked_base, _usual(measured, lower_bound))

    estimate = _Estimate(*(np.full(len(rows), np.nan) for _ in range(3)))
    # an observation without a figure of its own is compared with the question's, which then needs a fit of its own
    own_fit = np.isnan(seen_base).any()
    own = asked_base if own_fit else np.isnan(asked_base)
    alike: dict[tuple[object, ...], list[int]] = {}
    for place, key in enumerate(
        zip(own.tolist(), per_job.tolist(), _statements(asked_rows, stated, model), strict=True)
    ):
        alike.setdefault(key, []).append(place)
    for (_, figure, _), mine in alike.items():
        first = mine[0]
        if np.isnan(asked_base[first]):
            continue
        # a job that states nothing begins at what is usual, and so must all it is compared with: what they stated of
        # themselves says nothing of it
        bases = np.where(np.isnan(seen_base) | (not figure), asked_base[first], seen_base)
        opinion = _opinion(encoding, doubt, figure=bool(figure), model=model) if informed else _bare(doubt)
        known, missed, bound = seen_rows, measured - bases, lower_bound
        if model and not np.isnan(told[first]):
            # what was stated is for the usual card, whichever it was, and as rough as any statement
            usual = _on_the_usual_card(asked_rows[first : first + 1])
            share = opinion.noise / doubt.stated
            known = np.vstack([known, share * usual])
            missed = np.append(missed, share * (told[first] - model.log_runtime_of(usual)))
            bound = np.append(bound, False)
        found = _regress(opinion, known, missed, bound, asked_rows[mine])
        estimate.centre[mine] = found.centre + asked_base[mine]
        estimate.scale[mine], estimate.freedom[mine] = found.scale, found.freedom
    return estimate


def _logs(values: Sequence[float | None]) -> Floats:
    """NaN where nothing is stated."""
    return np.array([math.nan if value is None else math.log(value) for value in values])


def _usual(measured: Floats, lower_bound: Flags) -> float:
    """Of jobs like those seen; NaN of none. Where all ran out of memory, what the largest of them lacked."""
    if not len(measured):
        return math.nan
    return float(measured.max() if lower_bound.all() else measured[~lower_bound].mean())


def _statements(rows: Floats, stated: Sequence[float | None], model: KindModel | None) -> list[object]:
    """What tells statements apart that a model is corrected by: the figure, and the job it was made for."""
    if model is None:
        return [None] * len(rows)
    jobs = _on_the_usual_card(rows).tolist()
    return [None if value is None else (value, *job) for value, job in zip(stated, jobs, strict=True)]


def _on_the_usual_card(rows: Floats) -> Floats:
    """The same jobs where the columns of cards are at their centre."""
    usual = rows.copy()
    usual[:, -len(GPU_COLUMNS) - 1 : -1] = 0.0
    return usual


def _regress(opinion: Opinion, seen: Floats, measured: Floats, lower_bound: Flags, asked: Floats) -> Predictive:
    """As `regress`; a lower bound pulls while what is found is below it, and is silent above."""
    heard = ~lower_bound
    for _ in range(_ROUNDS if lower_bound.any() else 0):
        said = regress(opinion, seen[heard], measured[heard], seen).centre
        heard, before = ~lower_bound | (said < measured), heard
        if (heard == before).all():
            break
    return regress(opinion, seen[heard], measured[heard], asked)


def _opinion(encoding: Encoding, doubt: _Doubt, *, figure: bool, model: KindModel | None) -> Opinion:
    shrink = _BEHIND_A_FIGURE if figure else 1.0
    level = model.deviation if model else doubt.stated
    deviations = [level]
    deviations += [shrink * (_LOG_EXPONENT_DOUBT if n.logarithmic else _UNIT_DOUBT) for n in encoding.numbers]
    deviations += [shrink * _UNIT_DOUBT] * len(encoding.levels)
    deviations += [*doubt.gpu_doubts, _HOST_DOUBT, _UNIT_DOUBT]
    means = np.zeros(len(deviations))
    # a model of the kind has its own exponents; a user's bare figure is for the card it was seen on, whichever that is
    if not model:
        first_gpu_column = len(deviations) - len(GPU_COLUMNS) - 1
        means[first_gpu_column : first_gpu_column + 3] = doubt.gpu_slopes
    noise = model.deviation / 2.0 if model else doubt.noise
    return Opinion(mean=means, deviation=np.array(deviations), noise=noise, weight=_OPINION_WEIGHT)


def _bare(doubt: _Doubt) -> Opinion:
    """A figure is all there is."""
    return Opinion(mean=np.zeros(1), deviation=np.array([doubt.stated]), noise=doubt.noise, weight=_OPINION_WEIGHT)


def _memory(observation: Observation) -> float | None:
    bound = observation.vram_lower_bound_gib
    return bound * _OVERFLOW if bound is not None else observation.peak_vram_gib


def _note(seen: int, model: KindModel | None, *, heeded: bool, stating: bool) -> tuple[str, ...]:
    if model and not heeded:
        features = ", ".join(sorted(model.encoding.names))
        start = "the forecast starts from the time stated" if seen else "the forecast is the time stated"
        why = (
            f"the job gives none of the features ({features}) by which the {model.rows} in the training data are known"
        )
        own = (f"history: {seen} past jobs of this kind",) if seen else ()
        return (*own, f"runtime_s: {start}, for {why}")
    both = ("runtime_s: the time stated counts as one rough measurement beside those jobs",) if stating else ()
    if model and seen:
        return (f"history: {seen} own jobs of this kind on top of {model.rows} in the training data", *both)
    if model:
        return (f"history: {model.rows} jobs of this kind in the training data, none of your own", *both)
    if seen:
        return (f"history: {seen} past jobs of this kind",)
    return ("history: none of this kind, so the forecast is what the job states",)


def _workload(question: Question) -> CustomWorkload:
    if not isinstance(question.workload, CustomWorkload):
        raise TypeError(f"{type(question.workload).__name__} is no custom job")
    return question.workload
