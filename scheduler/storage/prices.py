"""Prices through time: what each offer was in every version of the inventory, and which lists said so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, insert, select, update

from scheduler.domain.offers import Offer as OfferValue
from scheduler.domain.price_checks import Ask
from scheduler.domain.price_line import PriceKey
from scheduler.storage.base import core
from scheduler.storage.engine import Session
from scheduler.storage.ids import new_id
from scheduler.storage.rows import columns
from scheduler.storage.tables import InventoryVersion, Offer, OfferPrice, PriceImport
from scheduler.storage.views import PriceImportView, PriceView

_PAST = (
    "price_date", "on_demand_micros_per_gpu_hour", "spot_micros_per_gpu_hour", "egress_micros_per_gib",
    "capacity_gpus", "source",
)  # fmt: skip
"""What of an offer its history tells."""


def version(session: Session) -> int:
    """The version of the inventory that this transaction sees."""
    return session.execute(select(InventoryVersion.version)).scalar_one()


def next_version(session: Session) -> int:
    """Count a change of the inventory; two changes at once wait for each other here, before they lock any offer."""
    return session.execute(
        update(InventoryVersion)
        .values(version=InventoryVersion.version + 1)
        .returning(InventoryVersion.version)
        .execution_options(synchronize_session=False)
    ).scalar_one()


def record(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write down what offers have become."""
    if rows:
        session.execute(insert(core(OfferPrice)), list(rows))


def latest(session: Session) -> dict[PriceKey, tuple[str, Ask]]:
    """Of every offer the day and the prices in use, by provider, region, instance type and GPU type."""
    rows = session.execute(
        select(
            Offer.provider, Offer.region, Offer.instance_type, Offer.gpu_type, Offer.price_date,
            Offer.on_demand_micros_per_gpu_hour, Offer.spot_micros_per_gpu_hour,
        )
    )  # fmt: skip
    return {(p, r, i, g): (day, Ask(on_demand, spot)) for p, r, i, g, day, on_demand, spot in rows}


def history(session: Session, offer_id: UUID) -> list[PriceView]:
    """Everything an offer has been, the newest record first."""
    query = select(*columns(OfferPrice, PriceView)).where(OfferPrice.offer_id == offer_id)
    return [PriceView(**row) for row in session.execute(query.order_by(OfferPrice.id.desc())).mappings()]


def as_of(session: Session, day: date) -> list[OfferValue]:
    """The inventory at the prices of a day: of each offer the newest price that was listed by then.

    What is held of it and its billing terms are those of now; an offer whose first price is younger is left out.
    """
    listed = OfferPrice.price_date <= day.isoformat()
    return _offers(session, listed, newest=(OfferPrice.price_date.desc(), OfferPrice.id.desc()))


def as_of_version(session: Session, wanted: int) -> list[OfferValue]:
    """The inventory as a decision saw it that names this version; what is held of it, and its terms, are as of now."""
    seen = and_(OfferPrice.inventory_version <= wanted, OfferPrice.applied)
    return _offers(session, seen, newest=(OfferPrice.inventory_version.desc(), OfferPrice.id.desc()))


def _offers(session: Session, known: ColumnElement[bool], *, newest: Sequence[ColumnElement[Any]]) -> list[OfferValue]:
    place = func.row_number().over(partition_by=OfferPrice.offer_id, order_by=newest).label("place")
    past = select(OfferPrice, place).where(known).subquery()
    now = [column for column in columns(Offer, OfferValue) if column.key not in (*_PAST, "reserved_gpus")]
    whole = func.greatest(past.c.capacity_gpus, Offer.reserved_gpus)  # nothing can be had of what is away
    taken = case((Offer.away, whole), else_=Offer.reserved_gpus).label("reserved_gpus")
    rows = session.execute(
        select(*now, taken, *(past.c[name] for name in _PAST))
        .join(past, past.c.offer_id == Offer.id)
        .where(past.c.place == 1, past.c.enabled)
        .order_by(Offer.id)
    ).mappings()
    return [offer_value(row) for row in rows]


def offer_value(row: Mapping[Any, Any]) -> OfferValue:
    """A row with an offer's columns as a value."""
    return OfferValue(**{**row, "sold_gpus": tuple(row["sold_gpus"]), "assumed": tuple(row["assumed"])})


def add_import(session: Session, **values: Any) -> UUID:
    """Write down that a list was taken in; its counts follow with `close_import`."""
    import_id = new_id()
    session.execute(insert(PriceImport).values(id=import_id, stored=0, older=0, quarantined=0, **values))
    return import_id


def close_import(session: Session, import_id: UUID, **counts: int) -> None:
    """What became of an import's lines."""
    session.execute(
        update(PriceImport)
        .where(PriceImport.id == import_id)
        .values(**counts)
        .execution_options(synchronize_session=False)
    )


def imports(session: Session, limit: int) -> list[PriceImportView]:
    """The lists that were taken in, the newest first."""
    query = select(*columns(PriceImport, PriceImportView)).order_by(PriceImport.id.desc()).limit(limit)
    return [PriceImportView(**row) for row in session.execute(query).mappings()]
