"""Work out why forecasts say what they say: the arithmetic in parts, each layer of learning, and the nearest jobs.

The arithmetic and the learned layers are gone through once more for all questions together, so that a forecast nobody
asks about keeps nothing for the occasion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from predictor.arithmetic import InferenceArithmetic, TrainingArithmetic, inference_arithmetic, training_arithmetic
from predictor.custom.encoding import learn_encoding
from predictor.custom.history import REMEMBERED, heeds
from predictor.custom.kinds import KindModel
from predictor.errors import NotEnoughData
from predictor.explained.explanation import (
    CustomExplanation,
    Explanation,
    Learned,
    MemoryExplained,
    Neighbour,
    Phase,
    TimeExplained,
)
from predictor.explained.learning import account
from predictor.explained.past import nearest_past
from predictor.features import Task
from predictor.footprint.parts import Footprint
from predictor.forecast import Breakdown, Forecast, Question
from predictor.gather import Floats
from predictor.learned.correction import Correction
from predictor.site.residual import Site
from predictor.telemetry import Observation
from predictor.workload import CustomWorkload, InferenceWorkload, TrainingWorkload

Answer = Forecast | NotEnoughData

_WAITS_FOR = {
    "compute": "compute_s",
    "bandwidth": "memory_s",
    "communication": "communication_s",
    "overhead": "overhead_s",
    "pipeline_bubble": "bubble_s",
}
"""Parts of a time as people name them; only a training has a bubble of its own."""

_ROUNDING = 1e-6


def explain_answers(
    questions: Sequence[Question],
    answers: Sequence[Answer],
    history: Sequence[Observation],
    *,
    corrections: Mapping[Task, Correction],
    sites: Mapping[Task, Site],
    kinds: Mapping[str, KindModel],
) -> list[Answer]:
    """The answers with explanations; a refusal explains itself."""

    def learned(task: Task, arithmetic: TrainingArithmetic | InferenceArithmetic) -> list[_Accounted]:
        return account(task, arithmetic, corrections.get(task), sites.get(task))

    explained = list(answers)
    for kind, explain in _EXPLAINERS.items():
        places = [
            place
            for place, (question, answer) in enumerate(zip(questions, answers, strict=True))
            if isinstance(question.workload, kind) and isinstance(answer, Forecast)
        ]
        if places:
            said = explain([questions[place] for place in places], [answers[place] for place in places], learned)
            explained = _with(explained, dict(zip(places, said, strict=True)))
    custom = {
        place: _custom(question, question.workload, history, kinds)
        for place, question in enumerate(questions)
        if isinstance(question.workload, CustomWorkload)
    }
    return _with(explained, custom)


_Accounted = tuple[Learned, tuple[Neighbour, ...]]
_Ask = Callable[[Task, TrainingArithmetic | InferenceArithmetic], list[_Accounted]]


def _with(answers: list[Answer], said: Mapping[int, Explanation | CustomExplanation]) -> list[Answer]:
    return [
        replace(answer, explanation=said[place]) if place in said and isinstance(answer, Forecast) else answer
        for place, answer in enumerate(answers)
    ]


def _training(questions: list[Question], forecasts: Sequence[Any], learned: _Ask) -> list[Explanation]:
    a = training_arithmetic(questions)
    memory, time = learned(Task.TRAINING_MEMORY, a), learned(Task.TRAINING_TIME, a)
    phases = _phases(a.time, len(questions))
    return [
        Explanation(
            memory=_memory(a.footprint, row, forecast, memory[row]),
            time=_time("step", forecast.step_time_s, phases[row], {}, time[row]),
        )
        for row, forecast in enumerate(forecasts)
    ]


def _inference(questions: list[Question], forecasts: Sequence[Any], learned: _Ask) -> list[Explanation]:
    a = inference_arithmetic(questions)
    memory, time = learned(Task.INFERENCE_MEMORY, a), learned(Task.INFERENCE_TIME, a)
    whole, prefill, decode = (_phases(part, len(questions)) for part in (a.time, a.time.prefill, a.time.decode))
    return [
        Explanation(
            memory=_memory(a.footprint, row, forecast, memory[row]),
            time=_time(
                "job", forecast.runtime_s, whole[row], {"prefill": prefill[row], "decode": decode[row]}, time[row]
            ),
        )
        for row, forecast in enumerate(forecasts)
    ]


_EXPLAINERS: Mapping[type, Callable[[list[Question], Sequence[Any], _Ask], list[Explanation]]] = {
    TrainingWorkload: _training,
    InferenceWorkload: _inference,
}


def _memory(footprint: Footprint, row: int, forecast: Forecast, accounted: _Accounted) -> MemoryExplained:
    learned, nearest = accounted
    peak = forecast.peak_vram
    if peak is None:
        raise TypeError("a training or inference forecast has a peak")
    parts = {name: float(getattr(footprint, name)[row]) for name in Breakdown.__dataclass_fields__}
    return MemoryExplained(
        parts_gib=parts,
        need_gib=float(footprint.need_gib[row]),
        p50_gib=peak.p50_gib,
        p95_gib=peak.p95_gib,
        limited_by_card=not math.isclose(peak.p50_gib, sum(parts.values()) * learned.factor, rel_tol=_ROUNDING),
        learned=learned,
        nearest=nearest,
    )


def _time(of: str, forecast: Any, whole: Phase, phases: Mapping[str, Phase], accounted: _Accounted) -> TimeExplained:
    learned, nearest = accounted
    return TimeExplained(
        of=of,
        whole=whole,
        phases=phases,
        p10_s=forecast.p10,
        p50_s=forecast.p50,
        p90_s=forecast.p90,
        learned=learned,
        nearest=nearest,
    )


def _phases(time: object, count: int) -> list[Phase]:
    """One phase per row of anything that has seconds by what they wait for."""
    columns: dict[str, Floats] = {
        part: np.broadcast_to(getattr(time, name), (count,)) for part, name in _WAITS_FOR.items() if hasattr(time, name)
    }
    return [
        Phase(parts_s=dict(zip(columns, cells, strict=True)))
        for cells in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]


def _custom(
    question: Question, workload: CustomWorkload, history: Sequence[Observation], kinds: Mapping[str, KindModel]
) -> CustomExplanation:
    past = [
        seen
        for seen in history
        if isinstance(seen.question.workload, CustomWorkload) and seen.question.workload.kind == workload.kind
    ][-REMEMBERED:]
    model = kinds.get(workload.kind)
    heeded = model if heeds(question, model)[0] else None
    encoding = heeded.encoding if heeded else learn_encoding([seen.question for seen in past] or [question])
    return CustomExplanation(
        kind=workload.kind,
        stated_runtime_s=workload.runtime_s,
        stated_vram_gib=workload.vram_gib,
        past_jobs=len(past),
        trained_on=heeded.rows if heeded else 0,
        nearest=nearest_past(question, past, encoding),
    )
