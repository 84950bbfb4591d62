"""Dedicated against per token: worked by hand, to the cent, and what must hold for all prices."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.errors import InvalidFacts
from predictor.hardware import load_gpu_types
from scheduler.domain.spec import Constraints
from scheduler.domain.stock import inventory_of
from scheduler.economics.api_prices import COLUMNS, ApiPrice, of_model, read_api_prices
from scheduler.economics.crossover import Crossover, break_even, cross, curve, day_usd
from scheduler.economics.serving import Limits
from scheduler.economics.tokens import TokenCost, token_costs
from tests.scheduler.economics.test_tokens import work
from tests.support.offers import make_offer
from tests.support.serving import Server


def api(input_usd: str = "0.50", output_usd: str = "1.50", cached: str | None = None) -> ApiPrice:
    return ApiPrice(
        provider="acme", model_key="acme/qwen", model="Qwen/Qwen2.5-7B", input_usd=Decimal(input_usd),
        output_usd=Decimal(output_usd), cached_input_usd=None if cached is None else Decimal(cached),
        provider_hq=None, price_date="2026-11-01",
    )  # fmt: skip


def deployments(*usd: float, server: Server | None = None) -> tuple[TokenCost, ...]:
    """H100s at these prices an hour; one serves a request in 2 s of its time, in 1.6 s at best and 2.5 s at worst."""
    offers = [make_offer("H100-SXM", price, provider=f"p{place}") for place, price in enumerate(usd)]
    inventory = inventory_of(offers)
    found = token_costs(
        work(), Constraints(max_gpus=1), Limits(), inventory, load_gpu_types(), server or Server(most=8)
    )
    return found.costs


def crossed(price: ApiPrice, *usd: float, most: float = 1.0) -> Crossover:
    found = cross(deployments(*usd), price, price.request_usd(1000, 500, 0), most=most)
    assert found is not None
    return found


def test_a_request_costs_its_tokens() -> None:
    # 1,000 × $0.50 and 500 × $1.50 per million: $0.00125
    assert api().request_usd(1000, 500, 0) == Decimal("0.00125")


def test_cached_tokens_cost_their_own_price_or_the_full_one() -> None:
    assert api(cached="0.05").request_usd(1000, 500, 800) == Decimal("0.00089")
    assert api().request_usd(1000, 500, 800) == Decimal("0.00125")


def test_break_even_by_hand() -> None:
    # $1.80 an hour are $0.0005 a second: 0.4 requests a second at $0.00125 pay for it, of the 0.5 that it serves
    point = break_even(deployments(1.8)[0], Decimal("0.00125"))
    assert point.requests_per_day == pytest.approx(0.4 * 86_400)
    assert point.utilisation == pytest.approx(0.8)
    assert (point.utilisation_low, point.utilisation_high) == pytest.approx((0.64, 1.0))


def test_the_first_to_win_is_the_cheapest_of_those_that_can() -> None:
    found = crossed(api(), 1.8, 0.9)
    assert found.first is not None
    assert found.first.cost.offer.provider == "p1"
    assert found.first.requests_per_day == pytest.approx(0.2 * 86_400)


def test_it_may_say_never() -> None:
    found = crossed(api("0.05", "0.10"), 1.8)
    assert found.first is None
    assert found.careful is None
    assert found.lowest.utilisation == pytest.approx(0.0005 / 0.0001 * 2)


def test_the_slow_end_of_a_forecast_may_say_never_where_its_middle_does_not() -> None:
    found = crossed(api(), 1.8, most=0.9)
    assert found.first is not None
    assert found.hopeful is not None
    assert found.careful is None


def test_without_deployments_there_is_nothing_to_say() -> None:
    assert cross((), api(), Decimal("0.01"), most=1.0) is None


def test_the_curve_crosses_where_the_break_even_says() -> None:
    request = api().request_usd(1000, 500, 0)
    point = break_even(deployments(1.8)[0], request)
    drawn = curve(deployments(1.8), request, most=1.0, around=point.requests_per_day)
    below = [one for one in drawn if one.requests_per_day < 0.99 * point.requests_per_day]
    assert all(one.api_usd < one.dedicated_usd for one in below)
    middle = min(drawn, key=lambda one: abs(one.requests_per_day - point.requests_per_day))
    assert middle.api_usd == pytest.approx(middle.dedicated_usd)
    assert middle.dedicated_usd == pytest.approx(43.2)  # $1.80 for 24 hours


def test_copies_are_added_as_traffic_grows() -> None:
    # one serves 0.5 requests a second, 43,200 a day: four times as many need four
    drawn = curve(deployments(1.8), Decimal("0.00125"), most=1.0, around=172_800, points=3)
    assert drawn[1].dedicated_usd == pytest.approx(4 * 43.2)
    assert drawn[1].low_usd <= drawn[1].dedicated_usd <= drawn[1].high_usd


def test_a_second_copy_may_cost_more_again_until_copies_leave_no_gap() -> None:
    # at $0.00125 a request it pays from 0.4 a second on and serves 0.45 of its 0.5: until 0.8 two copies cost more,
    # from 1.2 to 1.35 three pay; 8 copies, from 3.2 to 3.6, are the first that last until the next pay
    found = crossed(api(), 1.8, most=0.9)
    assert found.first is not None
    assert found.first.requests_per_day == pytest.approx(0.4 * 86_400)
    assert found.always_requests_per_day == pytest.approx(3.2 * 86_400)
    # one that is paid for from 0.2 a second on serves up to 0.45 by itself: no gap
    assert crossed(api(), 0.9, most=0.9).always_requests_per_day == pytest.approx(0.2 * 86_400)
    assert crossed(api("0.05", "0.10"), 1.8).always_requests_per_day is None


@given(
    st.lists(st.tuples(st.floats(0.1, 8.0), st.floats(0.5, 20.0)), min_size=1, max_size=4), st.floats(0.3, 1.0),
    st.floats(1.0, 60.0),
)  # fmt: skip
def test_from_there_on_an_api_is_never_cheaper_and_just_before_it_is(
    kinds: list[tuple[float, float]], most: float, beyond: float
) -> None:
    own = [one for usd, answer_s in kinds for one in deployments(usd, server=Server(answer_s=answer_s, most=8))]
    found = cross(own, api(), api().request_usd(1000, 500, 0), most=most)
    assert found is not None
    steady = found.always_requests_per_day
    assert found.first is not None or steady is None
    if steady is not None:
        assert found.first is not None
        assert steady >= found.first.requests_per_day * (1 - 1e-9)

        def saves(traffic: float) -> float:
            usd = min(float(day_usd(one, traffic, most, "p50")) for one in own)
            return traffic * float(found.api_request_usd) - usd

        assert saves(steady * beyond) >= -1e-6 * steady * beyond
        if steady / found.first.requests_per_day < 500:
            assert saves(steady * (1 - 1e-6)) < 0


@given(st.decimals("0.01", "10", places=2), st.decimals("0.01", "10", places=2))
def test_a_dearer_api_never_raises_break_even_utilisation(one: Decimal, other: Decimal) -> None:
    cheap, dear = sorted((one, other))
    cost = deployments(1.8)[0]
    said = [break_even(cost, api(str(price), str(price)).request_usd(1000, 500, 0)) for price in (cheap, dear)]
    assert said[1].utilisation <= said[0].utilisation


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_more_cached_tokens_never_make_an_api_dearer(one: int, other: int) -> None:
    less, more = sorted((one, other))
    price = api(cached="0.05")
    assert price.request_usd(1000, 500, more) <= price.request_usd(1000, 500, less)


def test_the_list_that_ships_names_models_of_the_catalogue() -> None:
    prices, models = read_api_prices(), load_models()
    for price in prices:
        models.get(price.model)
    found = of_model(prices, models.get("meta-llama/Llama-3.1-70B-Instruct"), models)
    assert len({price.provider for price in found}) >= 5


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("acme,k,m,-1,2,,,2026-11-01,list", "line 2.*above zero"),
        ("acme,k,m,1,2,3,,2026-11-01,list", "line 2.*cached_input_usd_per_mtok"),
        ("acme,k,m,1,2,,,yesterday,list", "line 2.*not a date"),
        ("acme,k,m,1,2,,,2026-11-01,list\nacme,k,m,1,2,,,2026-11-01,list", "line 3.*repeats line 2"),
    ],
)
def test_a_bad_list_is_refused_with_its_line(tmp_path: Path, cells: str, said: str) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(",".join(COLUMNS) + "\n" + cells + "\n")
    with pytest.raises(InvalidFacts, match=said):
        read_api_prices(file)
