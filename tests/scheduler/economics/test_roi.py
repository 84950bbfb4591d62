"""Owning, renting and paying per use, to the cent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.errors import UnknownGpuType
from predictor.model import Predictor
from scheduler.domain.errors import InvalidSpec
from scheduler.economics.roi import Means, Triangle, Way, WayCost, compare_ways
from scheduler.economics.roi_spec import parse_roi_spec
from scheduler.services.knowledge import know
from scheduler.services.roi import weigh_ways_on
from tests.support.offers import make_offer


def sure(value: float) -> Triangle:
    return Triangle(low=value, mid=value, high=value)


MEANS = Means(
    gpus=10, months=12, discount_rate=0.0, max_utilisation=0.8, watts_per_gpu=1000.0, idle_share=0.5, pue=1.2,
    capital_usd_per_gpu=20_000.0, hosting_usd_per_kw_month=100.0, staff_usd_per_month=2000.0, on_demand_usd=4.0,
    reserved_usd=2.0, serverless_usd=6.0, api_usd=5.0, utilisation=sure(0.5), growth=sure(0.0), price_fall=sure(0.0),
    usd_per_kwh=sure(0.1), value_kept=sure(0.6),
)  # fmt: skip


def ways(draws: int = 50, **changes: Any) -> dict[Way, WayCost]:
    return {one.way: one for one in compare_ways(replace(MEANS, **changes), draws=draws)}


def cents(usd: float) -> float:
    return round(usd, 2)


def test_a_year_worked_by_hand() -> None:
    found = ways()
    # 10 GPUs × 730 h × 0.5 are 3,650 busy hours a month
    assert cents(found[Way.ON_DEMAND].usd) == 12 * 3650 / 0.8 * 4
    assert cents(found[Way.SERVERLESS].usd) == 12 * 3650 * 6
    assert cents(found[Way.API].usd) == 12 * 3650 * 5
    assert cents(found[Way.RESERVED].usd) == 12 * 7300 * 2
    # 10 kW at 50 % idle and half busy are 7.5 kW, 730 h, PUE 1.2, $0.10: $657 a month
    assert {name: cents(usd) for name, usd in found[Way.BUY].parts.items()} == {
        "capital": 200_000.00, "power": 12 * 657.00, "hosting": 12 * 1000.00, "staff": 12 * 2000.00, "overflow": 0.00,
        "resale": -120_000.00,
    }  # fmt: skip
    assert cents(found[Way.BUY].usd) == 123_884.00
    assert cents(found[Way.BUY].saves_usd) == 219_000 - 123_884
    assert next(iter(found)) is Way.BUY


def test_later_dollars_count_less() -> None:
    # a tenth a year: the month m is worth 1.1^(−m/12) of itself
    worth = sum(1.1 ** (-m / 12) for m in range(1, 13))
    found = ways(discount_rate=0.1)
    assert cents(found[Way.ON_DEMAND].usd) == cents(18_250 * worth)
    assert cents(found[Way.BUY].parts["resale"]) == cents(-120_000 / 1.1)
    assert found[Way.BUY].parts["capital"] == 200_000


def test_demand_that_outgrows_a_fleet_is_rented_at_prices_that_fall() -> None:
    found = ways(months=24, utilisation=sure(0.8), growth=sure(0.5), price_fall=sure(0.2))
    hours = [7300 * 0.8 * (1.5 ** (m / 12) - 1) for m in range(24)]
    rented = sum(h / 0.8 * 4 * 0.8 ** (m / 12) for m, h in enumerate(hours))
    assert cents(found[Way.BUY].parts["overflow"]) == cents(rented)
    assert cents(found[Way.RESERVED].parts["overflow"]) == cents(rented)
    # a full fleet is 80 % busy: 9 kW of 10
    assert cents(found[Way.BUY].parts["power"]) == cents(24 * 9 * 730 * 1.2 * 0.1)


def test_owning_is_paid_back_when_it_has_cost_no_more() -> None:
    # $200,000 and $3,657 a month against $18,250: 200,000 / 14,593 is 13.7 months
    found = ways(months=24)
    payback = found[Way.ON_DEMAND].payback
    assert payback is not None
    assert (payback.months, payback.probability) == (14, 1.0)
    never = ways(months=13)[Way.ON_DEMAND].payback
    assert never is not None
    assert (never.months, never.probability, never.drawn) == (None, 0.0, None)
    assert found[Way.BUY].payback is None


def test_a_way_without_a_price_is_left_out() -> None:
    found = ways(capital_usd_per_gpu=None, serverless_usd=None, api_usd=None)
    assert set(found) == {Way.ON_DEMAND, Way.RESERVED}
    assert found[Way.RESERVED].payback is None


def test_without_doubt_every_draw_is_the_same() -> None:
    found = ways()[Way.BUY]
    assert found.drawn.p10 == pytest.approx(found.usd) == pytest.approx(found.drawn.p90)
    assert found.cheapest_probability == 1.0


def test_draws_follow_the_triangle() -> None:
    # dollars on demand are proportional to use; the quantiles of the triangle 0.2, 0.4, 0.7 by its closed form:
    # the median is 0.7 − √(0.5 × 0.5 × 0.3) = 0.4261; at 10,000 draws its standard error is under 1 %
    found = ways(draws=10_000, utilisation=Triangle(low=0.2, mid=0.4, high=0.7))[Way.ON_DEMAND]
    assert found.drawn.p50 == pytest.approx(12 * 7300 / 0.8 * 4 * (0.7 - np.sqrt(0.075)), rel=0.02)
    assert found.drawn.p10 == pytest.approx(12 * 7300 / 0.8 * 4 * (0.2 + np.sqrt(0.1 * 0.5 * 0.2)), rel=0.03)


def test_equal_questions_get_equal_answers() -> None:
    doubtful = Triangle(low=0.2, mid=0.4, high=0.7)
    assert ways(utilisation=doubtful) == ways(utilisation=doubtful)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 2), st.floats(0.01, 1), st.floats(-0.5, 1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_parts_add_up_and_dearer_power_never_helps_owning(
    utilisation: float, most: float, growth: float, fall: float, rate: float
) -> None:
    asked: dict[str, Any] = {
        "utilisation": sure(utilisation), "max_utilisation": most, "growth": sure(growth), "price_fall": sure(fall),
        "discount_rate": rate, "draws": 5,
    }  # fmt: skip
    found = ways(**asked)
    for one in found.values():
        assert sum(one.parts.values()) == pytest.approx(one.usd)
        assert len(one.cumulative_usd) == MEANS.months + 1
        assert one.cumulative_usd[-1] == one.usd
    assert sum(one.cheapest_probability for one in found.values()) == pytest.approx(1.0)
    assert ways(**asked, usd_per_kwh=sure(0.2))[Way.BUY].usd >= found[Way.BUY].usd


WORK = {"model": "meta-llama/Llama-3.1-8B", "precision": "fp8", "input_length": 1000, "output_length": 200}
ASKED = {"gpu_type": "H100-SXM", "gpus": 8, "reserved_usd_per_gpu_hour": 2.0}


def test_the_cheapest_offer_and_the_card_s_power_stand_in_for_what_was_not_given() -> None:
    offers = [make_offer("H100-SXM", 3.0), make_offer("H100-SXM", 2.5, region="x"), make_offer("L40S", 1.0)]
    report = weigh_ways_on(offers, know(Predictor(None)), parse_roi_spec(ASKED))
    assert report.means.on_demand_usd == 2.5
    assert report.means.watts_per_gpu == pytest.approx(10_200 / 8)
    said = " ".join(report.spec.assumed(report.means))
    assert "2.5 (the cheapest offer)" in said
    assert "reserved" not in said


def test_a_card_that_nobody_sells_needs_a_price() -> None:
    with pytest.raises(InvalidSpec, match="no offer sells H100-SXM on demand"):
        weigh_ways_on([], know(Predictor(None)), parse_roi_spec(ASKED))
    with pytest.raises(UnknownGpuType):
        weigh_ways_on([], know(Predictor(None)), parse_roi_spec(ASKED | {"gpu_type": "H9000"}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reserved_usd_per_gpu_hour": None}, "nothing to compare"),
        ({"gpus": 0}, "gpus"),
        ({"months": 121}, "months"),
        ({"utilisation": {"low": 0.5, "mid": 0.4, "high": 0.7}}, "must not fall"),
        ({"utilisation": -0.1}, "utilisation is -0.1"),
        ({"growth": float("nan")}, "growth"),
        ({"value_kept": 1.5}, "value_kept"),
        ({"pue": 0.9}, "pue"),
        ({"utilization": 0.5}, "utilization"),
        ({"api_provider": "acme"}, "give work"),
        ({"work": WORK, "api_usd_per_gpu_hour": 3.0}, "contradict"),
        ({"work": WORK | {"input_length": 0}}, "work.input_length"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        parse_roi_spec(ASKED | change)


def test_how_much_work_an_hour_is_moves_the_api_s_bill_alone() -> None:
    wide = ways(api_work=Triangle(low=0.5, mid=1.0, high=2.0))
    plain = ways()
    assert wide[Way.API].usd == plain[Way.API].usd
    assert wide[Way.API].drawn.p10 < plain[Way.API].drawn.p10 < wide[Way.API].drawn.p90
    assert all(wide[way].drawn == plain[way].drawn for way in plain if way is not Way.API)
