"""The inventory: what providers sell now, and how much of it is held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from scheduler.domain.errors import NotFound
from scheduler.domain.offers import Offer as OfferValue
from scheduler.storage.engine import Session
from scheduler.storage.rows import columns
from scheduler.storage.tables import Offer
from scheduler.storage.views import OfferView

_COLUMNS = columns(Offer, OfferValue)
_KEY = ("provider", "region", "instance_type", "gpu_type")
_IMPORTED = tuple(field.name for field in fields(OfferValue) if field.name not in ("id", "reserved_gpus", *_KEY))


def _value(row: Mapping[Any, Any]) -> OfferValue:
    return OfferValue(**{**row, "sold_gpus": tuple(row["sold_gpus"]), "assumed": tuple(row["assumed"])})


def enabled(session: Session) -> list[OfferValue]:
    """Every offer that may be used."""
    query = select(*_COLUMNS).where(Offer.enabled).order_by(Offer.id)
    return [_value(row) for row in session.execute(query).mappings()]


def get(session: Session, offer_id: UUID) -> OfferValue:
    """One offer, or NotFound."""
    row = session.execute(select(*_COLUMNS).where(Offer.id == offer_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("offer", offer_id)
    return _value(row)


def upsert(session: Session, offers: Sequence[OfferValue]) -> int:
    """Store offers; one of the same provider, region, instance and GPU type is replaced, what is held of it stays.

    Rows are written in the order of their key, so that two imports at once wait for each other instead of deadlocking.
    """
    if not offers:
        return 0
    rows = [
        {**{field.name: getattr(offer, field.name) for field in fields(OfferValue)},
         "sold_gpus": list(offer.sold_gpus), "assumed": list(offer.assumed)}
        for offer in sorted(offers, key=lambda offer: tuple(getattr(offer, name) for name in _KEY))
    ]  # fmt: skip
    statement = insert(Offer)
    replaced = {name: statement.excluded[name] for name in _IMPORTED}
    session.execute(
        statement.on_conflict_do_update(
            index_elements=list(_KEY), set_={**replaced, "enabled": True, "updated_at": func.now()}
        ),
        rows,
    )
    return len(rows)


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
    query = select(*_COLUMNS, Offer.enabled, Offer.updated_at).order_by(Offer.id).limit(limit)
    if gpu_types:
        query = query.where(Offer.gpu_type.in_(gpu_types))
    if provider is not None:
        query = query.where(Offer.provider == provider)
    if after is not None:
        query = query.where(Offer.id > after)
    return [_offer_view(row) for row in session.execute(query).mappings()]


def change(session: Session, offer_id: UUID, changes: Mapping[str, Any]) -> OfferView:
    """Set columns of an offer; NotFound where there is none. Capacity may go below what is held: nothing is taken back."""
    row = (
        session.execute(
            update(Offer)
            .where(Offer.id == offer_id)
            .values(**changes, updated_at=func.now())
            .returning(*_COLUMNS, Offer.enabled, Offer.updated_at)
            .execution_options(synchronize_session=False)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound("offer", offer_id)
    return _offer_view(row)


def _offer_view(row: Mapping[Any, Any]) -> OfferView:
    value = dict(row)
    enabled, updated_at = value.pop("enabled"), value.pop("updated_at")
    return OfferView(offer=_value(value), enabled=enabled, updated_at=updated_at)
