"""What attempts printed, in chunks; a chunk that is collected twice is stored once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text
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


def collected_bytes_of(session: Session, attempt_ids: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    """The same for many attempts; those of which nothing is kept are left out."""
    end = func.max(AttemptLog.offset + AttemptLog.size)
    rows = session.execute(
        select(AttemptLog.attempt_id, AttemptLog.stream, end)
        .where(AttemptLog.attempt_id.in_(attempt_ids))
        .group_by(AttemptLog.attempt_id, AttemptLog.stream)
    )
    found: dict[UUID, dict[str, int]] = {}
    for attempt_id, stream, offset in rows:
        found.setdefault(attempt_id, {})[stream] = int(offset)
    return found


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


_LAST = text("""
SELECT j.id, j.state, (
  SELECT max(last.id) FROM attempts a CROSS JOIN LATERAL (
    SELECT l.id FROM attempt_logs l WHERE l.attempt_id = a.id ORDER BY l.id DESC LIMIT 1
  ) last WHERE a.job_id = j.id
)
FROM jobs j WHERE j.id = ANY(CAST(:ids AS uuid[]))
""")


def last_of_jobs(session: Session, job_ids: Sequence[UUID]) -> list[tuple[UUID, str, int | None]]:
    """Of each job its state, and the id of the last chunk that it printed, at one moment."""
    return [(row[0], row[1], row[2]) for row in session.execute(_LAST, {"ids": list(job_ids)})]
