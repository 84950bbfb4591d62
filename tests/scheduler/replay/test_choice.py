"""A replay's Pythia chooses what a decision chooses: the same cost on the same inventory, whatever is held of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pytest

from predictor.forecast import Forecast, Spread
from predictor.hardware import load_gpu_types
from predictor.model import Predictor
from scheduler.domain.candidates import enumerate_candidates
from scheduler.domain.decision import Placement
from scheduler.domain.fit import Tried
from scheduler.domain.placement import decide
from scheduler.domain.spec import Constraints, JobSpec
from scheduler.replay.market import Holdings, Market
from scheduler.replay.menu import Kind, judge, judge_rows
from scheduler.replay.policies import expect, with_risk
from scheduler.replay.world import Jobs, World
from tests.scheduler.replay.worlds import NOW, some_mix, some_offers
from tests.support.offers import make_spec

ROUNDING_MICROS = 8
"""A decision rounds five bills to a micro-dollar each and their mean down; a replay rounds nothing."""

ROUNDING_SHARE = 2e-6
"""A decision takes the chance of running out of memory to a millionth, and pays at most about three bills by it."""


@cache
def predictor() -> Predictor:
    return Predictor(None)


def scaled(forecast: Forecast, work: float) -> Forecast:
    """The forecast of a job that is so many units of work."""
    run = forecast.runtime_s
    assert run is not None
    return replace(forecast, runtime_s=Spread(p10=run.p10 * work, p50=run.p50 * work, p90=run.p90 * work))


def world_of(market: Market, work: float) -> World:
    """One job without a truth."""
    jobs = Jobs(
        ids=("a",), submit_s=np.zeros(1), deadline_s=np.full(1, np.inf), kind=np.zeros(1, dtype=np.int64),
        work=np.full(1, work), usual_count=np.ones(1, dtype=np.int64), time_level=np.zeros((1, 1)),
        need_level=np.zeros(1),
    )  # fmt: skip
    return World(market=market, classes=(), jobs=jobs, basis="modelled", reference="A100-80GB")


def head_of(market: Market, holdings: Holdings, terms: int) -> int:
    """The offer of the cheapest free lot on some terms."""
    count = market.terms[terms].gpu_count
    return next(offer for offer in market.lots[terms] if holdings.free[offer] >= count)


@pytest.mark.parametrize("seed", range(60))
def test_the_choice_costs_what_a_decision_would_pay(seed: int) -> None:
    generator = np.random.default_rng(seed)
    part = some_mix()[seed % 3]
    work = float(np.exp(generator.uniform(-4.0, 9.0)))
    constraints = Constraints(min_fit_probability=float(generator.choice([0.5, 0.9, 0.99])))
    market = Market(some_offers())
    holdings = Holdings(market)
    for _ in range(int(generator.integers(0, 25))):
        terms = int(generator.integers(0, len(market.terms)))
        if holdings.is_open(terms):
            holdings.reserve(terms)
    held = [
        replace(offer, reserved_gpus=offer.capacity_gpus - free)
        for offer, free in zip(market.stock.offers, holdings.free, strict=True)
    ]
    proposals = enumerate_candidates(constraints, part.workload, held, load_gpu_types())
    forecasts = predictor().forecast(proposals.questions)
    tried: tuple[Tried, ...] = ()
    if seed % 4 == 3:
        crashed = forecasts[int(generator.integers(0, len(forecasts)))]
        assert crashed.peak_vram is not None
        tried = (Tried(gpu_type=crashed.gpu_type, layout=crashed.layout, usable_gib=crashed.usable_vram_gib,
                       need_p50_gib=crashed.peak_vram.p50_gib),)  # fmt: skip
    deadline_s = float(work * generator.uniform(20.0, 2000.0)) if seed % 2 else np.inf
    asked = constraints.model_dump()
    if deadline_s != np.inf:
        asked["deadline"] = NOW + timedelta(seconds=deadline_s)
    spec: JobSpec = make_spec(constraints=asked)

    decision = decide(spec, proposals, [scaled(one, work) for one in forecasts], now=NOW, tried=tried)

    free_of_holders = enumerate_candidates(constraints, part.workload, market.inventory, load_gpu_types())
    kind = Kind(market, constraints, free_of_holders, forecasts)
    judged = judge(kind.after(tried))
    weighed = expect(world_of(market, work), judged, np.array([0]))
    assert weighed.done_s is not None
    assert weighed.wasted_s is not None
    price = holdings.micros_per_hour[weighed.terms] / 3600
    mean = price * weighed.seconds[0]
    mean[weighed.done_s[0] > deadline_s] = np.inf
    cost = with_risk(mean, price * weighed.wasted_s[0], judged)

    if isinstance(decision, Placement):
        chosen = decision.chosen
        assert not judged.unlikely
        assert chosen.estimate is not None
        tolerance = ROUNDING_MICROS + ROUNDING_SHARE * float(cost.min())
        assert abs(float(cost.min()) - chosen.estimate.expected_micros) <= tolerance
        best = int(cost.argmin())
        offer = market.stock.offers[head_of(market, holdings, int(weighed.terms[best]))]
        if offer.id != chosen.offer.id:  # another choice may only be a tie
            assert np.sum(cost <= cost.min() + tolerance) > 1
    else:
        assert judged.unlikely or not np.isfinite(cost).any()


@pytest.mark.parametrize("work", [0.01, 1.0, 500.0])
def test_leaving_out_beaten_rows_never_changes_the_least_cost(work: float) -> None:
    market = Market(some_offers())
    price = Holdings(market).micros_per_hour / 3600
    world, job = world_of(market, work), np.array([0])
    left_out = 0
    for part in some_mix():
        constraints = Constraints()
        proposals = enumerate_candidates(constraints, part.workload, market.inventory, load_gpu_types())
        menu = Kind(market, constraints, proposals, predictor().forecast(proposals.questions)).menu
        least = []
        for judged in (judge(menu), judge_rows(menu, np.flatnonzero(menu.accepted))):
            weighed = expect(world, judged, job)
            assert weighed.wasted_s is not None
            paid = price[weighed.terms]
            least.append(float(with_risk(paid * weighed.seconds[0], paid * weighed.wasted_s[0], judged).min()))
        assert least[0] == pytest.approx(least[1], rel=1e-12)
        left_out += int(menu.accepted.sum()) - len(judge(menu).rows)
    assert left_out > 0
