"""Prices through time, and those in quarantine."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

import structlog

from scheduler.domain.errors import NotFound
from scheduler.domain.offers import Offer
from scheduler.domain.price_line import latest_day
from scheduler.storage import offers, prices, quarantine
from scheduler.storage.engine import Engine, reading, transaction
from scheduler.storage.views import PriceImportView, PriceView, QuarantineView

log = structlog.get_logger(__name__)


def inventory_of(engine: Engine, day: date) -> list[Offer]:
    """What was on offer at the prices of a day, for making a decision again; what is held is as of now."""
    with reading(engine) as session:
        return prices.as_of(session, day)


def inventory_version(engine: Engine, version: int) -> list[Offer]:
    """What was on offer in a version of the inventory, as a decision names it; what is held is as of now. Nothing in
    one that has not been."""
    with reading(engine) as session:
        return prices.as_of_version(session, version) if version <= prices.version(session) else []


def prices_known(engine: Engine, wanted: date | int, *, now: datetime) -> list[Offer]:
    """The inventory at the prices of a day or of a version; NotFound where no prices of it are known."""
    if isinstance(wanted, date):
        if wanted > latest_day(now):
            raise NotFound("prices of", f"{wanted} yet")
        known = inventory_of(engine, wanted)
        missing = f"{wanted} or before"
    else:
        known = inventory_version(engine, wanted)
        missing = f"version {wanted} of the inventory"
    if not known:
        raise NotFound("prices of", missing)
    return known


def price_history(engine: Engine, offer_id: UUID) -> list[PriceView]:
    """Everything an offer has been, the newest record first; NotFound for no such offer."""
    with reading(engine) as session:
        offers.get(session, offer_id)
        return prices.history(session, offer_id)


def list_imports(engine: Engine, *, limit: int = 100) -> list[PriceImportView]:
    """The price lists that were taken in, the newest first."""
    with reading(engine) as session:
        return prices.imports(session, limit)


def list_quarantine(engine: Engine, *, after: UUID | None = None, limit: int = 100) -> list[QuarantineView]:
    """Prices that wait for a person to believe them or not."""
    with reading(engine) as session:
        return quarantine.held(session, after=after, limit=limit)


def release_price(engine: Engine, quarantine_id: UUID, *, now: datetime) -> tuple[QuarantineView, bool]:
    """Believe a price after all, and whether its offer takes it: not where a newer one is in use by now. NotFound where
    it is not held any more."""
    with transaction(engine) as session:
        released = quarantine.decide(session, quarantine_id, "released", now=now)
        applied = bool(offers.renew(session, [released.offer], import_id=released.import_id))
    log.info("released a price", quarantine_id=str(quarantine_id), reason=released.reason, applied=applied)
    return released, applied


def drop_price(engine: Engine, quarantine_id: UUID, *, now: datetime) -> QuarantineView:
    """Never use a held price. NotFound where it is not held any more."""
    with transaction(engine) as session:
        dropped = quarantine.decide(session, quarantine_id, "dropped", now=now)
    log.info("dropped a price", quarantine_id=str(quarantine_id), reason=dropped.reason)
    return dropped
