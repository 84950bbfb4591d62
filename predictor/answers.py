"""Turn arrays into forecasts: their figures as columns, and a value object of each that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from predictor.arithmetic import InferenceArithmetic, TrainingArithmetic
from predictor.custom.history import forecast_kind
from predictor.custom.kinds import KindModel
from predictor.errors import NotEnoughData
from predictor.footprint.parts import Footprint
from predictor.forecast import Breakdown, Forecast, Question, Spread, Vram
from predictor.forecasts import Figures, Forecasts, Rows
from predictor.gather import Flags, Floats
from predictor.quantiles import Bands
from predictor.roofline.startup import inference_startup_s, training_startup_s
from predictor.telemetry import Observation
from predictor.words import Basis
from predictor.workload import CustomWorkload
from predictor.workloads.assumptions import arithmetic_assumptions

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
        },
        memory_seen=outlook.memory_seen,
        version=version,
    )
    return Forecasts(answers.figures, answers.forecasts)


def custom_answers(
    questions: Sequence[Question], history: Iterable[Observation], kinds: Mapping[str, KindModel], version: str
) -> list[Forecast | NotEnoughData]:
    """Forecasts of custom jobs, each kind from its own past; one of which nothing is known is refused in its place."""
    past: dict[str, list[Observation]] = {}
    for observation in history:
        if isinstance(observation.question.workload, CustomWorkload):
            past.setdefault(observation.question.workload.kind, []).append(observation)
    by_kind: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        by_kind.setdefault(kind_of(question), []).append(place)
    answers: dict[int, Forecast | NotEnoughData] = {}
    for kind, places in by_kind.items():
        asked = [questions[place] for place in places]
        for place, found in zip(places, forecast_kind(asked, past.get(kind, []), kinds.get(kind)), strict=True):
            if found.runtime_s is None and found.peak_vram is None:
                answers[place] = NotEnoughData(
                    f"nothing is known of custom jobs of kind {kind!r}: state runtime_s (and vram_gib), "
                    "or give observations of this kind"
                )
                continue
            question = questions[place]
            answers[place] = Forecast(
                gpu_type=question.gpu.name,
                layout=question.layout,
                peak_vram=found.peak_vram,
                usable_vram_gib=question.gpu.usable_gib,
                fit_probability=found.fit_probability,
                vram_breakdown=None,
                tokens_per_second=None,
                step_time_s=None,
                runtime_s=found.runtime_s,
                startup_s=CUSTOM_STARTUP_S,
                max_batch_size=None,
                basis=found.basis,
                in_domain=found.in_domain,
                assumptions=(*question.workload.assumptions, *found.assumptions),
                model_version=version,
            )
    return [answers[place] for place in range(len(questions))]


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
        p50, p95, fit, startup, batch, learned, in_domain, memory_seen = (
            column[rows].tolist()
            for column in (
                f.vram_p50_gib, f.vram_p95_gib, f.fit_probability, f.startup_s, self.batch, f.learned, f.in_domain,
                self.memory_seen,
            )
        )  # fmt: skip
        runtimes = _spreads((f.runtime_p10_s, f.runtime_p50_s, f.runtime_p90_s), rows)
        rates, step_times = _spreads(self.rates, rows), _spreads(self.step_times, rows)
        parts, details = _named(self.parts, rows), _named(self.details, rows)
        return [
            Forecast(
                gpu_type=question.gpu.name,
                layout=question.layout,
                peak_vram=Vram(p50_gib=p50[row], p95_gib=p95[row]),
                usable_vram_gib=question.gpu.usable_gib,
                fit_probability=fit[row],
                vram_breakdown=Breakdown(**parts[row]),
                tokens_per_second=rates[row],
                step_time_s=step_times[row],
                runtime_s=runtimes[row],
                startup_s=startup[row],
                max_batch_size=int(batch[row]) if self.says_batch else None,
                basis=Basis.LEARNED if learned[row] else Basis.ARITHMETIC,
                in_domain=in_domain[row],
                assumptions=_assumptions(question, batch[row], memory_seen[row]),
                model_version=self.version,
                details=details[row],
            )
            for row, question in enumerate(self.questions[place] for place in rows.tolist())
        ]


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


def _spreads(quantiles: Quantiles | None, rows: Rows) -> list[Spread | None]:
    """None where there is no such quantity: a job that only reads prompts generates no tokens."""
    if quantiles is None:
        return [None] * len(rows)
    return [
        Spread(p10=p10, p50=p50, p90=p90) if p50 > 0.0 else None
        for p10, p50, p90 in zip(*(quantile[rows].tolist() for quantile in quantiles), strict=True)
    ]


def _named(columns: Mapping[str, Floats], rows: Rows) -> list[dict[str, float]]:
    cells = zip(*(column[rows].tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in cells]
