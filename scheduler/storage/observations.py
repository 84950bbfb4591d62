"""What was measured, here or elsewhere, in its import form. The table refuses simulated rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from scheduler.storage.engine import Session
from scheduler.storage.ids import new_id
from scheduler.storage.rows import columns
from scheduler.storage.tables import Observation
from scheduler.storage.views import ObservationView

_COLUMNS = columns(Observation, ObservationView)


def kind_of(workload: Mapping[str, Any]) -> str:
    """What an observation is looked up by: the custom kind, or the workload's type."""
    return str(workload.get("kind") or workload.get("type"))


def add(session: Session, *, tenant_id: UUID, body: Mapping[str, Any], attempt_id: UUID | None, now: datetime) -> bool:
    """Store one observation; False where its source has given it before."""
    stored = session.execute(
        insert(Observation)
        .values(
            id=new_id(), tenant_id=tenant_id, attempt_id=attempt_id, source=body["source"], source_id=body["id"],
            kind=kind_of(body["workload"]), body=dict(body), simulated=bool(body["simulated"]), observed_at=now,
        )
        .on_conflict_do_nothing(index_elements=["tenant_id", "source", "source_id"])
        .returning(Observation.id)
    )  # fmt: skip
    return stored.one_or_none() is not None


def recent_of_kind(session: Session, tenant_id: UUID, kind: str, *, limit: int) -> list[Mapping[str, Any]]:
    """The last observations of a kind, oldest first: what a custom job is forecast from."""
    newest = (
        select(Observation.id, Observation.body)
        .where(Observation.tenant_id == tenant_id, Observation.kind == kind)
        .order_by(Observation.id.desc())
        .limit(limit)
    )
    return [body for _, body in reversed(session.execute(newest).all())]


def page(
    session: Session, tenant_id: UUID, *, kind: str | None = None, before: UUID | None = None, limit: int = 50
) -> list[ObservationView]:
    """Observations of a tenant, newest first, older than `before`."""
    query = select(*_COLUMNS).where(Observation.tenant_id == tenant_id).order_by(Observation.id.desc()).limit(limit)
    if kind is not None:
        query = query.where(Observation.kind == kind)
    if before is not None:
        query = query.where(Observation.id < before)
    return [ObservationView(**row) for row in session.execute(query).mappings()]


@dataclass(frozen=True, slots=True)
class Measured:
    """An observation and where it came from; ids rise with time."""

    id: UUID
    tenant_id: UUID
    source: str
    observed_at: datetime
    body: Mapping[str, Any]


def every(session: Session) -> Iterator[Measured]:
    """All observations, oldest first, streamed: there may be many."""
    query = (
        select(Observation.id, Observation.tenant_id, Observation.source, Observation.observed_at, Observation.body)
        .order_by(Observation.id)
        .execution_options(yield_per=1000)
    )
    for row in session.execute(query):
        yield Measured(*row)


def count(session: Session, tenant_id: UUID) -> int:
    """How many observations a tenant has."""
    return session.execute(
        select(func.count()).select_from(Observation).where(Observation.tenant_id == tenant_id)
    ).scalar_one()
