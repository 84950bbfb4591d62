"""Forecasts for a list of questions, the custom ones from what this installation remembers of their kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from predictor.errors import NotEnoughData, PythiaError
from predictor.forecast import Forecast, Question
from predictor.lines import Facts, read_question
from predictor.telemetry import Observation
from predictor.workload import CustomWorkload
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import REMEMBERED, readable
from scheduler.storage import observations
from scheduler.storage.engine import Engine, reading

Answer = Forecast | PythiaError


def predict(
    engine: Engine, knowledge: Knowledge, items: Sequence[Any], *, tenant_id: UUID, explain: bool = False
) -> list[Answer]:
    """One answer for each item, in order: a forecast, or why there is none for that item alone.

    `explain` asks of every forecast why it says what it says; an item may ask it of its own.
    """
    facts = Facts(models=knowledge.models, gpus=knowledge.gpus)
    answers: dict[int, Answer] = {}
    asked: dict[tuple[str | None, bool], list[tuple[int, Question]]] = defaultdict(list)
    for place, item in enumerate(items):
        try:
            question = read_question(item, facts)
        except PythiaError as error:
            answers[place] = error
            continue
        kind = question.workload.kind if isinstance(question.workload, CustomWorkload) else None
        asked[kind, explain or item.get("explain") is True].append((place, question))
    for (kind, why), questions in asked.items():
        history = [] if kind is None else readable(_past(engine, tenant_id, kind), knowledge)
        answers |= (_explained if why else _forecast)(knowledge, questions, history)
    return [answers[place] for place in range(len(items))]


def _past(engine: Engine, tenant_id: UUID, kind: str) -> list[Mapping[str, Any]]:
    with reading(engine) as session:
        return observations.recent_of_kind(session, tenant_id, kind, limit=REMEMBERED)


def _explained(
    knowledge: Knowledge, questions: Sequence[tuple[int, Question]], history: Sequence[Observation]
) -> dict[int, Answer]:
    made = knowledge.predictor.explain([question for _, question in questions], history or None)
    return {place: answer for (place, _), answer in zip(questions, made, strict=True)}


def _forecast(
    knowledge: Knowledge, questions: Sequence[tuple[int, Question]], history: Sequence[Observation]
) -> dict[int, Answer]:
    """All in one call; where nothing is known of one of them, each by itself, so that the others are answered."""
    try:
        made = knowledge.predictor.forecast([question for _, question in questions], history or None)
    except NotEnoughData as error:
        if len(questions) == 1:
            return {questions[0][0]: error}
        apart = (_forecast(knowledge, [one], history) for one in questions)
        return {place: answer for answered in apart for place, answer in answered.items()}
    return {place: forecast for (place, _), forecast in zip(questions, made, strict=True)}
