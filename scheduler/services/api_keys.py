"""Keys to the API: made once, shown once, kept as a digest."""

from __future__ import annotations

import hashlib
import secrets
from uuid import UUID

from scheduler.domain.errors import Unauthorized
from scheduler.storage import api_keys
from scheduler.storage.engine import Engine, Session, transaction
from scheduler.storage.tables import DEFAULT_TENANT

PREFIX = "pythia_"
"""Lets a key be recognised in a log or a repository where it should not be."""


def ensure_default_key(engine: Engine) -> str | None:
    """Make the first key of a new installation and return it, the only time it can be seen; None where one exists."""
    with transaction(engine) as session:
        if api_keys.any_valid(session, DEFAULT_TENANT):
            return None
        return _make(session, DEFAULT_TENANT, "default")


def make_key(engine: Engine, tenant_id: UUID, name: str) -> str:
    """Make another key of a tenant and return it, the only time it can be seen."""
    with transaction(engine) as session:
        return _make(session, tenant_id, name)


def authenticate(engine: Engine, key: str | None) -> UUID:
    """The tenant whose key this is, or Unauthorized."""
    if not key:
        raise Unauthorized("an API key is needed: send Authorization: Bearer KEY")
    with transaction(engine) as session:
        tenant_id = api_keys.tenant_of(session, _digest(key))
    if tenant_id is None:
        raise Unauthorized("this API key is not known here, or was revoked")
    return tenant_id


def _make(session: Session, tenant_id: UUID, name: str) -> str:
    key = PREFIX + secrets.token_urlsafe(32)
    api_keys.add(session, tenant_id=tenant_id, sha256=_digest(key), name=name)
    return key


def _digest(key: str) -> str:
    # 256 random bits need no slow hash: there is nothing to guess
    return hashlib.sha256(key.encode()).hexdigest()
