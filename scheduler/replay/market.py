"""The inventory of a replay: what is for sale, and who holds how much of it at a simulated moment.

Thousands of lots (some GPUs of one offer) differ in little but their price. Lots of the same GPU type and count that
are provisioned and billed alike form a family: whatever the job, the cheapest free lot of a family costs least, so a
choice need only look at one lot of each family. That is exact, not a heuristic: a bill grows with the price.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.offers import Offer
from scheduler.replay.errors import InvalidReplay

Floats = NDArray[np.float64]


class Family(NamedTuple):
    """What the lots of a family have in common."""

    gpu_type: str
    """As the offers name it."""
    gpu_count: int
    node_gpus: int
    """Of each machine where the lot spans several; 0 where it is part of one."""
    interconnect_gbps: float | None
    billing_increment_s: int
    minimum_s: int
    provision_s: float


class Market:
    """What is for sale on demand, sorted once. Nothing in it changes."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        """InvalidReplay where nothing is left: an offer without a price on demand sells nothing here."""
        sold = [offer for offer in offers if offer.on_demand_micros_per_gpu_hour is not None]
        if not sold:
            raise InvalidReplay("no offer has a price on demand, so there is nothing to place jobs on")
        # the order in which a decision breaks ties, so that an offer's place is its rank among equals
        self.offers = tuple(sorted(sold, key=lambda o: (o.provider, o.region, o.instance_type, o.id)))
        self.prices = tuple(offer.on_demand_micros_per_gpu_hour or 0 for offer in self.offers)
        places: dict[Family, list[int]] = {}
        for place, offer in enumerate(self.offers):
            for count in offer.counts():
                if count <= offer.capacity_gpus:
                    places.setdefault(family_of(offer, count), []).append(place)
        self.families = tuple(places)
        self.lots = tuple(tuple(sorted(lots, key=lambda p: (self.prices[p], p))) for lots in places.values())
        """Places of the offers of each family, the cheapest first."""
        self._family_at = {family: at for at, family in enumerate(self.families)}
        member: list[list[tuple[int, int]]] = [[] for _ in self.offers]
        for at, lots in enumerate(self.lots):
            for rank, place in enumerate(lots):
                member[place].append((at, rank))
        self.memberships = tuple(tuple(of) for of in member)
        """For each offer its families, and its rank among their lots."""

    def family_at(self, offer: Offer, gpu_count: int) -> int | None:
        """Where the family of a lot stands; None for a lot that is never to be had."""
        return self._family_at.get(family_of(offer, gpu_count))


def family_of(offer: Offer, gpu_count: int) -> Family:
    """What an offer's lot of so many GPUs has in common with others."""
    spans = gpu_count > offer.node_gpus
    return Family(
        offer.gpu_type, gpu_count, offer.node_gpus if spans else 0, offer.interconnect_gbps if spans else None,
        offer.billing_increment_s, offer.minimum_s, offer.provision_s,
    )  # fmt: skip


class Stock:
    """What of a market is free now. Only what is free can be reserved, and only what is reserved released."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._counts = [family.gpu_count for family in market.families]
        self.free = [offer.capacity_gpus for offer in market.offers]
        self._heads = [0] * len(market.families)
        """The rank of the cheapest lot that is free, in each family; past the last where none is."""
        self.micros_per_hour: Floats = np.array(
            [count * market.prices[lots[0]] for count, lots in zip(self._counts, market.lots, strict=True)],
            dtype=np.float64,
        )
        """Of the cheapest free lot of each family, all its GPUs; infinite where none is free."""

    def head(self, family: int) -> int:
        """The offer of the cheapest free lot."""
        return self._market.lots[family][self._heads[family]]

    def is_open(self, family: int) -> bool:
        """Whether any lot of the family is free."""
        return self._heads[family] < len(self._market.lots[family])

    def reserve(self, family: int) -> int:
        """Take the cheapest free lot; the place of its offer."""
        place = self.head(family)
        self.free[place] -= self._counts[family]
        if self.free[place] < 0:
            raise AssertionError(f"offer {place} was sold beyond its capacity")
        for other, rank in self._market.memberships[place]:
            if rank == self._heads[other] and self.free[place] < self._counts[other]:
                self._advance(other)
        return place

    def release(self, place: int, gpu_count: int) -> list[int]:
        """Give GPUs back; the families that had nothing free before and have now."""
        self.free[place] += gpu_count
        if self.free[place] > self._market.offers[place].capacity_gpus:
            raise AssertionError(f"offer {place} was given back more than it has")
        opened = []
        for family, rank in self._market.memberships[place]:
            if rank < self._heads[family] and self.free[place] >= self._counts[family]:
                if not self.is_open(family):
                    opened.append(family)
                self._point(family, rank)
        return opened

    def _advance(self, family: int) -> None:
        lots, count = self._market.lots[family], self._counts[family]
        rank = self._heads[family] + 1
        while rank < len(lots) and self.free[lots[rank]] < count:
            rank += 1
        self._point(family, rank)

    def _point(self, family: int, rank: int) -> None:
        self._heads[family] = rank
        lots = self._market.lots[family]
        price = self._market.prices[lots[rank]] * self._counts[family] if rank < len(lots) else np.inf
        self.micros_per_hour[family] = price
