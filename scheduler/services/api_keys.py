"""Keys to the API: made once, shown once, kept as a digest."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from uuid import UUID

from scheduler.domain.errors import Unauthorized
from scheduler.services.kept import Kept
from scheduler.storage import api_keys
from scheduler.storage.engine import Engine, Session, at_once, transaction
from scheduler.storage.tables import DEFAULT_TENANT

REVOKED_WITHIN_S = 1.0
"""How long a revoked key may still open what it opened just before."""

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
    with at_once(engine) as session:
        tenant_id = api_keys.tenant_of(session, _digest(key))
    if tenant_id is None:
        raise Unauthorized("this API key is not known here, or was revoked")
    return tenant_id


class KnownKeys:
    """Keys that were good a moment ago: a client that asks again and again is not looked up each time.

    Only digests are held, and only of keys that opened something.
    """

    def __init__(self, for_s: float = REVOKED_WITHIN_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._for_s = for_s
        self._clock = clock
        self._known: Kept[tuple[UUID, float]] = Kept(1000)

    def tenant_of(self, key: str | None) -> UUID | None:
        """Whose key this was a moment ago; None where it is to be looked up."""
        found = self._known.get(_digest(key)) if key else None
        return found[0] if found is not None and self._clock() < found[1] else None

    def look_up(self, engine: Engine, key: str | None) -> UUID:
        """The tenant whose key this is now, or Unauthorized."""
        until = self._clock() + self._for_s
        tenant_id = authenticate(engine, key)
        if key:
            self._known.put(_digest(key), (tenant_id, until))
        return tenant_id


def _make(session: Session, tenant_id: UUID, name: str) -> str:
    key = PREFIX + secrets.token_urlsafe(32)
    api_keys.add(session, tenant_id=tenant_id, sha256=_digest(key), name=name)
    return key


def _digest(key: str) -> str:
    # 256 random bits need no slow hash: there is nothing to guess
    return hashlib.sha256(key.encode()).hexdigest()
