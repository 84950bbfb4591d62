"""Is a price believable? Against the band of its GPU type, and against the last price of the same offer.

What is not goes to quarantine with the reason and waits there for a person: a plan that believed an H100 for a cent
would send every job there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from predictor.errors import UnknownGpuType
from predictor.hardware import GpuCatalogue
from scheduler.domain.money import format_usd

BAND_FACTOR = 3
"""A price may lie this factor outside of what the shipped price list has ever seen for its GPU type."""

ON_DEMAND_JUMP, SPOT_JUMP = 5, 10
"""From one list to the next an on-demand price may change by this factor, a spot price by that. The largest change
between two lists that was seen is 1.51 (datasets/README.md)."""


class Doubt(StrEnum):
    """Why a price is not believed. They are stored."""

    BELOW_BAND = "below_band"
    ABOVE_BAND = "above_band"
    FELL = "fell"
    ROSE = "rose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """What is wrong with a price, by which factor, and in one sentence."""

    doubt: Doubt
    factor: float
    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Micro-dollars per GPU-hour, on demand and spot; None where it is not sold so."""

    on_demand: int | None
    spot: int | None


@dataclass(frozen=True, slots=True)
class Band:
    """The lowest and the highest price of a GPU type that was ever seen, micro-dollars per GPU-hour."""

    low: int
    high: int


class Bands:
    """What each GPU type has cost; a bare name and its variants know each other's prices."""

    def __init__(self, seen: Iterable[tuple[str, Ask]], gpus: GpuCatalogue) -> None:
        prices: dict[str, list[int]] = {}
        for gpu_type, ask in seen:
            for name in _variants(gpu_type, gpus):
                prices.setdefault(name, []).extend(price for price in (ask.on_demand, ask.spot) if price)
        self._gpus = gpus
        self._of = {name: Band(min(found), max(found)) for name, found in prices.items() if found}

    def of(self, gpu_type: str) -> Band | None:
        """The band of a GPU type or a bare name; that of all cards for one nobody sold yet; None without any price."""
        found = [self._of[name] for name in _variants(gpu_type, self._gpus) if name in self._of] or [*self._of.values()]
        return Band(min(band.low for band in found), max(band.high for band in found)) if found else None


def doubt(gpu_type: str, ask: Ask, last: Ask | None, bands: Bands) -> Suspicion | None:
    """What speaks against a price; a price of zero is the host's own and is believed."""
    pays = (
        ("on demand", ask.on_demand, last.on_demand if last else None, ON_DEMAND_JUMP),
        ("spot", ask.spot, last.spot if last else None, SPOT_JUMP),
    )
    band = bands.of(gpu_type)
    for how, price, before, most in pays:
        if not price:
            continue
        found = _outside(gpu_type, how, price, band) or _jumped(how, price, before, most)
        if found is not None:
            return found
    return None


def _outside(gpu_type: str, how: str, price: int, band: Band | None) -> Suspicion | None:
    if band is None:
        return None
    range_ = f"{gpu_type} has cost ${format_usd(band.low)} to ${format_usd(band.high)} per GPU-hour"
    if price * BAND_FACTOR < band.low:
        text = f"${format_usd(price)} {how} is too low to be true: {range_}"
        return Suspicion(doubt=Doubt.BELOW_BAND, factor=band.low / price, text=text)
    if price > band.high * BAND_FACTOR:
        text = f"${format_usd(price)} {how} is too high to be true: {range_}"
        return Suspicion(doubt=Doubt.ABOVE_BAND, factor=price / band.high, text=text)
    return None


def _jumped(how: str, price: int, before: int | None, most: int) -> Suspicion | None:
    if not before:
        return None
    was = f"after ${format_usd(before)} in the list before"
    if price >= before * most:
        text = f"${format_usd(price)} {how} is {price / before:.1f} times the price, {was}"
        return Suspicion(doubt=Doubt.ROSE, factor=price / before, text=text)
    if price * most <= before:
        text = f"${format_usd(price)} {how} is a {before / price:.1f}th of the price, {was}"
        return Suspicion(doubt=Doubt.FELL, factor=before / price, text=text)
    return None


def _variants(gpu_type: str, gpus: GpuCatalogue) -> tuple[str, ...]:
    try:
        return tuple(gpu.name for gpu in gpus.variants(gpu_type))
    except UnknownGpuType:
        return (gpu_type,)
