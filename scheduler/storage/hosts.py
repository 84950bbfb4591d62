"""Hosts: when each was heard, and which attempts are theirs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import exists, select, update
from sqlalchemy.dialects.postgresql import insert

from scheduler.domain.states import AttemptState
from scheduler.storage.engine import Session
from scheduler.storage.tables import Attempt, HostRow

LOCAL = "local"
"""The provider, and the backend, of what hosts offer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host that has registered."""

    name: str
    account: str
    heard_at: datetime
    silent_since: datetime | None


def lock(session: Session, name: str) -> Host | None:
    """One host, held until the transaction ends; None where it never registered."""
    row = session.execute(
        select(HostRow).where(HostRow.name == name).with_for_update(), execution_options={"populate_existing": True}
    ).scalar_one_or_none()
    return None if row is None else _host(row)


def put(session: Session, name: str, account: str, now: datetime) -> None:
    """Write a host down as heard now."""
    heard = {"account": account, "heard_at": now}
    session.execute(
        insert(HostRow).values(name=name, **heard).on_conflict_do_update(index_elements=["name"], set_=heard)
    )


def change(session: Session, name: str, **values: Any) -> None:
    """Set columns of a host that this transaction holds."""
    session.execute(
        update(HostRow).where(HostRow.name == name).values(**values).execution_options(synchronize_session=False)
    )


def heard(session: Session, name: str, account: str, now: datetime) -> bool:
    """A host that is not silent was heard; False where it is silent, unknown or another of its name."""
    found = session.execute(
        update(HostRow)
        .where(HostRow.name == name, HostRow.account == account, HostRow.silent_since.is_(None))
        .values(heard_at=now)
        .returning(HostRow.name)
        .execution_options(synchronize_session=False)
    )
    return found.one_or_none() is not None


def unheard(session: Session, before: datetime) -> Sequence[str]:
    """Hosts that are not known to be silent, and have not been heard since a time."""
    query = select(HostRow.name).where(HostRow.silent_since.is_(None), HostRow.heard_at < before)
    return session.execute(query.order_by(HostRow.name)).scalars().all()


def awake(session: Session) -> Sequence[str]:
    """Hosts that are heard."""
    query = select(HostRow.name).where(HostRow.silent_since.is_(None)).order_by(HostRow.name)
    return session.execute(query).scalars().all()


def any_known(session: Session) -> bool:
    """Whether any host has registered."""
    return bool(session.execute(select(exists().where(HostRow.name.is_not(None)))).scalar_one())


def of_attempts(session: Session, attempt_ids: Collection[UUID]) -> dict[UUID, str]:
    """The host that alone can run an attempt, of those attempts that have one."""
    if not attempt_ids:
        return {}
    query = (
        select(Attempt.id, HostRow.name)
        .join(HostRow, HostRow.name == Attempt.region)
        .where(Attempt.id.in_(attempt_ids), Attempt.provider == LOCAL, Attempt.backend == LOCAL)
    )
    return {row.id: row.name for row in session.execute(query)}


def stranded(session: Session, limit: int) -> Sequence[tuple[UUID, str]]:
    """Live attempts of silent hosts, with the host of each."""
    query = (
        select(Attempt.id, HostRow.name)
        .join(HostRow, HostRow.name == Attempt.region)
        .where(
            HostRow.silent_since.is_not(None), Attempt.provider == LOCAL, Attempt.backend == LOCAL,
            Attempt.state != AttemptState.ENDED,
        )
        .limit(limit)
    )  # fmt: skip
    return [(row.id, row.name) for row in session.execute(query)]


def _host(row: HostRow) -> Host:
    return Host(
        name=row.name, account=row.account, heard_at=row.heard_at, silent_since=row.silent_since
    )  # fmt: skip
