"""Search what a tenant's jobs printed, newest first, so much of it at a time.

PostgreSQL reads the pieces and looks into each: no index finds a part of a word, but with an extension that an embedded
server does not have. A page therefore says how far it came, found or not, and is done in a fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from scheduler.storage.engine import Session

_ROW_BYTES = 500
"""What reading a piece costs beside its text, as so many bytes of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPiece:
    """A piece of output that holds what was looked for."""

    id: int
    job_id: UUID
    job: str
    attempt_id: UUID
    attempt: int
    stream: str
    offset: int
    text: str
    collected_at: datetime


# sums in the order of the index, and stops where there is enough
_FLOOR = text(f"""
SELECT id FROM (
  SELECT id, sum(size + {_ROW_BYTES}) OVER (ORDER BY id DESC ROWS UNBOUNDED PRECEDING) AS so_far
  FROM attempt_logs WHERE tenant_id = :tenant_id AND id < :before ORDER BY id DESC
) reached WHERE so_far >= :most ORDER BY id DESC LIMIT 1
""")  # noqa: S608 - a number of ours

# with the C collation `lower` knows ASCII alone, which is many times faster and the same on every server
_FIND = """
SELECT l.id, a.job_id, j.name AS job, l.attempt_id, a.number AS attempt, l.stream, l."offset", l.text, l.collected_at
FROM attempt_logs l JOIN attempts a ON a.id = l.attempt_id JOIN jobs j ON j.id = a.job_id
WHERE l.tenant_id = :tenant_id AND l.id < :before AND l.id >= :floor AND l.collected_at >= :since {of_job}
  AND strpos(lower(l.text COLLATE "C"), lower(CAST(:wanted AS text) COLLATE "C")) > 0
ORDER BY l.id DESC LIMIT :limit
"""
_FIND_ANY = text(_FIND.format(of_job=""))
_FIND_OF_JOB = text(_FIND.format(of_job="AND l.attempt_id IN (SELECT id FROM attempts WHERE job_id = :job_id)"))


def floor(session: Session, tenant_id: UUID, *, before: int, most_bytes: int) -> int:
    """The oldest piece to look into, so that all from there up to `before` are about so many bytes; 0: all of them."""
    values = {"tenant_id": tenant_id, "before": before, "most": most_bytes}
    return session.execute(_FLOOR, values).scalar_one_or_none() or 0


def find(
    session: Session,
    tenant_id: UUID,
    wanted: str,
    *,
    since: datetime,
    before: int,
    floor: int,
    limit: int,
    job_id: UUID | None = None,
) -> list[FoundPiece]:
    """Pieces that hold a text, whatever the case of its ASCII letters, newest first."""
    values = {"tenant_id": tenant_id, "wanted": wanted, "since": since, "before": before, "floor": floor}
    query = _FIND_ANY
    if job_id is not None:
        query, values = _FIND_OF_JOB, {**values, "job_id": job_id}
    return [FoundPiece(**row) for row in session.execute(query, {**values, "limit": limit}).mappings()]


_FORGET = text("""
DELETE FROM attempt_logs WHERE id IN (
  SELECT l.id FROM attempt_logs l JOIN attempts a ON a.id = l.attempt_id
  WHERE l.collected_at < :before AND a.ended_at < :before
  ORDER BY l.collected_at LIMIT :limit FOR UPDATE OF l SKIP LOCKED
)
""")


def forget(session: Session, *, before: datetime, limit: int) -> int:
    """Delete pieces of attempts that ended before a time, so many at most; how many. What an attempt that goes on has
    printed stays: how much of it was collected is reckoned from that."""
    gone = session.execute(_FORGET, {"before": before, "limit": limit})
    return int(gone.rowcount)  # type: ignore[attr-defined]
