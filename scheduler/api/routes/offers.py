"""The inventory: what may be bought, price lists put in, single offers changed."""

from __future__ import annotations

import tempfile
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from scheduler.api import present, present_prices
from scheduler.api.context import Context, Tenant
from scheduler.api.problems import refuse, responses
from scheduler.api.schemas.common import Page
from scheduler.api.schemas.offers import ImportOut, OfferChange, OfferIn, OfferOut, OffersStored
from scheduler.api.strict_json import BulkRoute, JsonRoute
from scheduler.domain.errors import InvalidOffer
from scheduler.domain.money import usd_to_micros
from scheduler.domain.offers import Offer
from scheduler.domain.price_line import latest_day
from scheduler.services.import_offers import import_price_file, put_offers
from scheduler.services.inventory import change_offer, page_offers
from scheduler.storage.ids import new_id

router = APIRouter(tags=["offers"], route_class=JsonRoute)
bulk = APIRouter(tags=["offers"], route_class=BulkRoute)

_CSV = {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}


@router.get("/offers", summary="The inventory")
def list_offers(
    context: Context,
    tenant: Tenant,
    gpu_type: Annotated[str | None, Query(description="A GPU type; a bare name means all its variants")] = None,
    provider: Annotated[str | None, Query()] = None,
    after: Annotated[UUID | None, Query(description="Continue behind this offer: `next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Page[OfferOut]:
    """Every offer with its price, its capacity and how much of it is free now."""
    found = page_offers(
        context.engine, context.knowledge.gpus, gpu_type=gpu_type, provider=provider, after=after, limit=limit
    )
    more = str(found[-1].offer.id) if len(found) == limit else None
    return Page(items=[present.offer(one) for one in found], next=more)


@router.put("/offers", summary="Put an offer in", responses=responses(413, 415))
def put_offer(given: OfferIn, context: Context, tenant: Tenant) -> OffersStored:
    """Add an offer, or replace the one of the same provider, region, instance type and GPU type."""
    context.knowledge.gpus.variants(given.gpu_type)  # an unknown GPU type is refused by name
    _has_come(given.price_date, context.clock())
    return OffersStored(stored=put_offers(context.engine, [_offer(given)]))


@router.patch("/offers/{offer_id}", summary="Change an offer", responses=responses(404, 413, 415))
def patch_offer(offer_id: UUID, change: OfferChange, context: Context, tenant: Tenant) -> OfferOut:
    """Set capacity, prices, or whether the offer may be used; what runs on it goes on.

    A newer price list changes prices and leaves capacity and use as they were set here.
    """
    if change.price_date is not None:
        _has_come(change.price_date, context.clock())
    return present.offer(change_offer(context.engine, offer_id, _changes(change)))


def _has_come(price_date: date, now: datetime) -> None:
    if price_date > latest_day(now):
        raise InvalidOffer(f"price_date is {price_date}, a day that has not come")


async def _csv_body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/csv":
        raise refuse(415, "send the price list with Content-Type: text/csv")
    return await request.body()


@bulk.post(
    "/offers:import",
    summary="Import a price list",
    responses=responses(413, 415),
    openapi_extra={"requestBody": _CSV},
)
def import_offers(
    context: Context,
    tenant: Tenant,
    price_list: Annotated[bytes, Depends(_csv_body)],
    provider: Annotated[str | None, Query(max_length=200, description="For catalogues that do not say whose")] = None,
    price_date: Annotated[date | None, Query(description="For catalogues that do not say of which day")] = None,
    backend: Annotated[
        Literal["simulated", "dstack"] | None,
        Query(description="What runs jobs placed there; by default what an offer has, and `simulated` where it is new"),
    ] = None,
) -> ImportOut:
    """A list with the columns of datasets/prices_2026_08.csv, or a catalogue of gpuhunt, dstack or SkyPilot.

    All lines or none: the first that cannot be read is named. A price that cannot be true goes to quarantine. With the
    backend `dstack`, what dstack does not rent is skipped and counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "price list"
        path.write_bytes(price_list)
        done = import_price_file(
            context.engine, path, now=context.clock(), backend=backend, provider=provider, price_date=price_date
        )
    return present_prices.imported(done)


def _offer(given: OfferIn) -> Offer:
    prices = (given.on_demand_usd_per_gpu_hour, given.spot_usd_per_gpu_hour)
    on_demand, spot = (None if price is None else usd_to_micros(price) for price in prices)
    return Offer(
        id=new_id(),
        provider=given.provider,
        region=given.region,
        country=given.country,
        jurisdiction=None,
        provider_hq=given.provider_hq,
        instance_type=given.instance_type,
        gpu_type=given.gpu_type,
        node_gpus=given.node_gpus,
        sold_gpus=tuple(sorted(set(given.sold_gpus or (given.node_gpus,)))),
        max_nodes=given.max_nodes,
        capacity_gpus=given.capacity_gpus,
        on_demand_micros_per_gpu_hour=on_demand,
        spot_micros_per_gpu_hour=spot,
        price_date=given.price_date.isoformat(),
        billing_increment_s=given.billing_increment_s,
        minimum_s=given.minimum_s,
        provision_s=given.provision_s,
        interconnect_gbps=given.interconnect_gbps,
        egress_micros_per_gib=None if given.egress_usd_per_gib is None else usd_to_micros(given.egress_usd_per_gib),
        tenancy=given.tenancy,
        backend=given.backend,
        source="put over HTTP",
    )


def _changes(change: OfferChange) -> dict[str, Any]:
    given = {name: getattr(change, name) for name in change.model_fields_set}
    for name in ("on_demand", "spot"):
        if f"{name}_usd_per_gpu_hour" in given:
            price = given.pop(f"{name}_usd_per_gpu_hour")
            given[f"{name}_micros_per_gpu_hour"] = None if price is None else usd_to_micros(price)
    if "price_date" in given:
        given["price_date"] = given["price_date"].isoformat()
    return given
