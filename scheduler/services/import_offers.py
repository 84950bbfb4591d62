"""Import a price list into the inventory, and change single offers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from predictor.hardware import load_gpu_types
from scheduler.domain.offers import Offer
from scheduler.domain.price_file import read_habits, read_prices
from scheduler.services.seed import SIMULATED
from scheduler.storage import offers
from scheduler.storage.engine import Engine, reading, transaction
from scheduler.storage.ids import new_id


def import_price_file(engine: Engine, path: Path, *, backend: str = SIMULATED) -> int:
    """Store the offers of a price list, all or none; how many. InvalidOffer names the first line that cannot be true.

    An offer that is known already takes the new price; what is held of it stays held.
    """
    priced = read_prices(path, read_habits(), load_gpu_types(), backend=backend, new_id=new_id)
    with transaction(engine) as session:
        return offers.upsert(session, priced)


def put_offers(engine: Engine, given: Sequence[Offer]) -> int:
    """Store offers; one of the same provider, region, instance and GPU type is replaced."""
    with transaction(engine) as session:
        return offers.upsert(session, given)


def list_offers(engine: Engine) -> list[Offer]:
    """The inventory as it is now."""
    with reading(engine) as session:
        return offers.enabled(session)
