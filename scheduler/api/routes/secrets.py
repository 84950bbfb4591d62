"""Store secrets for jobs, list their names, delete them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from scheduler.api.context import Context, Tenant
from scheduler.api.problems import responses
from scheduler.api.schemas.common import Page
from scheduler.api.schemas.secrets import SecretIn, SecretOut
from scheduler.api.strict_json import JsonRoute
from scheduler.domain.secrets import NAME
from scheduler.services import secrets
from scheduler.storage.secrets import SecretView

router = APIRouter(tags=["secrets"], route_class=JsonRoute)

Name = Annotated[str, Path(pattern=NAME)]


@router.put("/secrets/{name}", summary="Store a secret", responses=responses(413, 415, 503))
def put_secret(name: Name, sent: SecretIn, context: Context, tenant: Tenant) -> SecretOut:
    """Keep a value that jobs of this tenant can ask for; one of that name is replaced. No call ever shows it again."""
    stored = secrets.put_secret(context.engine, context.vault, tenant, name, sent.value, now=context.clock())
    return _shown(stored)


@router.get("/secrets", summary="List the names of secrets")
def list_secrets(
    context: Context,
    tenant: Tenant,
    after: Annotated[str, Query(max_length=100, description="Continue behind this name")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Page[SecretOut]:
    """What is stored, by name, without values."""
    found = secrets.list_secrets(context.engine, tenant, after=after, limit=limit)
    more = found[-1].name if len(found) == limit else None
    return Page(items=[_shown(one) for one in found], next=more)


@router.get("/secrets/{name}", summary="See whether a secret is there", responses=responses(404))
def read_secret(name: Name, context: Context, tenant: Tenant) -> SecretOut:
    """When it was stored and when its value last changed; never the value."""
    return _shown(secrets.get_secret(context.engine, tenant, name))


@router.delete("/secrets/{name}", status_code=204, summary="Delete a secret", responses=responses(404))
def delete_secret(name: Name, context: Context, tenant: Tenant) -> None:
    """Forget a value. A job that asks for it and has not begun fails; one that runs has it already."""
    secrets.delete_secret(context.engine, tenant, name)


def _shown(view: SecretView) -> SecretOut:
    return SecretOut(name=view.name, created_at=view.created_at, updated_at=view.updated_at)
