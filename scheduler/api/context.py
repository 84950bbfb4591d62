"""What the handlers need of the world, and the dependencies that hand it to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from scheduler.services.api_keys import authenticate
from scheduler.services.knowledge import Knowledge
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


async def _context(request: Request) -> ApiContext:  # a plain function would wait for a thread of the pool
    return cast(ApiContext, request.app.state.context)


Context = Annotated[ApiContext, Depends(_context)]

_bearer = HTTPBearer(auto_error=False, description="The key that `pythia up` shows once")


def _tenant(context: Context, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> UUID:
    return authenticate(context.engine, sent.credentials if sent else None)


Tenant = Annotated[UUID, Depends(_tenant)]
"""Whose key came with the request; every row that is read or written is theirs."""
