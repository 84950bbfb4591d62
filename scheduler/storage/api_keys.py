"""Tenants and their keys; a key is stored as its SHA-256 only."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import exists, insert, select

from scheduler.storage.engine import Session
from scheduler.storage.ids import new_id
from scheduler.storage.tables import ApiKey


def any_valid(session: Session, tenant_id: UUID) -> bool:
    """Whether a tenant has a key that was not revoked."""
    query = select(exists().where(ApiKey.tenant_id == tenant_id, ApiKey.revoked_at.is_(None)))
    return bool(session.execute(query).scalar_one())


def add(session: Session, *, tenant_id: UUID, sha256: str, name: str) -> None:
    """Store a key's digest."""
    session.execute(insert(ApiKey).values(id=new_id(), tenant_id=tenant_id, sha256=sha256, name=name))


def tenant_of(session: Session, sha256: str) -> UUID | None:
    """Whose key this is; None where it is unknown or revoked."""
    query = select(ApiKey.tenant_id).where(ApiKey.sha256 == sha256, ApiKey.revoked_at.is_(None))
    return session.execute(query).scalar_one_or_none()
