"""Decisions with their candidates, as they stood when they were made.

The candidates of a decision are one JSON document, just as they are sent: a hundred rows with two indexes and two
foreign keys each cost five times as much of the database as all the rest of a submission. The view `candidates` shows
them as rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Text, bindparam, cast, insert, select
from sqlalchemy.orm import aliased

from scheduler.domain.money import exact_usd
from scheduler.domain.states import DecisionKind
from scheduler.storage.engine import Session
from scheduler.storage.rows import columns
from scheduler.storage.tables import CandidateRow, Decision
from scheduler.storage.views import CandidateView, DecisionView, Listed

_NAMES = tuple(field.name for field in fields(DecisionView) if field.name != "candidates")
_ADD = insert(Decision).values(candidates=cast(bindparam("listed", type_=Text), JSON))


def add(session: Session, decision: DecisionView, *, tenant_id: UUID) -> None:
    """Store a decision of a job; its id, job and number are set."""
    values = {name: getattr(decision, name) for name in _NAMES}
    session.execute(_ADD, {"tenant_id": tenant_id, "listed": decision.candidates.json, **values})


def latest_kind(session: Session, job_id: UUID) -> tuple[int, DecisionKind | None]:
    """The number and kind of a job's last decision; 0 and None before the first."""
    query = select(Decision.number, Decision.kind).where(Decision.job_id == job_id).order_by(Decision.number.desc())
    row = session.execute(query.limit(1)).one_or_none()
    return (0, None) if row is None else (row.number, DecisionKind(row.kind))


def of_job(session: Session, tenant_id: UUID, job_id: UUID) -> list[DecisionView]:
    """Every decision on a job, first to last, candidates in the order of rank."""
    earlier = aliased(Decision)
    made = session.execute(
        select(
            *columns(Decision, DecisionView), Decision.candidates_of, earlier.candidates.label("shared")
        )
        .outerjoin(earlier, (earlier.id == Decision.candidates_of) & (earlier.tenant_id == tenant_id))
        .where(Decision.tenant_id == tenant_id, Decision.job_id == job_id)
        .order_by(Decision.number)
    ).mappings()  # fmt: skip
    return [_view(session, tenant_id, row) for row in made.all()]


def _view(session: Session, tenant_id: UUID, row: Mapping[Any, Any]) -> DecisionView:
    values = {name: row[name] for name in _NAMES}
    whose, document = row["candidates_of"], row["candidates"]
    if whose is not None:
        document = row["shared"]
    listed = _from_rows(session, tenant_id, whose or row["id"]) if document is None else _from_document(document)
    return DecisionView(**{**values, "kind": DecisionKind(row["kind"])}, candidates=Listed(listed))


def _from_document(document: Iterable[Mapping[str, Any]]) -> Iterable[CandidateView]:
    return (CandidateView(**{**one, "offer_id": UUID(one["offer_id"])}) for one in document)


def _from_rows(session: Session, tenant_id: UUID, decision_id: UUID) -> Iterable[CandidateView]:
    """As decisions were stored before they were documents."""
    query = (
        select(CandidateRow)
        .where(CandidateRow.tenant_id == tenant_id, CandidateRow.decision_id == decision_id)
        .order_by(CandidateRow.rank)
    )
    for one in session.execute(query).scalars():
        figures = one.cost_p50_micros, one.cost_p90_micros, one.expected_cost_micros
        known = zip(("p50", "p90", "expected"), figures, strict=True)
        cost = {name: exact_usd(micros) for name, micros in known if micros is not None}
        yield CandidateView(
            rank=one.rank, offer_id=one.offer_id, provider=one.provider, region=one.region, country=one.country,
            gpu_type=one.gpu_type, gpu_count=one.gpu_count, layout=one.layout, spot=one.spot,
            usd_per_hour=None if one.reason == "no_price" else exact_usd(one.micros_per_gpu_hour * one.gpu_count),
            price_date=one.price_date, provision_s=one.provision_s, forecast=one.forecast,
            fit_probability=one.fit_probability, cost_usd=cost if len(cost) == len(figures) else None,
            verdict=one.verdict, reason=one.reason, reason_number=one.reason_number, reason_text=one.reason_text,
        )  # fmt: skip
