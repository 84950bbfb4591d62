"""Several jobs on one card: what is promised of memory and time holds, whatever the forecasts and their order."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.forecast import Forecast, Vram
from scheduler.domain.candidates import enumerate_candidates
from scheduler.domain.decision import Decision, Judged, Placement
from scheduler.domain.machines import Tariff, split
from scheduler.domain.offers import Offer
from scheduler.domain.placement import decide
from scheduler.domain.quantiles import Z95
from scheduler.domain.settlement import Bill
from scheduler.domain.sharing import (
    SWITCHING,
    Card,
    Member,
    Presence,
    Work,
    ends_s,
    ends_within,
    fit_together,
    may_share,
    preallocates,
    served_s,
)
from scheduler.domain.spec import Constraints, JobSpec, Objective
from scheduler.domain.stock import inventory_of
from scheduler.domain.verdicts import Code
from tests.support.drawn_cases import GPUS, NOW, WORKLOAD
from tests.support.offers import make_custom_spec, make_offer, make_spec
from tests.support.predictor import FixedPredictor

gib = st.floats(0.5, 60)
needs = st.lists(
    st.builds(lambda p50, over: Vram(p50_gib=p50, p95_gib=p50 * over), gib, st.floats(1, 2)), min_size=1, max_size=4
)
rests = st.lists(st.floats(0, 1e5), min_size=1, max_size=4)
work = st.builds(
    lambda p50, wide: Work(p10_s=p50 / wide, p50_s=p50, p90_s=p50 * wide), st.floats(1, 1e5), st.floats(1, 3)
)
works = st.lists(work, min_size=1, max_size=4)


@given(needs, st.floats(1, 200))
def test_what_fits_at_95_per_cent_leaves_the_sum_of_the_p95_on_the_card(asked: list[Vram], usable: float) -> None:
    fit = fit_together(asked, usable)
    assert 0.0 <= fit <= 1.0
    if fit >= 0.95:
        assert sum(need.p95_gib for need in asked) <= usable * (1 + 1e-9)


@given(needs, st.floats(1, 200), gib)
def test_one_more_on_the_card_or_a_smaller_card_never_fits_better(
    asked: list[Vram], usable: float, more: float
) -> None:
    fit = fit_together(asked, usable)
    assert fit_together([*asked, Vram(p50_gib=more, p95_gib=1.1 * more)], usable) <= fit + 1e-9
    assert fit_together(asked, usable / 1.1) <= fit + 1e-9
    assert fit_together(asked[::-1], usable) == pytest.approx(fit, abs=1e-9)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_they_fit_at_least_as_often_as_is_said_however_their_errors_hang_together(correlation: float) -> None:
    asked = [Vram(p50_gib=8, p95_gib=11), Vram(p50_gib=20, p95_gib=24), Vram(p50_gib=3, p95_gib=6)]
    sigma = np.array([math.log(need.p95_gib / need.p50_gib) / Z95 for need in asked])
    draw = np.random.default_rng(7)
    common, own = draw.standard_normal((100_000, 1)), draw.standard_normal((100_000, 3))
    z = math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own
    held = (np.array([need.p50_gib for need in asked]) * np.exp(sigma * z)).sum(axis=1)
    for usable in (36.0, 40.0, 44.0):
        said = fit_together(asked, usable)
        # of 100,000 draws three standard deviations are half a point
        assert float((held <= usable).mean()) >= said - 0.005


def by_turns(left: list[float]) -> list[float]:
    """Time-slicing, second by second as it were: at each moment everybody there gets the same."""
    ends, now, rest = [0.0] * len(left), 0.0, dict(enumerate(left))
    while rest:
        least = min(rest.values())
        now += least * len(rest)
        rest = {one: value - least for one, value in rest.items()}
        for one in [one for one, value in rest.items() if value <= 0]:
            ends[one] = now
            del rest[one]
    return ends


@given(rests)
def test_jobs_end_as_in_a_simulation_of_their_turns(left: list[float]) -> None:
    longer = SWITCHING if len(left) > 1 else 1.0
    assert ends_s(left) == pytest.approx([longer * end for end in by_turns(left)], rel=1e-6, abs=1e-3)


@given(works, st.floats(0.5, 0.99))
def test_no_end_is_promised_sooner_than_alone_and_more_certainty_takes_longer(there: list[Work], sure: float) -> None:
    ends = ends_within(there, sure)
    assert all(end >= work.within(sure) * (1 - 1e-9) for end, work in zip(ends, there, strict=True))
    later = ends_within(there, sure + (1 - sure) / 2)
    assert all(b >= a * (1 - 1e-9) for a, b in zip(ends, later, strict=True))


def test_an_end_comes_as_often_in_time_as_was_promised() -> None:
    there = [Work(p10_s=300, p50_s=600, p90_s=1200), Work(p10_s=900, p50_s=1000, p90_s=1500)]
    promised = ends_within(there, 0.9)
    draw = np.random.default_rng(11)
    levels = draw.uniform(1e-6, 1 - 1e-6, (20_000, 2))
    drawn = [[work.within(float(p)) for work, p in zip(there, row, strict=True)] for row in levels]
    ends = np.array([ends_s(each) for each in drawn])
    # of 20,000 draws three standard deviations are 0.7 points
    assert (np.mean(ends <= np.array(promised), axis=0) >= 0.9 - 0.007).all()


def test_seconds_beside_others_are_shared() -> None:
    mine = Presence(from_s=100.0, to_s=0.0)
    assert served_s(mine, []) == 100.0
    assert served_s(mine, [Presence(from_s=40.0, to_s=10.0)]) == pytest.approx(70.0 + 30.0 / (2 * SWITCHING))
    assert served_s(mine, [Presence(from_s=500.0, to_s=0.0)] * 3) == pytest.approx(100.0 / (4 * SWITCHING))


@given(st.integers(0, 10**12), st.integers(0, 10**7), st.integers(1, 4))
def test_a_bill_is_split_to_the_last_micro(micros: int, seconds: int, among: int) -> None:
    parts = split(Bill(billed_s=seconds, cost_micros=micros), among)
    assert sum(part.cost_micros for part in parts) == micros
    assert sum(part.billed_s for part in parts) == seconds
    assert max(part.cost_micros for part in parts) - min(part.cost_micros for part in parts) <= 1


@pytest.mark.parametrize(
    ("workload", "grabs"),
    [
        ({"type": "inference", "model": "meta-llama/Llama-3.1-8B", "num_requests": 1, "engine": "vllm"}, True),
        ({"type": "inference", "model": "meta-llama/Llama-3.1-8B", "num_requests": 1}, True),
        ({"type": "inference", "model": "meta-llama/Llama-3.1-8B", "num_requests": 1, "engine": "transformers"}, False),
        ({"type": "custom", "kind": "k", "features": {"framework": "JAX"}}, True),
        ({"type": "custom", "kind": "k", "features": {"framework": "torch"}}, False),
    ],
)
def test_engines_that_take_the_card_up_front_share_with_nobody(workload: dict[str, Any], grabs: bool) -> None:
    spec = make_spec(workload=workload)
    assert preallocates(spec.workload) is grabs
    assert may_share(spec) is not grabs


def test_dedicated_tenancy_never_shares() -> None:
    assert may_share(make_custom_spec())
    assert not may_share(make_custom_spec(constraints={"tenancy": "dedicated", "share_card": "allow"}))


# -- joining in a decision ---------------------------------------------------------------------------------------------

OFFER = make_offer("L40S", 3.6, provision_s=600.0, capacity_gpus=1, node_gpus=1, sold_gpus=(1,))
DEAR = make_offer("H100-SXM", 9.0, provision_s=60.0, capacity_gpus=1, node_gpus=1, sold_gpus=(1,))
TARIFF = Tariff(gpu_count=1, micros_per_gpu_hour=3_600_000, billing_increment_s=1, minimum_s=0)


def member(number: int, need: float = 8.0, rest_s: float = 600.0, **asked: Any) -> Member:
    work = Work(p10_s=rest_s / 1.2, p50_s=rest_s, p90_s=rest_s * 1.2)
    return Member(
        attempt_id=UUID(int=number), job_id=UUID(int=1000 + number), vram=Vram(p50_gib=need, p95_gib=need * 1.2),
        fit_probability=0.99, usable_gib=45.0, whole=work, rest=work, elapsed_s=0.0,
        constraints=Constraints(**asked), spent_micros=0,
    )  # fmt: skip


def card(number: int, *members: Member, offer: Offer = OFFER, ready_s: float = 0.0) -> Card:
    return Card(
        id=UUID(int=number), version=len(members) - 1, offer_id=offer.id, tariff=TARIFF, provision_s=600.0,
        ready_s=ready_s, booked_s=0.0, metered_s=700.0, members=members,
    )  # fmt: skip


def decided(
    *cards: Card, offers: tuple[Offer, ...] = (OFFER, DEAR), need: float = 8.0, hours: float = 0.1, **asked: Any
) -> Decision:
    spec = make_spec(constraints={"max_gpus": 1, **asked})
    return decide_on(spec, cards, offers, need, hours)


def decide_on(spec: JobSpec, cards: tuple[Card, ...], offers: tuple[Offer, ...], need: float, hours: float) -> Decision:
    inventory = replace(inventory_of(offers), shares=True, cards=cards)
    proposals = enumerate_candidates(spec.constraints, WORKLOAD, inventory, GPUS)
    forecasts: list[Forecast] = list(FixedPredictor(need_gib=need, gpu_hours=hours).forecast(proposals.questions))
    return decide(spec, proposals, forecasts, now=NOW)


def joined(decision: Decision) -> Judged | None:
    return next((one for one in decision.considered.candidates if one.sharing is not None), None)


def test_joining_costs_what_the_card_is_held_longer_for() -> None:
    decision = decided(card(1, member(1)))
    assert isinstance(decision, Placement)
    chosen, estimate = decision.chosen, decision.chosen.estimate
    assert chosen.sharing is not None
    assert estimate is not None
    # 30 s of start-up and 360 s of work, and a tenth of that and of the other's 600 s for switching, at 1,000 micros
    assert estimate.p50_micros == pytest.approx(1000 * (1.1 * (390 + 600) - 600), abs=2000)
    assert estimate.use_p50_s == pytest.approx(1.1 * 2 * 390)
    # at most what it would pay if it paid for the card alone
    assert estimate.p90_micros >= estimate.use_p90_s * 1000


def test_a_card_of_its_own_wins_where_it_is_cheaper_or_sooner() -> None:
    there = replace(OFFER, provision_s=0.0)
    assert decided(card(1, member(1)), offers=(there,)).chosen.sharing is None  # type: ignore[union-attr]
    spec = make_spec(constraints={"max_gpus": 1}, objective=Objective.TIME)
    soonest = decide_on(spec, (card(1, member(1), member(2)),), (OFFER, DEAR), 8.0, 0.1)
    assert isinstance(soonest, Placement)
    assert soonest.chosen.offer.id == DEAR.id


def test_what_speaks_against_joining_is_said() -> None:
    def reason(*members: Member, **changes: Any) -> str | None:
        found = joined(decided(card(1, *members), **changes))
        return None if found is None else str(found.verdict.code)

    soon: dict[str, Any] = {"deadline": NOW + timedelta(seconds=900)}
    assert reason(member(1, need=30.0), need=15.0) == Code.FIT_PROBABILITY
    assert reason(member(1), member(2), max_runtime_s=600) == Code.MAX_RUNTIME
    assert reason(member(1), member(2), **soon) == Code.DEADLINE
    assert reason(member(1), max_cost_usd="0.5") == Code.BUDGET
    assert reason(member(1, **soon)) == Code.NEIGHBOURS
    assert reason(member(1, max_runtime_s=800)) == Code.NEIGHBOURS
    assert reason(member(1, max_cost_usd="0.9")) == Code.NEIGHBOURS
    assert reason(member(1, min_fit_probability=0.9999)) == Code.FIT_PROBABILITY
    assert reason(member(1), share_card="forbid") is None
    assert reason(member(1), spot="require") is None


drawn_member = st.tuples(st.floats(1, 30), st.floats(10, 3000), st.sampled_from([None, 900, 3000]))
cards_drawn = st.lists(st.lists(drawn_member, min_size=1, max_size=3), min_size=1, max_size=4)


def in_time(late: int | None) -> dict[str, Any]:
    return {} if late is None else {"deadline": NOW + timedelta(seconds=late)}


def made(drawn: list[list[tuple[float, float, int | None]]], sold: tuple[Offer, ...]) -> tuple[Card, ...]:
    return tuple(
        card(
            10 * at,
            *(
                member(100 * at + place, need, rest, **in_time(late))
                for place, (need, rest, late) in enumerate(there)
            ),
            offer=sold[at % len(sold)],
        )
        for at, there in enumerate(drawn, start=1)
    )  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(cards_drawn, st.floats(1, 40), st.floats(0.01, 1.0), st.floats(0.5, 0.99))
def test_of_all_cards_the_best_that_brute_force_finds_is_chosen(
    drawn: list[list[tuple[float, float, int | None]]], need: float, hours: float, fit: float
) -> None:
    sold = (OFFER, DEAR)
    cards = made(drawn, sold)
    spec = make_spec(constraints={"max_gpus": 1, "min_fit_probability": fit})
    together = decide_on(spec, cards, sold, need, hours)
    # each card by itself, and none: what a user would do who asks one after the other
    alone = [decide_on(spec, (one,), sold, need, hours) for one in cards] + [decide_on(spec, (), sold, need, hours)]
    costs = [one.chosen.estimate.expected_micros for one in alone if isinstance(one, Placement) and one.chosen.estimate]
    if not costs:
        assert not isinstance(together, Placement)
        return
    assert isinstance(together, Placement)
    assert together.chosen.estimate is not None
    assert together.chosen.estimate.expected_micros == min(costs)
    sharing = together.chosen.sharing
    if sharing is not None:
        (there,) = [one for one in cards if one.id == sharing.card_id]
        mine = Vram(p50_gib=need, p95_gib=1.2 * need)
        usable = min(45.0, float(together.chosen.forecast.usable_vram_gib or 0))  # type: ignore[union-attr]
        assert fit_together([*(one.vram for one in there.members), mine], usable) >= fit
        work = Work(p10_s=30 + 3000 * hours, p50_s=30 + 3600 * hours, p90_s=30 + 4320 * hours)
        ends = ends_within([*(one.rest for one in there.members), work], 0.9)
        for one, end in zip(there.members, ends, strict=False):
            assert one.constraints.deadline is None or NOW + timedelta(seconds=end) <= one.constraints.deadline
    considered = together.considered
    assert sum(considered.rejected_by_reason.values()) + 1 == considered.total


@settings(max_examples=50, deadline=None)
@given(cards_drawn, st.randoms(use_true_random=False))
def test_the_order_of_offers_and_cards_is_irrelevant(drawn: list[Any], random: Any) -> None:
    sold = (OFFER, DEAR)
    cards = made(drawn, sold)
    spec = make_spec(constraints={"max_gpus": 1})
    ours = decide_on(spec, cards, sold, 8.0, 0.1)
    shuffled = list(cards)
    random.shuffle(shuffled)
    assert decide_on(spec, tuple(shuffled), sold[::-1], 8.0, 0.1) == ours
