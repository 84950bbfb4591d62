"""Prices through time, the lists they came from, and those that nobody believes yet."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from scheduler.api import present_prices as present
from scheduler.api.context import Context, Tenant
from scheduler.api.problems import responses
from scheduler.api.schemas.common import Page
from scheduler.api.schemas.offers import PriceImportOut, PriceOut, QuarantineOut
from scheduler.api.strict_json import JsonRoute
from scheduler.services import prices

router = APIRouter(tags=["offers"], route_class=JsonRoute)

IMPORTS_LISTED = 100


@router.get("/offers/{offer_id}/prices", summary="What an offer has cost", responses=responses(404))
def list_prices(offer_id: UUID, context: Context, tenant: Tenant) -> Page[PriceOut]:
    """Every price of an offer with its day and the list that named it, the newest record first."""
    return Page(items=[present.price(one) for one in prices.price_history(context.engine, offer_id)], next=None)


@router.get("/prices/imports", summary="The price lists that were imported")
def list_imports(context: Context, tenant: Tenant) -> Page[PriceImportOut]:
    """The last hundred lists, newest first, and what became of their lines."""
    found = prices.list_imports(context.engine, limit=IMPORTS_LISTED)
    return Page(items=[present.price_import(one) for one in found], next=None)


@router.get("/prices/quarantine", summary="Prices that are not believed")
def list_quarantine(
    context: Context,
    tenant: Tenant,
    after: Annotated[UUID | None, Query(description="Continue behind this one: `next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Page[QuarantineOut]:
    """Imported prices that cannot be true, or changed too much since the last list; none of them is in any plan."""
    found = prices.list_quarantine(context.engine, after=after, limit=limit)
    more = str(found[-1].id) if len(found) == limit else None
    return Page(items=[present.quarantined(one) for one in found], next=more)


@router.post("/prices/quarantine/{price_id}:release", summary="Believe a price after all", responses=responses(404))
def release(price_id: UUID, context: Context, tenant: Tenant) -> QuarantineOut:
    """The offer takes the price, unless a newer one is in use by now: `applied` says which."""
    released, applied = prices.release_price(context.engine, price_id, now=context.clock())
    return present.quarantined(released, applied=applied)


@router.post("/prices/quarantine/{price_id}:drop", summary="Never use a price", responses=responses(404))
def drop(price_id: UUID, context: Context, tenant: Tenant) -> QuarantineOut:
    """The price leaves the quarantine and is not used."""
    return present.quarantined(prices.drop_price(context.engine, price_id, now=context.clock()))
