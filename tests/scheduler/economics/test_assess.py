"""What each way costs, when to begin, and what would flip the answer: worked by hand, and for all prices."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.economics.assess import Case, best, cheaper_from, courses
from scheduler.economics.assess_dates import MONTH_DAYS, Way, credits_end, schedule, switch_day
from scheduler.economics.assess_spec import ModelUse, OwnPrices, parse_assess_spec
from scheduler.economics.finding import Finding, sentences
from scheduler.economics.flips import Cause, flips
from tests.scheduler.economics.test_crossover import api, deployments
from tests.scheduler.economics.test_tokens import work

DAY = date(2026, 12, 1)


def case(**changes: object) -> Case:
    """An H100 for $1.80 serves 43,200 requests a day; an API takes $0.002 for each."""
    plain = Case(
        requests_per_day=40_000, growth=0.0, request_usd=Decimal("0.002"), other=None, costs=deployments(1.8),
        elastic=(), peak=1.0, max_utilisation=1.0, operations_usd=0.0, own=None, ownable=(), first_month=0, months=12,
        refused={},
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def answer(asked: Case) -> Way:
    found = best(courses(asked))
    assert found is not None
    return found.way


def finding(asked: Case) -> Finding:
    found = courses(asked)
    use = ModelUse(model="x", input_length=1000, output_length=200, requests_per_day=1, provider="acme")
    return Finding(
        use=use, case=asked, workload=work(), listed=None, courses=found, chosen=best(found), holds=True,
        flips=flips(asked), begins=None,
    )  # fmt: skip


def totals(asked: Case) -> dict[Way, float]:
    return {one.way: one.total_usd for one in courses(asked)}


def test_a_year_each_way_by_hand() -> None:
    # 365 days of 40,000 requests at $0.002, and of an H100 at $1.80 for 24 hours
    assert totals(case()) == pytest.approx({Way.STAY: 29_200.0, Way.DEDICATED: 15_768.0})


def test_the_busiest_minute_decides_how_many_are_kept() -> None:
    asked = case(peak=2.5, max_utilisation=0.8)  # the mean may take 32 % of 43,200: 13,824
    kept = next(one for one in courses(asked) if one.way is Way.DEDICATED)
    assert kept.copies == (3, 3)
    assert kept.total_usd == pytest.approx(3 * 15_768.0)


def test_traffic_grows_by_so_much_a_year() -> None:
    asked = case(growth=1.0, first_month=12, months=1)
    assert totals(asked)[Way.STAY] == pytest.approx(2 * 40_000 * MONTH_DAYS * 0.002)


def test_the_slow_end_of_the_forecast_needs_more_machines() -> None:
    # at its p90 a request takes a quarter more: 34,560 a day, and 40,000 need two
    kept = next(one for one in courses(case()) if one.way is Way.DEDICATED)
    assert (kept.low_usd, kept.high_usd) == pytest.approx((15_768.0, 2 * 15_768.0))


def test_what_running_it_takes_is_added_each_month() -> None:
    assert totals(case(operations_usd=500.0))[Way.DEDICATED] == pytest.approx(15_768.0 + 12 * 500.0)


def test_another_api_is_a_way() -> None:
    asked = case(other=(api(), Decimal("0.0005")))
    assert answer(asked) is Way.OTHER_API
    assert totals(asked)[Way.OTHER_API] == pytest.approx(29_200.0 / 4)


def test_reserving_costs_its_price_and_buying_its_capital_less_resale() -> None:
    own = OwnPrices(
        gpu_type="H100-SXM", capital_usd_per_gpu=20_000, reserved_usd_per_gpu_hour=1.0, watts_per_gpu=1000, pue=1.5,
        hosting_usd_per_kw_month=100, usd_per_kwh=0.1, value_kept=0.5,
    ).roi(12)  # fmt: skip
    asked = case(own=own, ownable=deployments(1.8))
    assert totals(asked)[Way.RESERVED] == pytest.approx(8760.0)
    # of $20,000 half is lost in a year; a kilowatt is hosted, and drawn to three tenths without work
    power = 8760 * 1.5 * 0.1 * (0.3 + 0.7 * 40_000 / 43_200)
    assert totals(asked)[Way.BUY] == pytest.approx(10_000 + 12 * 100 + power)
    # who runs it is paid once, whatever the way
    staffed = totals(replace(asked, operations_usd=5000.0))
    assert staffed[Way.BUY] == pytest.approx(totals(asked)[Way.BUY] + 12 * 5000)
    assert staffed[Way.RESERVED] == pytest.approx(8760 + 12 * 5000)


def test_what_buying_rests_on_is_named() -> None:
    models = [{"model": "x", "input_length": 1, "output_length": 1, "monthly_usd": 1}]
    bought = {"gpu_type": "H100-SXM", "capital_usd_per_gpu": 20_000, "pue": 1.2}
    said = parse_assess_spec({"models": models, "own": bought}).assumed()
    for one in ("hosting_usd_per_kw_month: 150", "usd_per_kwh: 0.12", "value_kept: 0.6"):
        assert f"own.{one}" in said
    assert not any("pue" in one for one in said)
    assert "staff for what is bought: within operations_usd_per_month" in said
    assert not any("own." in one for one in parse_assess_spec({"models": models}).assumed())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"request_usd": Decimal("1.23456"), "requests_per_day": 1000}, "$1,235 for 1,000 requests"),
        ({"request_usd": Decimal("0.00000123456"), "requests_per_day": 1e9}, "(now $0.00123)"),
        ({"request_usd": Decimal(500), "requests_per_day": 0.0123}, "at 0.0123 requests a day"),
        ({"months": 1}, "over 1 month,"),
        (
            {"request_usd": Decimal(10**6), "requests_per_day": 1e6, "operations_usd": 1e9},
            "$1,000,000,000 for 1,000 requests",
        ),
    ],
)
def test_figures_are_written_out(changes: dict[str, object], said: str) -> None:
    text = " ".join(one.text for one in sentences(finding(case(**changes)), DAY))
    assert said in text
    assert "e+" not in text
    assert "e-0" not in text


def test_what_is_ruled_out_is_never_the_best() -> None:
    assert answer(case(refused={Way.DEDICATED: "for the test"})) is Way.STAY
    assert best(courses(case(costs=(), refused={Way.STAY: "for the test"}))) is None


def test_the_month_from_which_it_pays() -> None:
    # $43.80 … a day of the machine is that of 21,600 requests at the API; 10,000 grow by a factor of 4 a year
    asked = case(requests_per_day=10_000, growth=3.0, months=12)
    found = {one.way: one for one in courses(asked)}
    month = cheaper_from(asked, found[Way.DEDICATED], found[Way.STAY])
    assert month == 7  # 10,000 × 4^(7/12) = 22,449, a month before 20,000
    assert cheaper_from(asked, found[Way.STAY], found[Way.DEDICATED]) is None


@pytest.mark.parametrize(
    ("cause", "at"),
    [
        # one machine is $43.20 a day: 40,000 requests cost as much at $0.00108, 21,600 at $0.002
        (Cause.API_PRICE, 1.08),
        (Cause.TRAFFIC, 21_600.0),
        (Cause.GPU_PRICE, 80.0 / 43.2),
        # two cost $86.40 a day, more than $80: from below 40,000 / 43,200 of each on
        (Cause.UTILISATION, 40_000 / 43_200),
        (Cause.OPERATIONS, (80.0 - 43.2) * MONTH_DAYS),
    ],
)
def test_what_flips_the_answer_by_hand(cause: Cause, at: float) -> None:
    found = {one.cause: one for one in flips(case())}
    assert found[cause].at == pytest.approx(at, rel=1e-6)
    assert found[cause].to is Way.STAY


@settings(max_examples=25)
@given(st.floats(100, 1e6), st.floats(1e-4, 0.1), st.floats(-0.5, 3.0))
def test_beyond_a_flip_the_answer_is_another_and_short_of_it_is_not(requests: float, usd: float, growth: float) -> None:
    asked = case(requests_per_day=requests, request_usd=Decimal(repr(usd)), growth=growth)
    now = answer(asked)
    for flip in flips(asked):
        if flip.cause is not Cause.TRAFFIC:
            continue
        assert flip.to is not now
        assert answer(replace(asked, requests_per_day=flip.at)) is flip.to
        just = flip.now + (flip.at - flip.now) * (1 - 1e-6)
        assert answer(replace(asked, requests_per_day=just)) is now


@given(st.floats(1e-4, 0.1), st.floats(1.0, 100.0))
def test_a_dearer_api_never_makes_staying_the_answer(usd: float, dearer: float) -> None:
    asked = case(request_usd=Decimal(repr(usd)))
    if answer(asked) is Way.DEDICATED:
        assert answer(replace(asked, api_factor=dearer)) is Way.DEDICATED


def test_credits_are_used_up_before_they_expire() -> None:
    # $30 a day
    end = credits_end(600.0, date(2027, 3, 1), DAY, [30 * MONTH_DAYS] * 4)
    assert (end.day, end.used_up) == (date(2026, 12, 21), True)


def test_credits_expire_with_something_left() -> None:
    end = credits_end(10_000.0, date(2027, 1, 10), DAY, [30 * MONTH_DAYS] * 4)
    assert (end.day, end.used_up) == (date(2027, 1, 10), False)
    assert end.left_usd == pytest.approx(10_000 - 40 * 30)


def test_dates_are_counted_back_from_the_end_of_credits() -> None:
    end = credits_end(10_000.0, date(2027, 5, 31), DAY, [0.0] * 7)
    switch = switch_day(DAY, end, None)
    when = schedule(Way.DEDICATED, switch, None, DAY)
    assert switch == date(2027, 5, 31)
    assert when.cutover_start == date(2027, 5, 17)  # two weeks to move
    assert when.shadow_start == date(2027, 4, 19)  # four weeks of shadow traffic
    assert when.order_by == date(2027, 3, 29)  # two to set it up, one until it is there
    assert when.late_days == 0


def test_a_decision_before_the_end_of_credits_needs_its_shadow_traffic_sooner() -> None:
    when = schedule(Way.BUY, date(2027, 5, 31), date(2027, 3, 1), DAY)
    assert when.shadow_start == date(2027, 2, 1)
    assert when.order_by == date(2026, 10, 20)  # two weeks and ninety days before
    assert when.late_days == 42


def test_without_credits_or_a_decision_it_is_as_soon_as_can_be() -> None:
    switch = switch_day(DAY, None, None)
    assert schedule(Way.DEDICATED, switch, None, DAY).order_by == DAY
