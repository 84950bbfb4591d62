"""The inventory as columns, made once and used by every plan until an offer changes.

An offer is sold in several GPU counts (sales) and each sale on demand, interruptible or both (lots). Everything about
them that no job changes stands here; how much of an offer is held changes with every job and stands apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from predictor.hardware import CPU
from scheduler.domain.arrays import Floats, Ints
from scheduler.domain.offers import Offer
from scheduler.domain.sharing import Card
from scheduler.domain.spot import Hazards, load_hazards

USUAL_NODE = 8


class Kind(NamedTuple):
    """What a decision lists once: a GPU type as offers name it, and a count."""

    gpu_type: str
    gpu_count: int


class Group(NamedTuple):
    """Lots whose forecasts are the same, whoever sells them."""

    gpu_type: str
    gpu_count: int
    node_gpus: int
    interconnect_gbps: float | None


class Lot(NamedTuple):
    """Some GPUs of one offer at one price."""

    offer: Offer
    gpu_count: int
    spot: bool
    micros_per_gpu_hour: int


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A property of offers: its distinct values, and which of them each offer has."""

    values: tuple[Any, ...]
    code: Ints


FACTORS: Mapping[str, Callable[[Offer], Any]] = {
    "provider": lambda offer: offer.provider,
    "region": lambda offer: offer.region,
    "gpu_type": lambda offer: offer.gpu_type,
    "place": lambda offer: (offer.country, offer.jurisdiction),
    "seat": lambda offer: offer.provider_hq,
    "tenancy": lambda offer: offer.tenancy,
    "backend": lambda offer: offer.backend,
    "counts": lambda offer: offer.counts(),
    "sold_as": lambda offer: (
        offer.on_demand_micros_per_gpu_hour is not None,
        offer.spot_micros_per_gpu_hour is not None,
    ),
}
"""What constraints look at, each by itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stock:
    """Offers, sales and lots. Places of offers ascend by provider, region, instance type and GPU type, what has no GPU
    before what has one: they break ties."""

    offers: tuple[Offer, ...]
    place_of: Mapping[UUID, int]
    """Where each offer stands."""
    factors: Mapping[str, Factor]
    capacity: Ints
    provision_s: Floats
    billing_increment_s: Ints
    minimum_s: Ints
    egress: Ints
    """Micro-dollars per GiB that leaves; 0 where nothing is charged or nobody says."""
    price_date: Factor

    kinds: tuple[Kind, ...]
    sale_offer: Ints
    """Sales are in the order of their lowest price, then of their offer."""
    sale_kind: Ints

    groups: tuple[Group, ...]
    lot_offer: Ints
    """Lots are in the order of terms, price, offer."""
    lot_count: Ints
    lot_kind: Ints
    lot_group: Ints
    lot_price: Ints
    """Micro-dollars per GPU-hour."""
    lot_hazard: Floats
    """Interruptions of any of its machines per hour; 0 on demand."""
    lot_terms: Ints
    """Lots with the same number differ in their price and seller alone: same group, delays, billing, egress and
    hazard."""

    def lot(self, place: int) -> Lot:
        """A lot as a value."""
        return Lot(
            offer=self.offers[self.lot_offer[place]],
            gpu_count=int(self.lot_count[place]),
            spot=bool(self.lot_hazard[place] > 0),
            micros_per_gpu_hour=int(self.lot_price[place]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """A machine of an offer that is there already and idle."""

    gpus: int
    """What it has; a placement on as many GPUs of the offer starts on it, no other does."""
    ready_s: float = 0.0
    """Seconds until it can take work."""
    paid_s: int = 0
    """Seconds from now that are paid for whether they are used or not: the rest of a minimum or an increment."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inventory:
    """The stock, and what is held of each offer now."""

    stock: Stock
    reserved: Ints
    warm: Mapping[UUID, Warm] = field(default_factory=dict)
    """By offer; those without have none."""
    shares: bool = False
    """Whether the tenant lets its jobs share cards."""
    cards: tuple[Card, ...] = ()
    """Those of the tenant's that have a seat left."""

    def less(self, offer_id: UUID, gpus: int) -> Inventory:
        """The same with some more GPUs of one offer held, and its warm machine gone."""
        reserved = self.reserved.copy()
        reserved[self.stock.place_of[offer_id]] += gpus
        # whoever took them took the warm machine first
        return replace(self, reserved=reserved, warm={key: one for key, one in self.warm.items() if key != offer_id})

    def free(self, taken: Set[UUID] = frozenset()) -> Ints:
        """Free GPUs of each offer; none of those in `taken`. Capacity may be lower than what is held."""
        free: Ints = np.maximum(0, self.stock.capacity - self.reserved)
        if taken:
            free[[offer.id in taken for offer in self.stock.offers]] = 0
        return free


