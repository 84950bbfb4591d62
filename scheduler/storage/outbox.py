"""Doorbells that are to be rung once the transaction that wrote them has committed.

Rows are taken through a CTE with FOR UPDATE: PostgreSQL evaluates it once, where a subquery with a LIMIT may be run
again for every row and take more than asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select, text, update

from scheduler.storage.base import core
from scheduler.storage.engine import Session
from scheduler.storage.tables import OutboxMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorbell:
    """One message on its way to the broker."""

    id: int
    task: str
    queue: str
    arguments: Mapping[str, str]


_OUTBOX = core(OutboxMessage)
_O = _OUTBOX.c
_RING = insert(_OUTBOX)


def ring(session: Session, task: str, queue: str, *, not_before: datetime | None = None, **ids: object) -> None:
    """Write a doorbell; it leaves after the commit and after `not_before`, at least once."""
    arguments = {name: str(value) for name, value in ids.items()}
    values = {"task": task, "queue": queue, "arguments": arguments}
    # as if another relay held it until then
    session.execute(_RING, {**values, "claimed_until": not_before})


_FREE = (
    select(_O.id)
    .where(_O.sent_at.is_(None), _O.claimed_until.is_(None) | (_O.claimed_until <= bindparam("now")))
    .order_by(_O.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .cte("free")
)
_CLAIM = (
    update(_OUTBOX)
    .where(_O.id.in_(select(_FREE.c.id)))
    .values(claimed_until=bindparam("until"))
    .returning(_O.id, _O.task, _O.queue, _O.arguments)
)


def claim(session: Session, *, now: datetime, until: datetime, limit: int) -> list[Doorbell]:
    """Take unsent doorbells for sending, oldest first; whoever dies holding them loses them at `until`."""
    rows = session.execute(_CLAIM, {"now": now, "until": until, "limit": limit})
    return sorted((Doorbell(**row) for row in rows.mappings()), key=lambda doorbell: doorbell.id)


_WAITS = text(
    "SELECT EXISTS (SELECT FROM outbox WHERE sent_at IS NULL AND (claimed_until IS NULL OR claimed_until <= :now))"
)


def any_unsent(session: Session, now: datetime) -> bool:
    """Whether a doorbell is to be sent now: a glance at an index that is empty at rest."""
    return bool(session.execute(_WAITS, {"now": now}).scalar_one())


_SENT = update(_OUTBOX).where(_O.id.in_(bindparam("ids", expanding=True)))


def mark_sent(session: Session, ids: Sequence[int], now: datetime) -> None:
    """These have reached the broker."""
    session.execute(_SENT, {"ids": list(ids), "sent_at": now})


def give_back(session: Session, ids: Sequence[int]) -> None:
    """These could not be sent; anyone may try again at once."""
    session.execute(
        update(OutboxMessage)
        .where(OutboxMessage.id.in_(ids), OutboxMessage.sent_at.is_(None))
        .values(claimed_until=None)
        .execution_options(synchronize_session=False)
    )


def forget_sent(session: Session, before: datetime) -> int:
    """Delete what was sent long ago; how many."""
    gone = session.execute(
        delete(OutboxMessage)
        .where(OutboxMessage.sent_at < before)
        .returning(OutboxMessage.id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())
