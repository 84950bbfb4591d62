"""The market of a replay: what is for sale, and who holds how much of it at a simulated moment.

Lots on the same terms differ in price and seller alone, so whatever the job, the cheapest free one of them costs
least: a choice need only look at one lot of each terms, which makes a replay of many thousand jobs possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from scheduler.domain.arrays import Flags, Floats, Ints
from scheduler.domain.offers import Offer
from scheduler.domain.stock import Inventory, stock_of
from scheduler.replay.errors import InvalidReplay

PLENTY = 10**9
"""GPUs of an offer whose capacity nobody states."""


class Terms(NamedTuple):
    """What the lots of one place in `Market.terms` have in common."""

    gpu_type: str
    """As the offers name it."""
    gpu_count: int
    provision_s: float
    billing_increment_s: int
    minimum_s: int


class Market:
    """What is for sale on demand, sorted once. Nothing in it changes."""

    def __init__(self, offers: Sequence[Offer], *, unlimited: bool = False) -> None:
        """InvalidReplay where nothing is left. `unlimited` leaves out capacity, which no price list states."""
        sold = [replace(one, reserved_gpus=0) for one in offers if one.on_demand_micros_per_gpu_hour is not None]
        if not sold:
            raise InvalidReplay("no offer has a price on demand, so there is nothing to place jobs on")
        if unlimited:
            sold = [replace(one, capacity_gpus=PLENTY) for one in sold]
        self.stock = stock = stock_of(sold)
        self.inventory = Inventory(stock=stock, reserved=np.zeros(len(stock.offers), dtype=np.int64))
        self.prices: list[int] = [offer.on_demand_micros_per_gpu_hour or 0 for offer in stock.offers]
        """Of each offer, micro-dollars per GPU-hour."""
        there = np.flatnonzero((stock.lot_hazard == 0) & (stock.lot_count <= stock.capacity[stock.lot_offer]))
        # a stock's lots are in the order of terms, then price: the cheapest of each terms stands first
        groups = np.split(there, np.flatnonzero(np.diff(stock.lot_terms[there])) + 1)
        self.terms = tuple(self._terms(int(lots[0])) for lots in groups)
        self.lots: tuple[tuple[int, ...], ...] = tuple(tuple(stock.lot_offer[lots].tolist()) for lots in groups)
        """Of each terms the offers, the cheapest first."""
        self.terms_of_lot: Ints = np.full(len(stock.lot_offer), -1)
        """For each lot of the stock its place in `terms`; -1 for one that is never to be had."""
        member: list[list[tuple[int, int]]] = [[] for _ in stock.offers]
        for place, lots in enumerate(groups):
            self.terms_of_lot[lots] = place
            for rank, offer in enumerate(self.lots[place]):
                member[offer].append((place, rank))
        self.memberships = tuple(tuple(of) for of in member)
        """For each offer the terms it sells on, and its rank among their lots."""

    def of_type(self, name: str) -> Flags:
        """Which terms are about a GPU type, or about any variant of a bare name."""
        folded = name.casefold()
        types = [one.gpu_type.casefold() for one in self.terms]
        return np.array([one == folded or one.startswith(folded + "-") for one in types], dtype=np.bool_)

    def cheapest(self, terms: Sequence[int]) -> int:
        """Which of these terms has the lowest price per hour when everything is free; the place in the list."""
        prices = [self.prices[self.lots[one][0]] * self.terms[one].gpu_count for one in terms]
        return min(range(len(prices)), key=prices.__getitem__)

    def _terms(self, lot: int) -> Terms:
        stock, offer = self.stock, self.stock.offers[self.stock.lot_offer[lot]]
        return Terms(
            offer.gpu_type, int(stock.lot_count[lot]), offer.provision_s, offer.billing_increment_s, offer.minimum_s
        )


class Holdings:
    """What of a market is free now. Only what is free can be reserved, and only what is reserved released."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._counts = [one.gpu_count for one in market.terms]
        self.free = [offer.capacity_gpus for offer in market.stock.offers]
        self._heads = [0] * len(market.terms)
        """The rank of the cheapest free lot on each terms; past the last where none is free."""
        self.micros_per_hour: Floats = np.array(
            [count * market.prices[lots[0]] for count, lots in zip(self._counts, market.lots, strict=True)],
            dtype=np.float64,
        )
        """Of the cheapest free lot on each terms, all its GPUs; infinite where none is free."""

    def is_open(self, terms: int) -> bool:
        """Whether any lot on these terms is free."""
        return self._heads[terms] < len(self._market.lots[terms])

    def is_cheapest(self, terms: int) -> bool:
        """Whether the very cheapest lot on these terms is free."""
        return self._heads[terms] == 0

    def reserve(self, terms: int) -> int:
        """Take the cheapest free lot on these terms; the place of its offer."""
        offer = self._market.lots[terms][self._heads[terms]]
        self.free[offer] -= self._counts[terms]
        if self.free[offer] < 0:
            raise AssertionError(f"offer {offer} was sold beyond its capacity")
        for other, rank in self._market.memberships[offer]:
            if rank == self._heads[other] and self.free[offer] < self._counts[other]:
                self._advance(other)
        return offer

    def release(self, offer: int, gpu_count: int) -> list[int]:
        """Give GPUs back; the terms on which nothing was free before and something is now."""
        self.free[offer] += gpu_count
        if self.free[offer] > self._market.stock.offers[offer].capacity_gpus:
            raise AssertionError(f"offer {offer} was given back more than it has")
        opened = []
        for terms, rank in self._market.memberships[offer]:
            if rank < self._heads[terms] and self.free[offer] >= self._counts[terms]:
                if not self.is_open(terms):
                    opened.append(terms)
                self._point(terms, rank)
        return opened

    def _advance(self, terms: int) -> None:
        lots, count = self._market.lots[terms], self._counts[terms]
        rank = self._heads[terms] + 1
        while rank < len(lots) and self.free[lots[rank]] < count:
            rank += 1
        self._point(terms, rank)

    def _point(self, terms: int, rank: int) -> None:
        self._heads[terms] = rank
        lots = self._market.lots[terms]
        price = self._market.prices[lots[rank]] * self._counts[terms] if rank < len(lots) else np.inf
        self.micros_per_hour[terms] = price
