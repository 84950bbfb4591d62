"""Sealed secrets, by tenant and name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from scheduler.storage.engine import Session
from scheduler.storage.rows import columns
from scheduler.storage.tables import SecretRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretView:
    """A secret as it is shown: never with its value."""

    name: str
    created_at: datetime
    updated_at: datetime


_COLUMNS = columns(SecretRow, SecretView)


def put(session: Session, tenant_id: UUID, name: str, sealed: str, now: datetime) -> SecretView:
    """Store a secret, or another value of it."""
    added = insert(SecretRow).values(tenant_id=tenant_id, name=name, sealed=sealed, created_at=now, updated_at=now)
    replaced = added.on_conflict_do_update(
        index_elements=["tenant_id", "name"], set_={"sealed": sealed, "updated_at": now}
    )
    return SecretView(**session.execute(replaced.returning(*_COLUMNS)).mappings().one())


def page(session: Session, tenant_id: UUID, *, after: str, limit: int) -> list[SecretView]:
    """Secrets of a tenant by name."""
    query = select(*_COLUMNS).where(SecretRow.tenant_id == tenant_id, SecretRow.name > after)
    return [SecretView(**row) for row in session.execute(query.order_by(SecretRow.name).limit(limit)).mappings()]


def get(session: Session, tenant_id: UUID, name: str) -> SecretView | None:
    """One secret."""
    query = select(*_COLUMNS).where(SecretRow.tenant_id == tenant_id, SecretRow.name == name)
    row = session.execute(query).mappings().one_or_none()
    return None if row is None else SecretView(**row)


def sealed(session: Session, tenant_id: UUID, names: Sequence[str]) -> dict[str, str]:
    """Those of some secrets that are stored, by name."""
    query = select(SecretRow.name, SecretRow.sealed).where(SecretRow.tenant_id == tenant_id, SecretRow.name.in_(names))
    return {row.name: row.sealed for row in session.execute(query)}


def remove(session: Session, tenant_id: UUID, name: str) -> bool:
    """Delete a secret; False where there was none."""
    gone = delete(SecretRow).where(SecretRow.tenant_id == tenant_id, SecretRow.name == name).returning(SecretRow.name)
    return session.execute(gone).scalar_one_or_none() is not None


def lock_all(session: Session) -> list[tuple[UUID, str, str]]:
    """Every tenant's: whose, its name, and how it is sealed. Held until the transaction ends."""
    query = select(SecretRow.tenant_id, SecretRow.name, SecretRow.sealed).with_for_update()
    return [(tenant_id, name, value) for tenant_id, name, value in session.execute(query)]


def seal_anew(session: Session, tenant_id: UUID, name: str, value: str) -> None:
    """The same value under another key."""
    session.execute(
        update(SecretRow)
        .where(SecretRow.tenant_id == tenant_id, SecretRow.name == name)
        .values(sealed=value)
        .execution_options(synchronize_session=False)
    )