def inventory_of(offers: Iterable[Offer], hazards: Hazards | None = None) -> Inventory:
    """Offers as they stand, with what they say is held of them."""
    stock = stock_of(offers, hazards)
    return Inventory(stock=stock, reserved=np.array([o.reserved_gpus for o in stock.offers], dtype=np.int64))


def _place(offer: Offer) -> tuple[str, str, str, bool, str, UUID]:
    """The key by which an inventory knows an offer, so that ties are broken alike in every installation. Of a host's
    processors and its cards, at no price both, a job that can do without takes no card from one that cannot."""
    return offer.provider, offer.region, offer.instance_type, offer.gpu_type != CPU, offer.gpu_type, offer.id


def stock_of(offers: Iterable[Offer], hazards: Hazards | None = None) -> Stock:
    """Turn offers into columns; hazards are those published unless others are given."""
    known = hazards or load_hazards()
    ordered = tuple(sorted(offers, key=_place))
    kinds: dict[Kind, int] = {}
    groups: dict[Group, int] = {}
    terms: dict[tuple[object, ...], int] = {}
    sales: list[tuple[int, int, int]] = []
    lots: list[tuple[int, int, int, int, int, int, float]] = []
    for place, offer in enumerate(ordered):
        prices = _prices(offer, known)
        for count in offer.counts():
            kind = kinds.setdefault(Kind(offer.gpu_type, count), len(kinds))
            group = groups.setdefault(_group(offer, count), len(groups))
            sales.append((_shown_price(offer), place, kind))
            machines = -(-count // offer.node_gpus)
            for price, per_hour in prices:
                same = (
                    group, offer.provision_s, offer.billing_increment_s, offer.minimum_s,
                    offer.egress_micros_per_gib or 0, machines * per_hour,
                )  # fmt: skip
                at = terms.setdefault(same, len(terms))
                lots.append((at, price, place, count, kind, group, machines * per_hour))
    lots.sort(key=lambda lot: lot[:4])
    sales.sort()
    columns = list(zip(*lots, strict=True)) or [()] * 7
    sold = list(zip(*sales, strict=True)) or [()] * 3
    return Stock(
        offers=ordered,
        place_of={offer.id: place for place, offer in enumerate(ordered)},
        factors={name: _factor(ordered, read) for name, read in FACTORS.items()},
        capacity=_ints(offer.capacity_gpus for offer in ordered),
        provision_s=np.array([offer.provision_s for offer in ordered], dtype=np.float64),
        billing_increment_s=_ints(offer.billing_increment_s for offer in ordered),
        minimum_s=_ints(offer.minimum_s for offer in ordered),
        egress=_ints(offer.egress_micros_per_gib or 0 for offer in ordered),
        price_date=_factor(ordered, lambda offer: offer.price_date),
        kinds=tuple(kinds),
        sale_offer=_ints(sold[1]),
        sale_kind=_ints(sold[2]),
        groups=tuple(groups),
        lot_terms=_ints(columns[0]),
        lot_price=_ints(columns[1]),
        lot_offer=_ints(columns[2]),
        lot_count=_ints(columns[3]),
        lot_kind=_ints(columns[4]),
        lot_group=_ints(columns[5]),
        lot_hazard=np.array(columns[6], dtype=np.float64),
    )


def _prices(offer: Offer, hazards: Hazards) -> list[tuple[int, float]]:
    prices = []
    if offer.on_demand_micros_per_gpu_hour is not None:
        prices.append((offer.on_demand_micros_per_gpu_hour, 0.0))
    if offer.spot_micros_per_gpu_hour is not None:
        prices.append((offer.spot_micros_per_gpu_hour, hazards.of(offer).per_hour))
    return prices


def _shown_price(offer: Offer) -> int:
    """What an offer that is ruled out is listed with."""
    price = offer.on_demand_micros_per_gpu_hour
    return (offer.spot_micros_per_gpu_hour or 0) if price is None else price


def _group(offer: Offer, count: int) -> Group:
    if count > offer.node_gpus:
        return Group(offer.gpu_type, count, offer.node_gpus, offer.interconnect_gbps)
    # one machine: its size and its network make no difference
    return Group(offer.gpu_type, count, max(USUAL_NODE, count), None)


def _factor(offers: Sequence[Offer], read: Callable[[Offer], Any]) -> Factor:
    places: dict[Any, int] = {}
    code = _ints(places.setdefault(read(offer), len(places)) for offer in offers)
    return Factor(tuple(places), code)


def _ints(values: Iterable[int]) -> Ints:
    return np.array(list(values), dtype=np.int64)
