"""Turn arrays into forecasts, one value object per question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from predictor.arithmetic import InferenceArithmetic, TrainingArithmetic
from predictor.custom.history import forecast_kind
from predictor.custom.kinds import KindModel
from predictor.errors import NotEnoughData
from predictor.footprint.parts import Footprint
from predictor.forecast import Breakdown, Forecast, Question, Spread, Vram
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


def training_forecasts(
    questions: Sequence[Question], a: TrainingArithmetic, outlook: Outlook, version: str
) -> list[Forecast]:
    """Forecasts of training questions."""
    steps, tokens = a.columns.steps, a.columns.tokens_per_step
    low, middle, high = (np.exp(band) for band in (outlook.time.p10, outlook.time.p50, outlook.time.p90))
    time = a.time
    return _forecasts(
        questions,
        outlook,
        a.footprint,
        step_times=_spreads(low, middle, high),
        runtimes=_spreads(low * steps, middle * steps, high * steps),
        rates=_spreads(tokens / high, tokens / middle, tokens / low),
        startup=training_startup_s(a.columns),
        batches=[None] * len(questions),
        notes=_notes(questions, a.footprint.batch, outlook.memory_seen),
        details=_details(
            step_time_s=time.step_time_s,
            compute_s=time.compute_s,
            memory_s=time.memory_s,
            communication_s=time.communication_s,
            overhead_s=time.overhead_s,
        ),
        version=version,
    )


def inference_forecasts(
    questions: Sequence[Question], a: InferenceArithmetic, outlook: Outlook, version: str
) -> list[Forecast]:
    """Forecasts of inference questions."""
    tokens = a.columns.requests * a.columns.output
    low, middle, high = (np.exp(band) for band in (outlook.time.p10, outlook.time.p50, outlook.time.p90))
    rates = _spreads(tokens / high, tokens / middle, tokens / low)
    time = a.time
    batches = [int(batch) for batch in a.batch.tolist()]
    return _forecasts(
        questions,
        outlook,
        a.footprint,
        step_times=[None] * len(questions),
        runtimes=_spreads(low, middle, high),
        rates=[rate if rate.p50 > 0 else None for rate in rates],  # a job that only reads prompts generates nothing
        startup=inference_startup_s(a.columns),
        batches=batches,
        notes=_notes(questions, a.footprint.batch, outlook.memory_seen),
        details=_details(
            runtime_s=time.runtime_s,
            prefill_s=time.prefill_s,
            decode_s=time.decode_s,
            compute_s=time.compute_s,
            memory_s=time.memory_s,
            communication_s=time.communication_s,
            overhead_s=time.overhead_s,
        ),
        version=version,
    )


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


def _forecasts(
    questions: Sequence[Question],
    outlook: Outlook,
    footprint: Footprint,
    *,
    step_times: Sequence[Spread | None],
    runtimes: Sequence[Spread | None],
    rates: Sequence[Spread | None],
    startup: Floats,
    batches: Sequence[int | None],
    notes: Sequence[tuple[str, ...]],
    details: Sequence[Mapping[str, float]],
    version: str,
) -> list[Forecast]:
    p50, p95 = np.exp(outlook.memory.p50).tolist(), np.exp(outlook.memory.p95).tolist()
    fit = outlook.fit.tolist()
    learned, in_domain = outlook.learned.tolist(), outlook.in_domain.tolist()
    starts = startup.tolist()
    parts = zip(*(getattr(footprint, name).tolist() for name in _PARTS), strict=True)
    return [
        Forecast(
            gpu_type=question.gpu.name,
            layout=question.layout,
            peak_vram=Vram(p50_gib=p50[row], p95_gib=p95[row]),
            usable_vram_gib=question.gpu.usable_gib,
            fit_probability=fit[row],
            vram_breakdown=Breakdown(
                weights=part[0],
                gradients=part[1],
                optimizer=part[2],
                activations=part[3],
                kv_cache=part[4],
                overhead=part[5],
            ),
            tokens_per_second=rates[row],
            step_time_s=step_times[row],
            runtime_s=runtimes[row],
            startup_s=starts[row],
            max_batch_size=batches[row],
            basis=Basis.LEARNED if learned[row] else Basis.ARITHMETIC,
            in_domain=in_domain[row],
            assumptions=notes[row],
            model_version=version,
            details=details[row],
        )
        for row, (question, part) in enumerate(zip(questions, parts, strict=True))
    ]


_PARTS = ("weights", "gradients", "optimizer", "activations", "kv_cache", "overhead")


def _spreads(low: Floats, middle: Floats, high: Floats) -> list[Spread]:
    return [
        Spread(p10=p10, p50=p50, p90=p90)
        for p10, p50, p90 in zip(low.tolist(), middle.tolist(), high.tolist(), strict=True)
    ]


def _details(**columns: Floats) -> list[Mapping[str, float]]:
    names = tuple(columns)
    return [
        dict(zip(names, cells, strict=True))
        for cells in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]


UNSEEN_MEMORY = "peak_vram_gib: arithmetic with its margin, no memory of such a job was measured"


def _notes(questions: Sequence[Question], batch: Floats, memory_seen: Flags) -> list[tuple[str, ...]]:
    return [
        (
            *question.workload.assumptions,
            *arithmetic_assumptions(question, size),
            *(() if seen else (UNSEEN_MEMORY,)),
        )
        for question, size, seen in zip(questions, batch.tolist(), memory_seen.tolist(), strict=True)
    ]
