"""Lines in, lines out: questions as JSON objects, answered in their order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from predictor.errors import InvalidWorkload, PythiaError
from predictor.forecast import Forecast, Question
from predictor.hardware import GpuCatalogue
from predictor.layout import parse_layout
from predictor.layouts import check_layout
from predictor.model import Predictor
from predictor.splits import best_split
from predictor.words import VramMetric
from predictor.workloads.spec import ModelSource, first_sentence, parse_workload


class LineSpec(BaseModel):
    """One question as people write it; what an observation carries beside it is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str | int | float | None = None
    workload: dict[str, Any]
    gpu_type: str
    layout: dict[str, Any] = Field(default_factory=dict)
    software: dict[str, Any] | None = None
    vram_metric: VramMetric = VramMetric.DRIVER
    node_gpus: int = Field(default=8, ge=1, le=1024)
    interconnect_gbps: float | None = Field(default=None, gt=0, le=1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What questions may name."""

    models: ModelSource
    gpus: GpuCatalogue


def answer_lines(
    lines: Iterable[str], predictor: Predictor, facts: Facts, *, explain: bool = False
) -> list[dict[str, object]]:
    """One object per line that is not blank: the forecast with the line's id, or `{"id", "error"}`.

    `explain` adds to each forecast why it says what it says.
    """
    return answer_objects([_parse(line) for line in lines if line.strip()], predictor, facts, explain=explain)


def answer_objects(
    raw: Sequence[object], predictor: Predictor, facts: Facts, *, explain: bool = False
) -> list[dict[str, object]]:
    """The same for objects already parsed; an exception in place of an object stands for a line that is no JSON."""
    read = [_question(item, facts) for item in raw]
    asked = [question for question in read if isinstance(question, Question)]
    answer = predictor.explain if explain else predictor.answer
    answers = iter(answer(asked) if asked else [])
    results: list[dict[str, object]] = []
    for item, question in zip(raw, read, strict=True):
        found = next(answers) if isinstance(question, Question) else question
        said = item.get("id") if isinstance(item, Mapping) else None
        body = found.to_json() if isinstance(found, Forecast) else {"error": str(found)}
        results.append({"id": said} | body)
    return results


def read_question(raw: object, facts: Facts) -> Question:
    """The question of one object; a PythiaError with one sentence where it cannot be read."""
    if isinstance(raw, PythiaError):
        raise raw
    if not isinstance(raw, Mapping):
        raise InvalidWorkload("a line is an object with id, workload, gpu_type and layout")
    try:
        spec = LineSpec.model_validate(raw)
    except ValidationError as error:
        raise InvalidWorkload(first_sentence(error, "line")) from None
    gpu = facts.gpus.get(spec.gpu_type)
    workload = parse_workload(spec.workload, facts.models, spec.software)
    layout = parse_layout(spec.layout)
    if isinstance(layout, int):
        layout = best_split(workload, gpu, layout, node_gpus=spec.node_gpus)
    else:
        check_layout(workload, layout)
    return Question(
        workload=workload,
        gpu=gpu,
        layout=layout,
        node_gpus=spec.node_gpus,
        interconnect_gbps=spec.interconnect_gbps,
        vram_metric=spec.vram_metric,
    )


def _question(raw: object, facts: Facts) -> Question | PythiaError:
    try:
        return read_question(raw, facts)
    except PythiaError as error:
        return error


def _parse(line: str) -> object:
    try:
        return json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return InvalidWorkload(f"the line is not JSON ({error})")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
