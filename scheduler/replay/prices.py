"""The offers that a replay buys from: the shipped price list, its rows up to a day, or a list of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count
from pathlib import Path
from uuid import UUID

from predictor.facts import datasets_dir
from predictor.hardware import GpuCatalogue
from scheduler.domain.offers import Offer
from scheduler.domain.price_file import read_habits, read_prices
from scheduler.replay.errors import InvalidReplay

SHIPPED = "prices_2026_08.csv"
REPLACED = "prices_2026_05.csv"
"""What sellers asked in May whose lists of August stand in the other file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Offers, and what they are."""

    offers: Sequence[Offer]
    says: str


def find_prices(asked: str | None, gpus: GpuCatalogue) -> Prices:
    """The offers of a day such as 2026-05-31 or of a file; without either all that ship."""
    day = _day(asked)
    path = Path(asked) if asked is not None and day is None else datasets_dir() / SHIPPED
    if not path.is_file():
        raise InvalidReplay(f"--prices {asked} is neither a day such as 2026-05-31 nor a price list")
    offers = _read(path, gpus, first_id=1)
    if day is not None:
        offers = _known_on(day, offers, _read(datasets_dir() / REPLACED, gpus, first_id=len(offers) + 1))
    sold = [one for one in offers if one.on_demand_micros_per_gpu_hour is not None]
    if not sold:
        raise InvalidReplay(f"{path.name} holds no price on demand" + (f" of {day} or before" if day else ""))
    dates = sorted(one.price_date for one in sold)
    upto = f" of {day} or before" if day else ""
    return Prices(
        offers=offers, says=f"{len(sold):,} offers on demand in {path.name}{upto}, dated {dates[0]} to {dates[-1]}"
    )


def _read(path: Path, gpus: GpuCatalogue, *, first_id: int) -> list[Offer]:
    numbers = count(first_id)
    return read_prices(path, read_habits(), gpus, backend="simulated", new_id=lambda: UUID(int=next(numbers)))


def _known_on(day: date, offers: Sequence[Offer], replaced: Sequence[Offer]) -> list[Offer]:
    """The offers of lists up to a day, and those that their seller had not yet replaced by a newer list."""
    newest = {one.provider: one.price_date for one in sorted(offers, key=lambda one: one.price_date)}
    known = [one for one in offers if one.price_date <= day.isoformat()]
    return known + [one for one in replaced if one.price_date <= day.isoformat() < newest.get(one.provider, "")]


def _day(asked: str | None) -> date | None:
    try:
        return None if asked is None else date.fromisoformat(asked)
    except ValueError:
        return None
