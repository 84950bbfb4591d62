"""The holdings of a simulated market are exact: the cheapest free lot, never more than there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.offers import Offer
from scheduler.replay.errors import InvalidReplay
from scheduler.replay.market import Holdings, Market
from tests.support.offers import make_offer


def cheapest_by_hand(market: Market, holdings: Holdings, terms: int) -> float:
    """Look at every offer on these terms."""
    count = market.terms[terms].gpu_count
    prices = [market.prices[offer] * count for offer in market.lots[terms] if holdings.free[offer] >= count]
    return min(prices, default=np.inf)


@st.composite
def markets(draw: st.DrawFn) -> list[Offer]:
    sellers = draw(st.integers(1, 5))
    return [
        make_offer(
            draw(st.sampled_from(["H100-SXM", "L40S"])), draw(st.sampled_from([1.0, 1.5, 2.0])), provider=f"p{seller}",
            capacity_gpus=draw(st.integers(1, 12)), billing_increment_s=draw(st.sampled_from([1, 60])),
        )
        for seller in range(sellers)
    ]  # fmt: skip


@given(markets(), st.lists(st.tuples(st.booleans(), st.integers(0, 10**6)), max_size=60))
def test_the_head_is_always_the_cheapest_free_lot(offers: list[Offer], moves: list[tuple[bool, int]]) -> None:
    market = Market(offers)
    holdings = Holdings(market)
    held: list[tuple[int, int]] = []
    for give_back, number in moves:
        if give_back and held:
            offer, count = held.pop(number % len(held))
            closed = {terms for terms in range(len(market.terms)) if not holdings.is_open(terms)}
            opened = holdings.release(offer, count)
            assert set(opened) == {terms for terms in closed if holdings.is_open(terms)}
        else:
            terms = number % len(market.terms)
            if holdings.is_open(terms):
                held.append((holdings.reserve(terms), market.terms[terms].gpu_count))
        for offer, free in enumerate(holdings.free):
            taken = sum(count for place, count in held if place == offer)
            assert 0 <= free == market.stock.offers[offer].capacity_gpus - taken
        expected = [cheapest_by_hand(market, holdings, terms) for terms in range(len(market.terms))]
        assert holdings.micros_per_hour.tolist() == expected


def test_a_lot_larger_than_its_offer_is_never_for_sale() -> None:
    market = Market([make_offer("H100-SXM", 2.0, capacity_gpus=2)])
    assert sorted(one.gpu_count for one in market.terms) == [1, 2]


def test_offers_without_a_price_on_demand_sell_nothing() -> None:
    with pytest.raises(InvalidReplay, match="no offer has a price on demand"):
        Market([make_offer("H100-SXM", None, spot_micros_per_gpu_hour=1_000_000)])


def test_giving_back_what_was_never_taken_is_noticed() -> None:
    holdings = Holdings(Market([make_offer("H100-SXM", 2.0)]))
    with pytest.raises(AssertionError, match="given back more than it has"):
        holdings.release(0, 1)


def test_a_bare_name_means_its_variants_and_nothing_else() -> None:
    market = Market([make_offer("A100-80GB-SXM", 1.0), make_offer("A100-40GB-SXM", 1.0), make_offer("A10", 1.0)])
    named = {market.terms[at].gpu_type for at in np.flatnonzero(market.of_type("A100-80GB"))}
    assert named == {"A100-80GB-SXM"}
    assert {market.terms[at].gpu_type for at in np.flatnonzero(market.of_type("A10"))} == {"A10"}
