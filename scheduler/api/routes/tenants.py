"""Tenants: who may use how much. Until there are users and roles, every key may manage them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from scheduler.api.context import Context, Tenant
from scheduler.api.problems import responses
from scheduler.api.schemas.common import Page
from scheduler.api.schemas.tenants import KeyIn, KeyOut, TenantChange, TenantIn, TenantOut, TenantUseOut
from scheduler.api.strict_json import JsonRoute
from scheduler.domain.money import exact_usd, usd_to_micros
from scheduler.services import tenants
from scheduler.storage.views import TenantView

router = APIRouter(tags=["tenants"], route_class=JsonRoute)


@router.get("/tenants", summary="Who may use how much")
def list_tenants(context: Context, tenant: Tenant) -> Page[TenantUseOut]:
    """Every tenant with its share, its quotas, and what counts against them now."""
    found = tenants.list_tenants(context.engine, now=context.clock())
    items = [
        TenantUseOut(
            **_fields(one.tenant), gpus=one.use.gpus, usd_this_month=exact_usd(one.use.month_micros) or "0.00",
            gpu_hours_of_a_day=round(one.use.gpu_seconds / 3600, 3),
        )
        for one in found
    ]  # fmt: skip
    return Page(items=items, next=None)


@router.post("/tenants", status_code=201, summary="Make a tenant", responses=responses(409, 413, 415))
def add_tenant(given: TenantIn, context: Context, tenant: Tenant) -> TenantOut:
    """A tenant without keys; its first is made with POST /v1/tenants/{name}/keys."""
    made = tenants.add_tenant(
        context.engine, given.name, share=given.share, max_gpus=given.max_gpus, share_cards=given.share_cards,
        max_micros_per_month=None if given.max_usd_per_month is None else usd_to_micros(given.max_usd_per_month),
    )  # fmt: skip
    return TenantOut(**_fields(made))


@router.patch("/tenants/{name}", summary="Change a tenant", responses=responses(404, 413, 415))
def change_tenant(name: str, change: TenantChange, context: Context, tenant: Tenant) -> TenantOut:
    """Set its share and quotas, and whether its jobs share cards. What it holds already it keeps; a quota below that
    lets nothing new start."""
    given = {field: getattr(change, field) for field in change.model_fields_set}
    if "max_usd_per_month" in given:
        most = given.pop("max_usd_per_month")
        given["max_micros_per_month"] = None if most is None else usd_to_micros(most)
    changed = tenants.change_tenant(context.engine, name, given)
    return TenantOut(**_fields(changed))


@router.post("/tenants/{name}/keys", status_code=201, summary="Make a key", responses=responses(404, 413, 415))
def make_key(name: str, given: KeyIn, context: Context, tenant: Tenant) -> KeyOut:
    """A key of this tenant; only its digest is kept, so this answer is the only one that has it."""
    return KeyOut(tenant=name, key=tenants.make_tenant_key(context.engine, name, given.name))


def _fields(view: TenantView) -> dict[str, Any]:
    return {
        "id": view.id, "name": view.name, "share": view.share, "max_gpus": view.max_gpus,
        "max_usd_per_month": exact_usd(view.max_micros_per_month), "share_cards": view.share_cards,
        "created_at": view.created_at,
    }  # fmt: skip
