"""A day of requests each way: billed by hand to the cent, and what must hold for all prices."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.hardware import load_gpu_types
from scheduler.domain.settlement import bill
from scheduler.domain.spec import Constraints
from scheduler.domain.stock import inventory_of
from scheduler.economics.fleet import compare
from scheduler.economics.fleet_deployment import Deployment, deployment_of
from scheduler.economics.fleet_outcome import BINS, Outcome, Rules, Way, over_time, serve
from scheduler.economics.fleet_simulation import Elastic, simulate
from scheduler.economics.serving import Limits
from scheduler.economics.tokens import token_costs
from scheduler.economics.traffic import Traffic, traffic_of
from tests.scheduler.economics.test_crossover import api
from tests.scheduler.economics.test_tokens import work
from tests.support.offers import make_offer
from tests.support.serving import Server

SERVER = Server(prompt_s=0.5, answer_s=12.0, most=8)
"""Two seconds of a full machine for a mean request, 12.5 alone; 30 s until it serves."""


def deployment(usd: float = 3.6, *, load_gb_s: float | None = None, **offer: object) -> Deployment:
    found = token_costs(
        work(), Constraints(max_gpus=1), Limits(), inventory_of([make_offer("H100-SXM", usd, **offer)]),
        load_gpu_types(), SERVER,
    )  # fmt: skip
    return deployment_of(found.costs[0], SERVER, load_gb_s=load_gb_s)


def requests(*seconds: float) -> Traffic:
    return traffic_of("by hand", [(second, 1000.0, 500.0) for second in seconds])


def rules(**changes: object) -> Rules:
    plain: dict[str, object] = {
        "ttft_p95_s": None, "idle_s": 60.0, "most_elastic": 20, "discount": Decimal(0), "cached_tokens": 0.0,
    }  # fmt: skip
    return Rules(**plain | changes)  # type: ignore[arg-type]


def ways(traffic: Traffic, *deployments: Deployment, usd: str = "0.50", **changes: object) -> dict[Way, Outcome]:
    comparison, _ = compare(traffic, deployments, [api(usd, usd)], rules(**changes))
    return {one.way: one for one in comparison.outcomes}


def test_the_rates_are_those_of_the_forecast() -> None:
    rates = deployment().rates
    assert len(rates) == 9
    # 0.5 s of prompt and 12 s of answer shared by those in flight
    assert rates[[1, 2, 4, 8]] == pytest.approx([1 / 12.5, 1 / 6.5, 1 / 3.5, 1 / 2.0])
    assert rates[6] == pytest.approx(1 / 2.5)  # its stay, 15 s, is halfway between those of 4 and of 8: 14 and 16 s


@pytest.mark.parametrize("held", [1, 2, 4, 8])
def test_a_full_replica_serves_what_the_forecast_says(held: int) -> None:
    one = deployment()
    count = 4000
    run = simulate(np.zeros(count), np.ones(count), one.rates[: held + 1], dedicated=1)
    assert count / run.last_answer_s == pytest.approx(1.0 / (0.5 + 12.0 / held), rel=0.01)


def test_starts_are_billed_to_the_cent() -> None:
    # a minute apart, each alone for 12.5 s, one replica: provisioned in 100 s, then 30 s of start
    # the first is asked for at 0, there at 100, serves from 130 to 142.5 the first two; the third comes at 1000
    one = deployment(3.6, provision_s=100.0, billing_increment_s=60, minimum_s=120)
    traffic = requests(0.0, 60.0, 1000.0)
    run = simulate(
        traffic.arrival_s, traffic.work(one.prefill), one.rates, dedicated=0,
        elastic=Elastic(most=5, cold_s=one.cold_s, idle_s=60.0),
    )  # fmt: skip
    # two in flight from 130: each at half of 1/6.5 a second, both end at 143, gone at 203: 103 s are 120 by the minimum
    # the third: asked for at 1000, there at 1100, serves from 1130 to 1142.5, gone at 1202.5: 102.5 s, 120 again
    assert one.paid_s(run).tolist() == pytest.approx([103.0, 102.5])
    assert one.bills_micros(one.paid_s(run)).tolist() == [
        120_000,
        120_000,
    ]  # $3.60 an hour are a tenth of a cent a second
    assert one.bills_micros(np.array([121.0, 0.0])).tolist() == [180_000, 0]  # two minutes and a second are three


@given(st.integers(0, 10**11), st.integers(1, 7200), st.integers(0, 7200))
def test_uses_are_billed_as_jobs_are(micros: int, increment_s: int, minimum_s: int) -> None:
    used_s = micros / 1e6
    mine = deployment(3.21, billing_increment_s=increment_s, minimum_s=minimum_s).bills_micros(np.array([used_s]))
    theirs = bill(
        used_s, gpu_count=1, micros_per_gpu_hour=3_210_000, billing_increment_s=increment_s, minimum_s=minimum_s
    )
    assert mine.tolist() == [theirs.cost_micros]


def test_what_floats_leave_does_not_begin_an_increment() -> None:
    assert deployment(3.6, billing_increment_s=60).bills_micros(np.array([60.0 + 1e-9])).tolist() == [60_000]


def test_a_burst_out_of_nothing_asks_for_no_more_replicas_than_requests() -> None:
    comparison, _ = compare(requests(*[0.0] * 50), [deployment()], [], rules(ttft_p95_s=0.001))
    assert all(1 <= one.dedicated <= 50 for one in comparison.outcomes if one.way is Way.DEDICATED)


def test_all_day_is_billed_for_the_whole_horizon_less_the_discount() -> None:
    traffic = requests(*range(0, 3600, 36))  # 100 requests in an hour: one replica, 3,600 s
    found = ways(traffic, deployment(3.6), discount=Decimal("0.25"))
    assert found[Way.DEDICATED].dedicated == 1
    assert found[Way.DEDICATED].cost_micros == 2_700_000
    assert found[Way.DEDICATED].replica_s == pytest.approx(3600)
    # 100 requests of 2 s of a full machine
    assert found[Way.DEDICATED].utilisation == pytest.approx(200 / 3600)


def test_the_api_is_paid_by_the_token() -> None:
    found = ways(requests(0.0, 10.0), deployment(), usd="2.00")[Way.API]
    assert found.cost_micros == 6_000  # 3,000 tokens at $2 a million
    assert found.micros_per_mtok == 2_000_000


def test_cached_tokens_are_no_more_than_a_prompt_has() -> None:
    traffic = traffic_of("by hand", [(0.0, 100.0, 0.0), (1.0, 1000.0, 0.0)])
    price = api("1.00", "1.00", cached="0.50")
    comparison, _ = compare(traffic, [], [price], rules(cached_tokens=400.0))
    assert comparison.outcomes[0].cost_micros == 100 * 0.5 + 400 * 0.5 + 600


def test_cached_tokens_are_no_work_and_no_wait() -> None:
    traffic = traffic_of("by hand", [(0.0, 500.0, 100.0), (1.0, 5500.0, 100.0)])
    one = deployment()
    assert traffic.work(1.0, 2900.0).tolist() == pytest.approx([1e-9, 2.0])
    assert traffic.work(0.5, 2900.0).tolist() == pytest.approx([0.5, 1.5])
    assert traffic.work(0.5, 9000.0).tolist() == pytest.approx([1.0, 1.0])
    alone = np.ones(2, np.int64)
    first = one.ttft_s(traffic, np.zeros(2), alone, 2900.0) - one.tpot_s[1]
    assert first.tolist() == pytest.approx([0.0, 2 * one.own_prompt_s])


def test_the_fewest_replicas_that_keep_the_limit() -> None:
    # 1.3 a second, one serves 0.5: three fall behind only as chance has it, two always
    chance = np.random.default_rng(5)
    traffic = requests(*np.cumsum(chance.exponential(1 / 1.3, 4000)).tolist())
    always = ways(traffic, deployment(), ttft_p95_s=5.0)[Way.DEDICATED]
    assert always.keeps
    fewer = simulate(
        traffic.arrival_s, traffic.work(always_on(always).prefill), always_on(always).rates,
        dedicated=always.dedicated - 1,
    )  # fmt: skip
    assert np.percentile(always_on(always).ttft_s(traffic, fewer.wait_s, fewer.in_flight), 95) > 5.0


@pytest.mark.parametrize("limit", [None, 60.0])
def test_fewer_than_the_mean_load_do_where_requests_may_wait(limit: float | None) -> None:
    # fifty at once are 100 s of a full replica: in the one second of that day as much as a hundred do
    traffic, one, asked = requests(*[0.0] * 50), deployment(), rules(ttft_p95_s=limit)
    always = ways(traffic, one, ttft_p95_s=limit)[Way.DEDICATED]
    keeping = [
        count for count in range(1, 51) if serve(traffic, one, asked, dedicated=count, idle_s=None).keeps
    ]  # fmt: skip
    assert always.dedicated == keeping[0] < 6


def always_on(outcome: Outcome) -> Deployment:
    assert outcome.deployment is not None
    return outcome.deployment


def test_a_way_that_misses_the_limit_never_wins() -> None:
    # once an hour: a replica that starts each time is cheap, and late by half a minute
    traffic = requests(*(3600.0 * hour for hour in range(12)))
    comparison, _ = compare(traffic, [deployment()], [], rules(ttft_p95_s=5.0))
    missed = {one.way for one in comparison.outcomes if not one.keeps}
    assert Way.SCALE_TO_ZERO in missed
    assert comparison.outcomes[0].keeps
    unlimited, _ = compare(traffic, [deployment()], [], rules())
    assert unlimited.outcomes[0].way is Way.SCALE_TO_ZERO
    assert unlimited.outcomes[0].cold_starts == 12


def test_scaling_to_zero_prefers_who_bills_by_the_second() -> None:
    traffic = requests(*(3600.0 * hour for hour in range(12)))
    hourly = deployment(3.5, provider="hourly", billing_increment_s=3600)
    found = ways(traffic, hourly, deployment(3.6, provider="by-the-second"))
    assert always_on(found[Way.SCALE_TO_ZERO]).cost.offer.provider == "by-the-second"
    assert always_on(found[Way.DEDICATED]).cost.offer.provider == "hourly"


def test_the_curve_starts_at_none_and_ends_with_as_many_as_do_alone() -> None:
    chance = np.random.default_rng(5)
    traffic = requests(*np.cumsum(chance.exponential(1 / 2.2, 4000)).tolist())
    comparison, _ = compare(traffic, [deployment()], [], rules(ttft_p95_s=10.0))
    counts = [one.dedicated for one in comparison.curve]
    always = next(one for one in comparison.outcomes if one.way is Way.DEDICATED)
    assert counts == list(range(always.dedicated + 1))
    hybrid = next(one for one in comparison.outcomes if one.way is Way.HYBRID)
    assert hybrid.order == min(one.order for one in comparison.curve if one.dedicated)


def test_an_idle_time_out_is_chosen_where_none_is_asked() -> None:
    traffic = requests(
        *(200.0 * place for place in range(50))
    )  # every 200 s: waiting for the next is dear, starts dearer
    found = ways(traffic, deployment(), idle_s=None)[Way.SCALE_TO_ZERO]
    fixed = [ways(traffic, deployment(), idle_s=idle)[Way.SCALE_TO_ZERO] for idle in (60.0, 300.0)]
    assert found.cost_micros <= min(one.cost_micros for one in fixed)


def test_a_stated_bandwidth_changes_the_start() -> None:
    slow, fast, plain = (deployment(load_gb_s=gb_s).start_s for gb_s in (1.0, 10.0, None))
    assert fast < plain < slow  # the forecast's own is 1.5


def test_the_replicas_of_the_bins_add_up_to_the_replica_seconds() -> None:
    traffic = requests(*(100.0 * place for place in range(40)))
    one = deployment(provision_s=20.0)
    run = simulate(
        traffic.arrival_s, traffic.work(one.prefill), one.rates, dedicated=1,
        elastic=Elastic(most=3, cold_s=one.cold_s, idle_s=5.0),
    )  # fmt: skip
    drawn = over_time(5000.0, run, one.provision_s)
    assert sum(drawn) * 5000.0 / BINS == pytest.approx(5000.0 + one.paid_s(run).sum())


@settings(max_examples=25, deadline=None)
@given(st.decimals("0.01", "50", places=2), st.decimals("0.01", "50", places=2))
def test_a_dearer_api_never_becomes_the_winner(one: Decimal, other: Decimal) -> None:
    cheap, dear = sorted((one, other))
    traffic = requests(*(20.0 * place for place in range(60)))
    wins = [
        compare(traffic, [deployment()], [api(str(usd), str(usd))], rules())[0].outcomes[0].way for usd in (cheap, dear)
    ]
    assert wins[1] is not Way.API or wins[0] is Way.API


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 20), st.floats(0.5, 20))
def test_dearer_machines_never_make_a_way_cheaper(one: float, other: float) -> None:
    cheap, dear = sorted((round(one, 2), round(other, 2)))
    traffic = requests(*(20.0 * place for place in range(60)))
    first, second = ways(traffic, deployment(cheap)), ways(traffic, deployment(dear))
    for way in (Way.DEDICATED, Way.SCALE_TO_ZERO, Way.HYBRID):
        assert first[way].cost_micros <= second[way].cost_micros


def test_the_ends_are_those_of_the_forecast() -> None:
    one = deployment()
    assert one.ends is not None
    fast, slow = one.ends
    assert fast.rates[1:] == pytest.approx(one.rates[1:] * 1.25)
    assert slow.rates[1:] == pytest.approx(one.rates[1:] / 1.25)
    assert slow.own_prompt_s == pytest.approx(one.own_prompt_s * 1.25)
    assert (fast.cold_s, slow.cold_s) == (one.cold_s, one.cold_s)


def test_the_ends_are_billed_to_the_cent() -> None:
    # as above: two are served together in 13 s, the third in 12.5 s, between a start of 30 s and 60 s of idling; at
    # p10 in 10.4 and 10, at p90 in 16.25 and 15.625: 101 + 100 and 107 + 106 whole seconds at a tenth of a cent
    found = ways(requests(0.0, 60.0, 1000.0), deployment(3.6, provision_s=100.0))[Way.SCALE_TO_ZERO]
    assert found.fast is not None
    assert found.slow is not None
    assert (found.fast.cost_micros, found.cost_micros, found.slow.cost_micros) == (201_000, 206_000, 213_000)


def test_what_is_kept_all_day_costs_the_same_and_waits_longer() -> None:
    chance = np.random.default_rng(7)
    traffic = requests(*np.cumsum(chance.exponential(1 / 0.42, 2000)).tolist())
    found = ways(traffic, deployment(), ttft_p95_s=60.0)[Way.DEDICATED]
    ends = (found.fast, found, found.slow)
    waits = [one.queue_s.p95 for one in ends if one is not None and one.queue_s is not None]
    assert waits == sorted(waits)
    assert waits[0] < waits[2]
    first = found.fast
    assert first is not None
    assert first.dedicated == found.dedicated
    # kept until the last answer, which comes seconds later where machines are slower
    assert first.cost_micros == pytest.approx(found.cost_micros, rel=0.005)


def test_days_that_are_served_side_by_side_come_out_as_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = requests(*np.cumsum(np.random.default_rng(5).exponential(4.0, 3000)).tolist())

    def figures() -> list[tuple[object, ...]]:
        comparison, _ = compare(traffic, [deployment(), deployment(0.9)], [], rules(ttft_p95_s=60.0))
        ends = [end for one in comparison.outcomes for end in (one, one.fast, one.slow)]
        assert None not in ends
        return [
            (one.way, one.dedicated, one.idle_s, one.cost_micros, one.cold_starts, one.queue_s, one.ttft_s)
            for one in (*ends, *comparison.curve)
            if one is not None
        ]

    alone = figures()
    monkeypatch.setattr("scheduler.economics.fleet.LONG", 2)
    assert figures() == alone


@pytest.mark.parametrize(("rate", "idle_s"), [(0.02, 30.0), (0.1, 10.0), (0.35, 5.0)])
def test_scaling_one_replica_to_zero_costs_what_the_queue_with_a_setup_and_a_delayed_end_does(
    rate: float, idle_s: float
) -> None:
    """M/M/1 whose server goes after `idle_s` without work and takes a setup to come back, by renewal.

    A cycle is: nobody there, 1/λ on average; the setup D; a busy period of who came in it and the first, (1 + λD) /
    (μ − λ); then as often as somebody comes before the time-out, e^(λT) − 1 times, the gap, and a busy period of one,
    1 / (μ − λ). All gaps together, the last one too, are (e^(λT) − 1) / λ. Of D the provisioning is not billed.
    """
    served, provision_s = 0.5, 20.0
    chance = np.random.default_rng(11)
    count = 60_000
    traffic = Traffic(
        name="Poisson", arrival_s=np.cumsum(chance.exponential(1 / rate, count)), input_tokens=np.ones(count),
        output_tokens=chance.exponential(100.0, count), horizon_s=count / rate,
    )  # fmt: skip
    one = replace(
        deployment(3.6, provision_s=provision_s), rates=np.array([0.0, served]), tpot_s=np.zeros(2), prefill=0.0
    )
    found = serve(traffic, one, rules(most_elastic=1), dedicated=0, idle_s=idle_s)
    alone_s, again = 1 / (served - rate), np.expm1(rate * idle_s)
    paid_s = one.start_s + (1 + rate * one.cold_s) * alone_s + again * (alone_s + 1 / rate)
    share = paid_s / (1 / rate + provision_s + paid_s)
    # a life is billed in whole seconds, of 50 and more
    assert found.cost_micros == pytest.approx(share * traffic.horizon_s * 1000, rel=0.05)
    assert found.utilisation == pytest.approx(rate / served / share, rel=0.05)
    assert found.cold_starts == pytest.approx(traffic.horizon_s / (1 / rate + provision_s + paid_s), rel=0.05)
