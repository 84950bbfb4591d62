"""What attempts printed, in chunks; a chunk that is collected twice is stored once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from scheduler.domain.attempt import LogChunk
from scheduler.storage.engine import Session
from scheduler.storage.rows import columns
from scheduler.storage.tables import Attempt, AttemptLog
from scheduler.storage.views import LogView


def append(session: Session, tenant_id: UUID, attempt_id: UUID, chunks: Sequence[LogChunk], now: datetime) -> None:
    """Keep new chunks. PostgreSQL text holds no NUL, so one is shown as the replacement character."""
    rows = [
        {
            "tenant_id": tenant_id, "attempt_id": attempt_id, "stream": chunk.stream, "offset": chunk.offset,
            "size": chunk.size, "text": chunk.text.replace("\0", "\N{REPLACEMENT CHARACTER}"), "collected_at": now,
        }
        for chunk in chunks
        if chunk.text
    ]  # fmt: skip
    if rows:
        session.execute(
            insert(AttemptLog).on_conflict_do_nothing(index_elements=["attempt_id", "stream", "offset"]), rows
        )


def collected_bytes(session: Session, attempt_id: UUID) -> dict[str, int]:
    """Bytes already kept of each stream: where the next collection begins."""
    end = func.max(AttemptLog.offset + AttemptLog.size)
    rows = session.execute(
        select(AttemptLog.stream, end).where(AttemptLog.attempt_id == attempt_id).group_by(AttemptLog.stream)
    )
    return {stream: int(offset) for stream, offset in rows}


def of_job(session: Session, tenant_id: UUID, job_id: UUID, *, after: int = 0, limit: int = 500) -> list[LogView]:
    """What a job printed over all its attempts, in the order of collection, after a chunk's id."""
    rows = session.execute(
        select(*columns(AttemptLog, LogView))
        .join(Attempt, Attempt.id == AttemptLog.attempt_id)
        .where(AttemptLog.tenant_id == tenant_id, Attempt.job_id == job_id, AttemptLog.id > after)
        .order_by(AttemptLog.id)
        .limit(limit)
    )
    return [LogView(**row) for row in rows.mappings()]
