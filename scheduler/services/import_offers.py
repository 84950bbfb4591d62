"""Import a price list into the inventory, and put single offers in by hand."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from uuid import UUID

import structlog

from predictor.facts import datasets_dir
from predictor.hardware import GpuCatalogue, load_gpu_types
from scheduler.domain.catalogues import Given, PriceList, read_price_list
from scheduler.domain.habits import read_habits
from scheduler.domain.offers import Offer
from scheduler.domain.price_checks import Ask, Bands, Suspicion, doubt
from scheduler.domain.price_file import read_lines
from scheduler.domain.price_line import PriceKey, PriceLine, latest_day, offer_of
from scheduler.exports.names import Engine as RentalEngine
from scheduler.exports.names import nameable, sellers
from scheduler.services.seed import PRICES, SIMULATED
from scheduler.storage import offers, prices, quarantine
from scheduler.storage.engine import Engine, Session, reading, transaction
from scheduler.storage.ids import new_id

log = structlog.get_logger(__name__)

DSTACK = "dstack"
"""The backend that rents what it is told to, where its engine sells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a price list."""

    import_id: UUID
    format: str
    stored: int
    """Offers that were added or took the price."""
    older: int
    """Prices older than the one in use: remembered, not put to use."""
    quarantined: int
    """Prices that nobody should believe: held until a person releases or drops them."""
    skipped: Mapping[str, int]
    """Lines that are no offer of ours, by reason."""


def import_price_file(
    engine: Engine,
    path: Path,
    *,
    now: datetime,
    backend: str | None = None,
    provider: str | None = None,
    price_date: date | None = None,
) -> Imported:
    """Store the offers of a price list, all or none; InvalidOffer names the first line that cannot be read.

    An offer that is known already takes the new price; what is held of it stays held. `provider` and `price_date`
    are for catalogues that do not say them. `backend` is what runs the jobs that are placed there; without it an offer
    keeps the one that it has, and a new one is simulated.
    """
    gpus, habits = load_gpu_types(), read_habits()
    shipped = _shipped()
    places = {(line.provider, line.region): (line.country, line.jurisdiction) for line in shipped}
    given = Given(provider=provider, price_date=price_date, places=places, latest=latest_day(now))
    price_list = read_price_list(path, gpus, given)
    if backend == DSTACK:
        price_list = _rentable(price_list, gpus)
    bands = Bands(((line.gpu_type, Ask(line.on_demand_micros, line.spot_micros)) for line in shipped), gpus)
    with transaction(engine) as session:
        runs_on = {} if backend is not None else offers.backends(session)
        made = [
            offer_of(line, habits, backend=backend or runs_on.get(line.key, SIMULATED), offer_id=new_id())
            for line in price_list.lines
        ]
        return _store(session, price_list, made, bands, hashlib.sha256(path.read_bytes()).hexdigest())


def _rentable(price_list: PriceList, gpus: GpuCatalogue) -> PriceList:
    """What of a price list dstack can rent; the rest is counted by reason."""
    known, cards = sellers(RentalEngine.DSTACK), nameable(RentalEngine.DSTACK)
    kept, skipped = [], Counter(price_list.skipped)
    for line in price_list.lines:
        if line.provider not in known:
            skipped[f"dstack rents nothing from {line.provider}"] += 1
        elif gpus.variants(line.gpu_type)[0].name not in cards:
            skipped[f"what dstack calls {line.gpu_type} is not known"] += 1
        else:
            kept.append(line)
    return replace(price_list, lines=tuple(kept), skipped=dict(skipped))


def _store(session: Session, price_list: PriceList, made: Sequence[Offer], bands: Bands, sha256: str) -> Imported:
    last = prices.latest(session)
    doubts = [_doubt(line, last, bands) for line in price_list.lines]
    days = [line.price_date for line in price_list.lines]
    import_id = prices.add_import(
        session, format=price_list.format, sha256=sha256, lines=len(made), skipped=dict(price_list.skipped),
        oldest_price_date=min(days, default=None), newest_price_date=max(days, default=None),
    )  # fmt: skip
    believed = [offer for offer, suspicion in zip(made, doubts, strict=True) if suspicion is None]
    stored = offers.renew(session, believed, import_id=import_id)
    for offer, suspicion in zip(made, doubts, strict=True):
        if suspicion is not None:
            quarantine.hold(session, offer, suspicion, import_id=import_id)
    counts = {"stored": stored, "older": len(believed) - stored, "quarantined": len(made) - len(believed)}
    prices.close_import(session, import_id, **counts)
    log.info("imported prices", import_id=str(import_id), format=price_list.format, **counts)
    return Imported(import_id=import_id, format=price_list.format, skipped=price_list.skipped, **counts)


def _doubt(line: PriceLine, last: Mapping[PriceKey, tuple[str, Ask]], bands: Bands) -> Suspicion | None:
    day, before = last.get(line.key, ("", None))
    # the day before a price rose tenfold it was a tenth: a list of the past is measured by the band alone
    return doubt(
        line.gpu_type, Ask(line.on_demand_micros, line.spot_micros), before if line.price_date >= day else None, bands
    )


@cache
def _shipped() -> tuple[PriceLine, ...]:
    """The list that ships with Pythia: what cards have cost, and where regions lie."""
    return tuple(read_lines(datasets_dir() / PRICES, load_gpu_types()))


def put_offers(engine: Engine, given: Sequence[Offer]) -> int:
    """Store offers that somebody vouches for; one of the same provider, region, instance and GPU type is replaced."""
    with transaction(engine) as session:
        return offers.upsert(session, given)


def list_offers(engine: Engine) -> list[Offer]:
    """The inventory as it is now."""
    with reading(engine) as session:
        return offers.enabled(session)
