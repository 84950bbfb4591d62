"""Plan a job again with one thing changed, for every change that could save money; only plans do, never submissions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from predictor.errors import PythiaError
from predictor.forecast import Question
from predictor.forecasts import Forecasts, joined, taken
from predictor.workload import CustomWorkload, Software
from predictor.workloads.spec import resolve
from scheduler.domain.candidates import Proposals, enumerate_candidates
from scheduler.domain.decision import Decision
from scheduler.domain.foresight import foresee
from scheduler.domain.placement import find_best
from scheduler.domain.room import OPEN, Room
from scheduler.domain.spec import JobSpec, demands_of
from scheduler.domain.suggestions import Change, Suggestion, changes, within_reach, worthwhile
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import Prospect


def suggest(
    knowledge: Knowledge, spec: JobSpec, prospect: Prospect, decision: Decision, *, now: datetime, room: Room = OPEN
) -> tuple[Suggestion, ...]:
    """The few changes of the job that would save most. What is not forecast yet is forecast in one call for all."""
    kinds = within_reach(decision, spec.objective)
    tried: list[tuple[Change, Proposals]] = []
    for change in changes(spec, prospect.proposals.board.workload):
        try:
            workload = resolve(change.spec.workload, knowledge.models, Software())
            proposals = enumerate_candidates(
                change.spec.constraints, workload, prospect.proposals.inventory, knowledge.gpus,
                kinds=kinds if change.of_workload else None, demands=demands_of(change.spec),
                beside=knowledge.beside,
            )  # fmt: skip
        except PythiaError:
            continue  # the change contradicts something else that the user said
        tried.append((change, proposals))
    forecasts = _forecasts(knowledge, prospect, [proposals for _, proposals in tried])
    made = [
        (change, find_best(change.spec, proposals, foresee(proposals.board, answers), now=now, room=room))
        for (change, proposals), answers in zip(tried, forecasts, strict=True)
    ]
    return worthwhile(made, decision, now)


def _forecasts(knowledge: Knowledge, prospect: Prospect, asked: Sequence[Proposals]) -> list[Forecasts]:
    """Forecasts of all questions of each; those of the workload as it stands are known already."""
    board, known = prospect.proposals.board, prospect.forecasts.forecasts
    row_of = {_where(question): row for row, question in enumerate(board.questions)}
    rows: list[list[int | None]] = []
    for one in asked:
        of_it = row_of if one.board.workload == board.workload else {}
        rows.append([of_it.get(_where(question)) for question in one.questions])
    missing = [
        question
        for one, found in zip(asked, rows, strict=True)
        for question, row in zip(one.questions, found, strict=True)
        if row is None
    ]
    history = prospect.history if isinstance(board.workload, CustomWorkload) else ()
    made = knowledge.predictor.forecast(missing, history or None) if missing else ()
    answers: list[Forecasts] = []
    first = 0
    for found in rows:
        old = {place: row for place, row in enumerate(found) if row is not None}
        new = [place for place, row in enumerate(found) if row is None]
        parts = [([*old], taken(known, [*old.values()])), (new, taken(made, range(first, first + len(new))))]
        answers.append(joined([(places, part) for places, part in parts if places], len(found)))
        first += len(new)
    return answers


def _where(question: Question) -> object:
    """What a forecast depends on beside the workload."""
    return question.gpu.name, question.layout, question.node_gpus, question.interconnect_gbps
