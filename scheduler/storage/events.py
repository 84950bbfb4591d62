"""What happened to a job, in the order it happened."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select

from scheduler.storage.base import core
from scheduler.storage.engine import Session
from scheduler.storage.rows import columns
from scheduler.storage.tables import Event
from scheduler.storage.views import EventView

_ADD = insert(core(Event))


def add(
    session: Session,
    *,
    tenant_id: UUID,
    job_id: UUID,
    kind: str,
    now: datetime,
    attempt_id: UUID | None = None,
    from_state: str | None = None,
    to_state: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write an event in the transaction that made it so."""
    session.execute(
        _ADD,
        {"tenant_id": tenant_id, "job_id": job_id, "attempt_id": attempt_id, "kind": kind,
         "from_state": from_state, "to_state": to_state, "data": dict(data or {}), "at": now},
    )  # fmt: skip


def of_job(session: Session, tenant_id: UUID, job_id: UUID, *, after: int = 0, limit: int = 1000) -> list[EventView]:
    """The events of a job, oldest first, after an event's id."""
    rows = session.execute(
        select(*columns(Event, EventView))
        .where(Event.tenant_id == tenant_id, Event.job_id == job_id, Event.id > after)
        .order_by(Event.id)
        .limit(limit)
    )
    return [EventView(**row) for row in rows.mappings()]
