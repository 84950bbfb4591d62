"""Turn arrays into forecasts: their figures as columns, and a value object of each that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import repeat
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from predictor.arithmetic import InferenceArithmetic, TrainingArithmetic
from predictor.custom.history import CustomForecasts, forecast_kind, heeds
from predictor.custom.kinds import KindModel
from predictor.errors import NotEnoughData
from predictor.footprint.parts import Footprint
from predictor.forecast import Breakdown, Forecast, Question, Spread, Vram
from predictor.forecasts import Figures, Forecasts, Rows, joined
from predictor.gather import Flags, Floats
from predictor.quantiles import Bands
from predictor.roofline.forward_pass import PassTime
from predictor.roofline.startup import inference_startup_s, training_startup_s
from predictor.scatter import Cells, maker
from predictor.words import Basis
from predictor.workload import CustomWorkload
from predictor.workloads.assumptions import arithmetic_assumptions

if TYPE_CHECKING:
    from predictor.telemetry import Observation

T = TypeVar("T")

CUSTOM_STARTUP_S = 0.0
"""A custom job is measured from its first process to its last, so its start is part of its runtime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Quantiles of memory and time of a list of questions, as logarithms, and what they rest on."""

    memory: Bands
    time: Bands
    """Of an optimizer step in training, of the whole job in inference."""
    fit: Floats
    learned: Flags
    in_domain: Flags
    memory_seen: Flags
    """The memory of jobs like this was measured; if not it rests on arithmetic and its margin."""


Quantiles = tuple[Floats, Floats, Floats]
"""p10, p50 and p90."""


def training_forecasts(
    questions: Sequence[Question], a: TrainingArithmetic, outlook: Outlook, version: str
) -> Forecasts:
    """Forecasts of training questions."""
    steps, tokens = a.columns.steps, a.columns.tokens_per_step
    low, middle, high = (np.exp(band) for band in (outlook.time.p10, outlook.time.p50, outlook.time.p90))
    time = a.time
    answers = _Answers(
        questions=tuple(questions),  # made into values later, whatever becomes of the list
        figures=_figures(a, outlook, (low * steps, middle * steps, high * steps), training_startup_s(a.columns)),
        parts=_parts(a.footprint),
        rates=(tokens / high, tokens / middle, tokens / low),
        step_times=(low, middle, high),
        batch=a.footprint.batch,
        says_batch=False,
        details={
            "step_time_s": time.step_time_s,
            "compute_s": time.compute_s,
            "memory_s": time.memory_s,
            "communication_s": time.communication_s,
            "overhead_s": time.overhead_s,
        },
        memory_seen=outlook.memory_seen,
        version=version,
    )
    return Forecasts(answers.figures, answers.forecasts)


def inference_forecasts(
    questions: Sequence[Question], a: InferenceArithmetic, outlook: Outlook, version: str
) -> Forecasts:
    """Forecasts of inference questions."""
    tokens = a.columns.requests * a.columns.output
    low, middle, high = (np.exp(band) for band in (outlook.time.p10, outlook.time.p50, outlook.time.p90))
    time = a.time
    answers = _Answers(
        questions=tuple(questions),  # made into values later, whatever becomes of the list
        figures=_figures(a, outlook, (low, middle, high), inference_startup_s(a.columns)),
        parts=_parts(a.footprint),
        rates=(tokens / high, tokens / middle, tokens / low),
        step_times=None,
        batch=a.batch,
        says_batch=True,
        details={
            "runtime_s": time.runtime_s,
            "prefill_s": time.prefill_s,
            "decode_s": time.decode_s,
            "compute_s": time.compute_s,
            "memory_s": time.memory_s,
            "communication_s": time.communication_s,
            "overhead_s": time.overhead_s,
            **_parts_of("prefill", time.prefill),
            **_parts_of("decode", time.decode),
        },
        memory_seen=outlook.memory_seen,
        version=version,
    )
    return Forecasts(answers.figures, answers.forecasts)


def custom_answers(
    questions: Sequence[Question], history: Iterable[Observation], kinds: Mapping[str, KindModel], version: str
) -> Sequence[Forecast | NotEnoughData]:
    """Forecasts of custom jobs, each kind from its own past; one of which nothing is known is refused in its place."""
    past: dict[str, list[Observation]] = {}
    for observation in history:
        if isinstance(observation.question.workload, CustomWorkload):
            past.setdefault(observation.question.workload.kind, []).append(observation)
    by_kind: dict[tuple[str, tuple[bool, bool]], list[int]] = {}
    for place, question in enumerate(questions):
        kind = kind_of(question)
        by_kind.setdefault((kind, heeds(question, kinds.get(kind))), []).append(place)
    parts: list[tuple[list[int], Forecasts]] = []
    refused: dict[int, NotEnoughData] = {}
    for (kind, _), places in by_kind.items():
        asked = questions if len(by_kind) == 1 else [questions[place] for place in places]
        found = forecast_kind(asked, past.get(kind, []), kinds.get(kind))
        answers = _CustomAnswers(tuple(asked), found, version)
        parts.append((places, Forecasts(answers.figures(), answers.forecasts)))
        unknown = np.isnan(found.runtime_s[:, 1]) & np.isnan(found.peak_vram_gib[:, 0])
        for row in np.flatnonzero(unknown).tolist():
            refused[places[row]] = NotEnoughData(
                f"nothing is known of custom jobs of kind {kind!r}: state runtime_s (and vram_gib), "
                "or give observations of this kind"
            )
    together = parts[0][1] if len(parts) == 1 else joined(parts, len(questions))
    if not refused:
        return together
    known = [place for place in range(len(questions)) if place not in refused]
    said: dict[int, Forecast | NotEnoughData] = {**refused, **dict(zip(known, together.at(known), strict=True))}
    return [said[place] for place in range(len(questions))]


@dataclass(frozen=True, slots=True, eq=False)
class _CustomAnswers:
    """Forecasts of custom jobs of one kind."""

    questions: Sequence[Question]
    found: CustomForecasts
    version: str

    def figures(self) -> Figures:
        """All of them as columns."""
        found, count = self.found, len(self.questions)
        return Figures(
            startup_s=np.full(count, CUSTOM_STARTUP_S),
            runtime_p10_s=found.runtime_s[:, 0],
            runtime_p50_s=found.runtime_s[:, 1],
            runtime_p90_s=found.runtime_s[:, 2],
            vram_p50_gib=found.peak_vram_gib[:, 0],
            vram_p95_gib=found.peak_vram_gib[:, 1],
            fit_probability=found.fit_probability,
            usable_vram_gib=np.array([question.gpu.usable_gib or 0.0 for question in self.questions]),
            weights_gib=np.full(count, np.nan),
            in_domain=found.in_domain,
            learned=np.zeros(count, dtype=bool),
        )

    def forecasts(self, rows: Rows) -> list[Forecast]:
        """The value objects of some rows."""
        found = self.found
        questions = [self.questions[place] for place in rows.tolist()]
        p10, p50, p90 = found.runtime_s[rows].T.tolist()
        middle, p95 = found.peak_vram_gib[rows].T.tolist()
        return _make_forecasts(
            gpu_type=[question.gpu.name for question in questions],
            layout=[question.layout for question in questions],
            peak_vram=_unless_nan(_make_vrams(p50_gib=middle, p95_gib=p95), middle),
            usable_vram_gib=[question.gpu.usable_gib for question in questions],
            fit_probability=_unless_nan(fits := found.fit_probability[rows].tolist(), fits),
            vram_breakdown=repeat(None),
            tokens_per_second=repeat(None),
            step_time_s=repeat(None),
            runtime_s=_unless_nan(_make_spreads(p10=p10, p50=p50, p90=p90), p50),
            startup_s=repeat(CUSTOM_STARTUP_S),
            max_batch_size=repeat(None),
            basis=repeat(found.basis),
            in_domain=found.in_domain[rows].tolist(),
            assumptions=[(*question.workload.assumptions, *found.assumptions) for question in questions],
            model_version=repeat(self.version),
            details=repeat(_NO_DETAILS),
            explanation=repeat(None),
        )


_NO_DETAILS = Cells({}, 0)


def _unless_nan(values: Iterable[T], numbers: Iterable[float]) -> list[T | None]:
    return [None if number != number else value for value, number in zip(values, numbers, strict=True)]  # noqa: PLR0124


def kind_of(question: Question) -> str:
    """The kind of a custom job."""
    if not isinstance(question.workload, CustomWorkload):
        raise TypeError(f"{type(question.workload).__name__} has no kind")
    return question.workload.kind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answers:
    """Forecasts of questions of one kind, as arrays."""

    questions: Sequence[Question]
    figures: Figures
    parts: Mapping[str, Floats]
    """Of the memory breakdown."""
    rates: Quantiles
    step_times: Quantiles | None
    batch: Floats
    says_batch: bool
    details: Mapping[str, Floats]
    memory_seen: Flags
    version: str

    def forecasts(self, rows: Rows) -> list[Forecast]:
        """The value objects of some rows."""
        f = self.figures
        questions = [self.questions[place] for place in rows.tolist()]
        batch = self.batch[rows].tolist()
        return _make_forecasts(
            gpu_type=[question.gpu.name for question in questions],
            layout=[question.layout for question in questions],
            peak_vram=_make_vrams(p50_gib=f.vram_p50_gib[rows].tolist(), p95_gib=f.vram_p95_gib[rows].tolist()),
            usable_vram_gib=[question.gpu.usable_gib for question in questions],
            fit_probability=f.fit_probability[rows].tolist(),
            vram_breakdown=_make_breakdowns(**{name: part[rows].tolist() for name, part in self.parts.items()}),
            tokens_per_second=_spreads(self.rates, rows),
            step_time_s=_spreads(self.step_times, rows),
            runtime_s=_spreads((f.runtime_p10_s, f.runtime_p50_s, f.runtime_p90_s), rows),
            startup_s=f.startup_s[rows].tolist(),
            max_batch_size=map(int, batch) if self.says_batch else repeat(None),
            basis=[_BASES[learned] for learned in f.learned[rows].tolist()],
            in_domain=f.in_domain[rows].tolist(),
            assumptions=map(_assumptions, questions, batch, self.memory_seen[rows].tolist()),
            model_version=repeat(self.version),
            details=[Cells(self.details, row) for row in rows.tolist()],
            explanation=repeat(None),
        )


_make_forecasts, _make_vrams, _make_breakdowns = maker(Forecast), maker(Vram), maker(Breakdown)
_make_spreads = maker(Spread)

_BASES = {True: Basis.LEARNED, False: Basis.ARITHMETIC}

UNSEEN_MEMORY = "peak_vram_gib: arithmetic with its margin, no memory of such a job was measured"


def _assumptions(question: Question, batch: float, memory_seen: bool) -> tuple[str, ...]:
    unseen = () if memory_seen else (UNSEEN_MEMORY,)
    return (*question.workload.assumptions, *arithmetic_assumptions(question, batch), *unseen)


def _figures(a: TrainingArithmetic | InferenceArithmetic, outlook: Outlook, run: Quantiles, startup: Floats) -> Figures:
    return Figures(
        startup_s=startup,
        runtime_p10_s=run[0],
        runtime_p50_s=run[1],
        runtime_p90_s=run[2],
        vram_p50_gib=np.exp(outlook.memory.p50),
        vram_p95_gib=np.exp(outlook.memory.p95),
        fit_probability=outlook.fit,
        usable_vram_gib=a.columns.gpu.usable_gib,
        weights_gib=a.footprint.weights,
        in_domain=outlook.in_domain,
        learned=outlook.learned,
    )


def _parts(footprint: Footprint) -> Mapping[str, Floats]:
    return {field.name: getattr(footprint, field.name) for field in fields(Breakdown)}


def _parts_of(phase: str, time: PassTime) -> Mapping[str, Floats]:
    """What a phase of serving waits for, each part by the name of the phase and its own."""
    return {f"{phase}_{field.name}": getattr(time, field.name) for field in fields(PassTime)}


def _spreads(quantiles: Quantiles | None, rows: Rows) -> Iterable[Spread | None]:
    """None where there is no such quantity: a job that only reads prompts generates no tokens."""
    if quantiles is None:
        return repeat(None)
    p10, p50, p90 = (quantile[rows].tolist() for quantile in quantiles)
    return [spread if spread.p50 > 0.0 else None for spread in _make_spreads(p10=p10, p50=p50, p90=p90)]
