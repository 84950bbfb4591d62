"""Which lots can win at all: of those that differ in price and seller alone, the cheapest.

Lots on the same terms take the same time for every layout, and every bill rises with the price per hour. So a lot is
beaten, whatever the forecast, by one on the same terms with as much free that is cheaper by more than the rounding of a
bill, or no dearer and first in the order that breaks ties.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scheduler.domain.arrays import Flags, Ints
from scheduler.domain.stock import Stock

ROUNDING_MICROS = 10_000
"""A cent per GPU-hour: at least two micro-dollars for the one second that the shortest use is billed, and a bill is
rounded by half of one."""

MOST_SHORT = 2**32 - 1
"""GPUs that a lot can lack, as far as lots are told apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Survivors:
    """The lots that can win."""

    at: Ints
    """Among the lots that were asked about."""
    stands_for: Ints
    """Itself and those that it beats, which share its reasons."""


def all_of(places: Ints) -> Survivors:
    """Every lot for itself."""
    return Survivors(np.arange(len(places)), np.ones(len(places), dtype=np.int64))


def undercut(stock: Stock, places: Ints, short: Ints, ever: Flags, alone: Flags | None = None) -> Survivors:
    """Drop the lots that another of the same terms beats. `places` ascend.

    `short` says how many GPUs a lot lacks now and `ever` whether its offer has that many at all: what lacks more than
    another, or for good, is never beaten by it nor beats it, so that a wait is told from a refusal. Nor does a lot in
    `alone`, whose offer this job may use differently from others.
    """
    if not len(places):
        return all_of(places)
    alike = stock.lot_terms[places] << 33 | np.clip(short, 0, MOST_SHORT) << 1 | ever
    if alone is not None:
        alike[alone] = -1 - np.flatnonzero(alone)
    order = np.argsort(alike, kind="stable")  # lots of the same terms stay in the order of price, then of seller
    first = np.diff(alike[order], prepend=alike[order[0]] - 1) != 0
    run = np.cumsum(first) - 1
    leader = order[first][run]
    price, seller = stock.lot_price[places], stock.lot_offer[places]
    near_tie = (price[order] < price[leader] + ROUNDING_MICROS) & (seller[order] < seller[leader])
    kept = first | near_tie
    many = np.bincount(run)[run] - np.bincount(run, weights=near_tie).astype(np.int64)[run]
    return Survivors(order[kept], np.where(first, many, 1)[kept])
