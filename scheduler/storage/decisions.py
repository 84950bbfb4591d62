"""Decisions with their candidates, as they stood when they were made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import JSON, Text, Uuid, bindparam, cast, column, func, insert, select
from sqlalchemy.dialects import postgresql

from scheduler.domain.states import DecisionKind
from scheduler.storage.engine import Session
from scheduler.storage.ids import new_id
from scheduler.storage.rows import columns
from scheduler.storage.tables import Candidate, Decision
from scheduler.storage.views import CandidateView, DecisionView

_NAMES = tuple(field.name for field in fields(DecisionView) if field.name != "candidates")
_CANDIDATE_NAMES = tuple(field.name for field in fields(CandidateView))

_ADD = insert(Decision.__table__)  # type: ignore[arg-type]
_FROM_JSON = ("id", *_CANDIDATE_NAMES)
_CANDIDATE: Any = Candidate.__table__
_POSTGRESQL: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
CANDIDATE_TYPES = ", ".join(
    f"{name} {_CANDIDATE.c[name].type.compile(_POSTGRESQL)}" for name in ("decision_id", *_FROM_JSON)
)
"""The columns that candidates have as one document."""
CANDIDATE_NAMES = _FROM_JSON
_ROWS = (
    func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
    .table_valued(*(column(name, _CANDIDATE.c[name].type) for name in _FROM_JSON))
    .render_derived(with_types=True)
)
# a decision has a hundred candidates: as one document they are one message and one plan, not a hundred of each
_ADD_CANDIDATES = insert(_CANDIDATE).from_select(
    ["tenant_id", "decision_id", *_FROM_JSON],
    select(
        bindparam("own_tenant_id", type_=Uuid()),
        bindparam("own_decision_id", type_=Uuid()),
        *(_ROWS.c[name] for name in _FROM_JSON),
    ),
)


def add(session: Session, decision: DecisionView, *, tenant_id: UUID) -> None:
    """Store a decision of a job; its id, job and number are set."""
    values = {name: getattr(decision, name) for name in _NAMES}
    session.execute(_ADD, {"tenant_id": tenant_id, **values})
    rows = candidate_rows(decision)
    if rows:
        own = {"own_tenant_id": tenant_id, "own_decision_id": decision.id}
        session.execute(_ADD_CANDIDATES, {"rows": to_json(rows).decode(), **own})


def candidate_rows(decision: DecisionView) -> list[dict[str, Any]]:
    """The candidates of a decision as rows, each under an id of its own."""
    return [
        {"decision_id": decision.id, "id": new_id()} | {name: getattr(one, name) for name in _CANDIDATE_NAMES}
        for one in decision.candidates
    ]


def latest_kind(session: Session, job_id: UUID) -> tuple[int, DecisionKind | None]:
    """The number and kind of a job's last decision; 0 and None before the first."""
    query = select(Decision.number, Decision.kind).where(Decision.job_id == job_id).order_by(Decision.number.desc())
    row = session.execute(query.limit(1)).one_or_none()
    return (0, None) if row is None else (row.number, DecisionKind(row.kind))


def of_job(session: Session, tenant_id: UUID, job_id: UUID) -> list[DecisionView]:
    """Every decision on a job, first to last, candidates in the order of rank."""
    made = (
        session.execute(
            select(*columns(Decision, DecisionView, without=("candidates",)), Decision.candidates_of)
            .where(Decision.tenant_id == tenant_id, Decision.job_id == job_id)
            .order_by(Decision.number)
        )
        .mappings()
        .all()
    )
    whose = {row["id"]: row["candidates_of"] or row["id"] for row in made}
    listed = session.execute(
        select(Candidate.decision_id, *columns(Candidate, CandidateView))
        .where(Candidate.tenant_id == tenant_id, Candidate.decision_id.in_(set(whose.values())))
        .order_by(Candidate.decision_id, Candidate.rank)
    ).mappings()
    by_decision: dict[UUID, list[CandidateView]] = defaultdict(list)
    for row in listed:
        candidate = dict(row)
        by_decision[candidate.pop("decision_id")].append(CandidateView(**candidate))
    return [_view(row, by_decision[whose[row["id"]]]) for row in made]


def _view(row: Mapping[Any, Any], candidates: list[CandidateView]) -> DecisionView:
    values = {name: row[name] for name in _NAMES}
    return DecisionView(**{**values, "kind": DecisionKind(row["kind"])}, candidates=tuple(candidates))
