"""The inventory: what providers sell now, and how much of it is held."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

from sqlalchemy import Text, bindparam, case, cast, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from scheduler.domain.errors import NotFound
from scheduler.domain.offers import Offer as OfferValue
from scheduler.domain.price_line import PriceKey, renewed
from scheduler.storage import prices
from scheduler.storage.engine import Session
from scheduler.storage.rows import columns
from scheduler.storage.tables import InventoryVersion, Offer, Tenant
from scheduler.storage.views import OfferView

_COLUMNS = columns(Offer, OfferValue)
_KEY = ("provider", "region", "instance_type", "gpu_type")
_REMEMBERED = (
    "price_date", "on_demand_micros_per_gpu_hour", "spot_micros_per_gpu_hour", "egress_micros_per_gib",
    "capacity_gpus", "source",
)  # fmt: skip
_IMPORTED = tuple(field.name for field in fields(OfferValue) if field.name not in ("id", "reserved_gpus", *_KEY))
_ABOUT = ("enabled", "away", "updated_at")
_VIEWED = [*_COLUMNS, *(getattr(Offer, name) for name in _ABOUT)]
_TAKEN = case((Offer.away, func.greatest(Offer.capacity_gpus, Offer.reserved_gpus)), else_=Offer.reserved_gpus)
"""Of what is away nothing can be had."""
_AS_TAKEN = [_TAKEN.label(column.key) if column.key == "reserved_gpus" else column for column in _COLUMNS]


def enabled(session: Session) -> list[OfferValue]:
    """Every offer that may be used."""
    query = select(*_AS_TAKEN).where(Offer.enabled).order_by(Offer.id)
    return [prices.offer_value(row) for row in session.execute(query).mappings()]


def backends(session: Session) -> dict[PriceKey, str]:
    """Which backend runs what is placed on each offer."""
    query = select(Offer.provider, Offer.region, Offer.instance_type, Offer.gpu_type, Offer.backend)
    return {(row.provider, row.region, row.instance_type, row.gpu_type): row.backend for row in session.execute(query)}


# as one document: a thousand offers may be held, and every plan asks
_HELD = (
    select(func.json_object_agg(cast(Offer.id, Text), _TAKEN))
    .where(Offer.enabled, (Offer.reserved_gpus > 0) | Offer.away)
    .scalar_subquery()
)
_SHARES = select(Tenant.share_cards).where(Tenant.id == bindparam("tenant")).scalar_subquery()
_GLANCE = select(InventoryVersion.version, _HELD, _SHARES)


def glance(session: Session, tenant_id: UUID | None = None) -> tuple[int, Mapping[str, int], bool]:
    """The version of the inventory, how many GPUs are held of each offer of which any are, by its id, and whether a
    tenant lets its jobs share cards."""
    version, held, shares = session.execute(_GLANCE, {"tenant": tenant_id}).one()
    return version, held or {}, bool(shares)


def free(session: Session) -> dict[UUID, int]:
    """What nobody holds of each offer that may be used."""
    query = select(Offer.id, func.greatest(Offer.capacity_gpus - _TAKEN, 0)).where(Offer.enabled)
    return {offer_id: int(gpus) for offer_id, gpus in session.execute(query)}


def get(session: Session, offer_id: UUID) -> OfferValue:
    """One offer, or NotFound."""
    row = session.execute(select(*_COLUMNS).where(Offer.id == offer_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("offer", offer_id)
    return prices.offer_value(row)


def upsert(session: Session, offers: Sequence[OfferValue]) -> int:
    """Store offers that somebody vouches for; one of the same provider, region, instance and GPU type is replaced and
    may be used again, what is held of it stays. How many were stored."""
    if not offers:
        return 0
    return _write(session, offers, prices.next_version(session))


def renew(session: Session, listed: Sequence[OfferValue], *, import_id: UUID | None) -> int:
    """Store offers as a price list has them; of a known one what somebody has stated stays, and whether it is used.

    A price older than the one in use is remembered and not put to use. How many were put to use.
    """
    if not listed:
        return 0
    version = prices.next_version(session)  # what is known is not changed by anybody else from here on
    known = _known(session, {offer.provider for offer in listed})
    offers = [renewed(known[_key(offer)], offer) if _key(offer) in known else offer for offer in listed]
    return _write(session, offers, version, listed=True, import_id=import_id)


def _write(
    session: Session,
    offers: Sequence[OfferValue],
    version: int,
    *,
    listed: bool = False,
    import_id: UUID | None = None,
) -> int:
    """Rows are written in the order of their key, so that two writers wait for each other instead of deadlocking."""
    rows = [
        {**{field.name: getattr(offer, field.name) for field in fields(OfferValue)},
         "sold_gpus": list(offer.sold_gpus), "assumed": list(offer.assumed)}
        for offer in sorted(offers, key=_key)
    ]  # fmt: skip
    statement = insert(Offer)
    replaced = {name: statement.excluded[name] for name in _IMPORTED} | ({} if listed else {"enabled": True})
    session.execute(
        statement.on_conflict_do_update(
            index_elements=list(_KEY),
            set_={**replaced, "updated_at": func.now()},
            where=statement.excluded.price_date >= Offer.price_date if listed else None,
        ),
        rows,
    )
    return _remember(session, offers, version=version, import_id=import_id)


def _known(session: Session, providers: Collection[str]) -> dict[PriceKey, OfferValue]:
    rows = session.execute(select(*_COLUMNS).where(Offer.provider.in_(providers))).mappings()
    return {_key(offer): offer for offer in map(prices.offer_value, rows)}


def _remember(session: Session, offers: Sequence[OfferValue], *, version: int, import_id: UUID | None) -> int:
    # now() is the moment the transaction began: an offer that carries it was written here
    mine = Offer.updated_at == func.now()
    rows = session.execute(select(Offer.id, *(getattr(Offer, name) for name in _KEY), mine, Offer.enabled))
    stored = {tuple(key): (offer_id, written, enabled) for offer_id, *key, written, enabled in rows}
    prices.record(session, [
        {name: getattr(offer, name) for name in _REMEMBERED}
        | {"offer_id": stored[_key(offer)][0], "applied": stored[_key(offer)][1], "enabled": stored[_key(offer)][2],
           "import_id": import_id, "inventory_version": version}
        for offer in offers
    ])  # fmt: skip
    return sum(stored[_key(offer)][1] for offer in offers)


def _key(offer: OfferValue) -> PriceKey:
    return offer.provider, offer.region, offer.instance_type, offer.gpu_type


def count(session: Session) -> int:
    """How many offers there are, used or not."""
    return session.execute(select(func.count()).select_from(Offer)).scalar_one()


def page(
    session: Session,
    *,
    gpu_types: Sequence[str] = (),
    provider: str | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[OfferView]:
    """Offers, used or not, in the order of their ids behind `after`."""
    query = select(*_VIEWED).order_by(Offer.id).limit(limit)
    if gpu_types:
        query = query.where(Offer.gpu_type.in_(gpu_types))
    if provider is not None:
        query = query.where(Offer.provider == provider)
    if after is not None:
        query = query.where(Offer.id > after)
    return [_offer_view(row) for row in session.execute(query).mappings()]


def at(session: Session, provider: str, region: str) -> list[OfferView]:
    """Offers of a provider in a region, used or not."""
    query = select(*_VIEWED).where(Offer.provider == provider, Offer.region == region)
    return [_offer_view(row) for row in session.execute(query.order_by(Offer.id)).mappings()]


def send_away(session: Session, provider: str, region: str, *, away: bool) -> None:
    """What a provider has in a region cannot be had now, or can again.

    Prices and capacities are what they were, so this is no new version of the inventory.
    """
    session.execute(
        update(Offer)
        .where(Offer.provider == provider, Offer.region == region)
        .values(away=away)
        .execution_options(synchronize_session=False)
    )


def change(session: Session, offer_id: UUID, changes: Mapping[str, Any]) -> OfferView:
    """Set columns of an offer, which are assumed no longer; NotFound where there is none.

    Capacity may go below what is held: nothing is taken back.
    """
    still_assumed = Offer.assumed.op("-")(cast(list(changes), ARRAY(Text)))
    version = prices.next_version(session)
    row = (
        session.execute(
            update(Offer)
            .where(Offer.id == offer_id)
            .values(**changes, assumed=still_assumed, updated_at=func.now())
            .returning(*_VIEWED)
            .execution_options(synchronize_session=False)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound("offer", offer_id)
    changed = _offer_view(row)
    prices.record(session, [
        {name: getattr(changed.offer, name) for name in _REMEMBERED}
        | {"offer_id": offer_id, "applied": True, "enabled": changed.enabled, "import_id": None,
           "inventory_version": version}
    ])  # fmt: skip
    return changed


def _offer_view(row: Mapping[Any, Any]) -> OfferView:
    value = dict(row)
    about = {name: value.pop(name) for name in _ABOUT}
    return OfferView(offer=prices.offer_value(value), **about)
