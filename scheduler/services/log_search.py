"""Search what jobs printed, for one tenant, and forget what is older than a week."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from scheduler.storage import jobs, log_search
from scheduler.storage.engine import Engine, reading, transaction
from scheduler.storage.log_search import FoundPiece

log = structlog.get_logger(__name__)

MOST_BYTES = 64 * 2**20
"""Looked into for one answer: 0.4 s of PostgreSQL, measured with lines of 200 and pieces of 65,000 bytes."""
LINES_SHOWN = 20
WIDTH = 400
"""Characters that are shown of a long line, around what was found."""
NEWEST = 2**63 - 1
FORGOTTEN_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A piece that holds what was looked for, with the lines that do."""

    piece: FoundPiece
    lines: tuple[str, ...]
    """The first `LINES_SHOWN` of them."""
    count: int
    """Lines in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Some of what was found, newest first."""

    hits: tuple[Hit, ...]
    next: int | None
    """Go on behind this piece; None where everything was looked into. There may be more though this page is empty."""


def search_logs(
    engine: Engine,
    tenant_id: UUID,
    wanted: str,
    *,
    since: datetime,
    before: int = NEWEST,
    limit: int = 100,
    job_id: UUID | None = None,
) -> Hits:
    """Pieces with lines that hold a text without line breaks, whatever the case of its ASCII letters.

    A line that was printed bit by bit may have been collected in two pieces, and is then looked into as two lines.
    """
    with reading(engine) as session:
        floor = 0
        if job_id is not None:
            jobs.get(session, tenant_id, job_id)  # what one job printed is capped: it is looked into as a whole
        else:
            floor = log_search.floor(session, tenant_id, before=before, most_bytes=MOST_BYTES)
        found = log_search.find(
            session, tenant_id, wanted, since=since, before=before, floor=floor, limit=limit, job_id=job_id
        )
    behind = found[-1].id if len(found) == limit else floor
    return Hits(hits=tuple(_hit(piece, wanted) for piece in found), next=behind or None)


def _hit(piece: FoundPiece, wanted: str) -> Hit:
    # as PostgreSQL has compared: letters beyond ASCII as they are
    pattern = re.compile(re.escape(wanted), re.IGNORECASE | re.ASCII)
    lines: list[str] = []
    count = 0
    for line in re.split(r"[\r\n]", piece.text):
        if (match := pattern.search(line)) is None:
            continue
        count += 1
        if len(lines) < LINES_SHOWN:
            lines.append(_shortened(line, match.start(), match.end()))
    return Hit(piece=piece, lines=tuple(lines), count=count)


def _shortened(line: str, start: int, end: int) -> str:
    if len(line) <= WIDTH:
        return line
    begin = max(0, min(start - (WIDTH - (end - start)) // 2, len(line) - WIDTH))
    shown = line[begin : begin + WIDTH]
    return ("…" if begin else "") + shown + ("…" if begin + WIDTH < len(line) else "")


def forget_logs(engine: Engine, *, older_than: timedelta, now: datetime) -> int:
    """Delete some of what was printed by attempts that ended longer ago than that; how many pieces."""
    with transaction(engine) as session:
        gone = log_search.forget(session, before=now - older_than, limit=FORGOTTEN_AT_ONCE)
    if gone:
        log.info("forgot old output", pieces=gone)
    return gone
