"""What the handlers need of the world, and the dependencies that hand it to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from scheduler.api.following import Followers
from scheduler.services.api_keys import KnownKeys
from scheduler.services.knowledge import Knowledge
from scheduler.services.vault import Vault
from scheduler.storage.engine import Engine


def utc_now() -> datetime:
    """The clock of this edge."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """One installation, as its API sees it."""

    engine: Engine
    knowledge: Knowledge
    broker_answers: Callable[[], bool]
    """Whether a doorbell could be sent now."""
    clock: Callable[[], datetime] = utc_now
    keys: KnownKeys = field(default_factory=KnownKeys)
    followers: Followers = field(default_factory=Followers)
    vault: Vault = field(default_factory=lambda: Vault(None))


async def _context(request: Request) -> ApiContext:  # a plain function would wait for a thread of the pool
    return cast(ApiContext, request.app.state.context)


Context = Annotated[ApiContext, Depends(_context)]

_bearer = HTTPBearer(auto_error=False, description="The key that `pythia up` shows once")


async def _tenant(context: Context, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> UUID:
    key = sent.credentials if sent else None
    known = context.keys.tenant_of(key)
    return await run_in_threadpool(context.keys.look_up, context.engine, key) if known is None else known


Tenant = Annotated[UUID, Depends(_tenant)]
"""Whose key came with the request; every row that is read or written is theirs."""
