"""What must hold for every inventory, forecast and spec: checked against a brute force that knows no columns."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.constraints import Filter
from scheduler.domain.decision import Placement, Wait
from scheduler.domain.fit import judge_fit
from scheduler.domain.offers import Offer
from scheduler.domain.outlook import look_at
from scheduler.domain.pareto import find_pareto
from scheduler.domain.room import Room
from scheduler.domain.spec import Constraints, Objective
from scheduler.domain.spot import NEVER_S
from scheduler.domain.verdicts import FEASIBLE, Code
from tests.support.drawn_cases import GPUS, NOW, Case, cases, constraint_sets, key
from tests.support.offers import make_spec


@settings(max_examples=400, deadline=None)
@given(cases())
def test_the_choice_is_the_best_that_brute_force_finds(case: Case) -> None:
    decision, best = case.decide(), case.second_opinion()
    if best is None:
        assert not isinstance(decision, Placement)
        return
    assert isinstance(decision, Placement)
    chosen, estimate, option = decision.chosen, decision.chosen.estimate, best.option
    assert estimate is not None
    assert estimate.expected_micros == best.expected_micros
    assert estimate.use_p50_s == pytest.approx(option.use(option.run(0.5)), rel=1e-12)
    asked = option.fits_and_done_within(case.spec.constraints.min_deadline_probability)
    assert estimate.done_s == pytest.approx(asked, rel=1e-9) or (estimate.done_s == NEVER_S and asked == math.inf)
    assert (chosen.offer.id, chosen.gpu_count, chosen.spot, chosen.layout) == (
        option.offer.id, option.count, option.spot, option.forecast.layout,
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(cases())
def test_the_pareto_set_is_what_nothing_beats_in_both(case: Case) -> None:
    case = replace(case, tried=())
    best = case.second_opinion()
    points = [] if best is None else [(cost, option.use(option.run(0.5))) for option, cost in best.feasible]
    front = [
        (cost, time)
        for cost, time in points
        if not any((c <= cost and t < time * (1 - 1e-12)) or (c < cost and t <= time) for c, t in points)
    ]
    proposals = case.proposals()
    forecasts = [case.forecasts[key(question)] for question in proposals.questions]
    ours = [judged.estimate for judged in find_pareto(case.spec, proposals, forecasts, now=NOW, room=case.room)]
    assert len(ours) == len({cost for cost, _ in front})
    for estimate in ours:
        assert estimate is not None
        assert any(
            estimate.expected_micros == c and estimate.use_p50_s == pytest.approx(t, rel=1e-12) for c, t in front
        )
    for cheaper, sooner in pairwise(ours):
        assert cheaper is not None
        assert sooner is not None
        assert cheaper.expected_micros < sooner.expected_micros
        assert cheaper.use_p50_s > sooner.use_p50_s


@settings(max_examples=100, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_offers_is_irrelevant(case: Case, random: object) -> None:
    shuffled = list(case.offers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    ours, theirs = case.decide(), replace(case, offers=shuffled).decide()
    assert ours == theirs


@settings(max_examples=100, deadline=None)
@given(cases())
def test_what_is_chosen_fits_satisfies_every_constraint_and_is_there(case: Case) -> None:
    decision = case.decide()
    if not isinstance(decision, Placement):
        return
    chosen, asked = decision.chosen, case.spec.constraints
    assert chosen.fit_probability is not None
    assert chosen.fit_probability >= asked.min_fit_probability
    assert chosen.gpu_count <= min(chosen.offer.free_gpus, asked.max_gpus)
    assert chosen.gpu_count in chosen.offer.counts()
    assert chosen.offer.gpu_type not in asked.exclude_gpu_types
    assert not asked.jurisdictions or chosen.offer.country != "US"
    assert asked.tenancy == "any" or chosen.offer.tenancy == "dedicated"
    assert asked.gpu_count in (None, chosen.gpu_count)
    assert chosen.offer.id not in case.room.ahead
    estimate = chosen.estimate
    assert estimate is not None
    assert asked.max_cost_usd is None or Decimal(estimate.p90_micros) <= asked.max_cost_usd * 1_000_000


@settings(max_examples=100, deadline=None)
@given(cases(), constraint_sets())
def test_a_tighter_constraint_never_makes_the_job_cheaper(case: Case, other: Constraints) -> None:
    ours = case.spec.constraints
    deadlines = [d for d in (ours.deadline, other.deadline) if d is not None]
    budgets = [b for b in (ours.max_cost_usd, other.max_cost_usd) if b is not None]
    tighter = ours.model_copy(
        update={
            "max_gpus": min(ours.max_gpus, other.max_gpus),
            "jurisdictions": ours.jurisdictions or other.jurisdictions,
            "deadline": min(deadlines, default=None),
            "min_deadline_probability": max(ours.min_deadline_probability, other.min_deadline_probability),
            "max_cost_usd": min(budgets, default=None),
            "min_fit_probability": max(ours.min_fit_probability, other.min_fit_probability),
            "out_of_memory_usd": max(ours.out_of_memory_usd, other.out_of_memory_usd),
        }
    )
    spec = case.spec.model_copy(update={"objective": Objective.COST})
    loose = replace(case, spec=spec).decide()
    tight = replace(case, spec=spec.model_copy(update={"constraints": tighter})).decide()
    if isinstance(tight, Placement):
        assert isinstance(loose, Placement)
        assert loose.chosen.estimate is not None
        assert tight.chosen.estimate is not None
        assert loose.chosen.estimate.expected_micros <= tight.chosen.estimate.expected_micros


@settings(max_examples=100, deadline=None)
@given(cases())
def test_every_candidate_is_counted_once_and_every_kind_listed(case: Case) -> None:
    decision = case.decide()
    considered = decision.considered
    chosen = 1 if isinstance(decision, Placement) else 0
    assert sum(considered.rejected_by_reason.values()) + chosen == considered.total
    proposals = case.proposals()
    lots = sum(len(proposals.board.cells[lot.group]) for lot in proposals.lots)
    out = [offer for offer in case.offers if proposals.rules.verdict(offer) is not None]
    assert considered.total == lots + sum(len(offer.counts()) for offer in out)
    kinds = [(judged.offer.gpu_type, judged.gpu_count) for judged in considered.candidates]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == {(lot.offer.gpu_type, lot.gpu_count) for lot in proposals.lots} | {
        (offer.gpu_type, count) for offer in out for count in offer.counts()
    }


@settings(max_examples=100, deadline=None)
@given(cases())
def test_a_wait_is_for_capacity_alone(case: Case) -> None:
    decision, most = case.decide(), case.room.headroom
    whole = replace(most, gpus=most.most_gpus, micros=most.most_micros)
    free = [replace(offer, reserved_gpus=0) for offer in case.offers]
    emptied = replace(case, offers=free, room=Room(headroom=whole)).decide()
    if isinstance(decision, Wait):
        assert isinstance(emptied, Placement)
        reason = decision.considered.candidates[0].verdict.code
        assert reason in (Code.CAPACITY, Code.KEPT, Code.QUOTA, Code.QUOTA_SPEND)
    elif not isinstance(decision, Placement):
        assert not isinstance(emptied, Placement)


@settings(max_examples=50, deadline=None)
@given(cases())
def test_an_offer_that_was_just_taken_is_not_chosen(case: Case) -> None:
    first = case.decide()
    if not isinstance(first, Placement):
        return
    second = case.decide(taken=frozenset({first.chosen.offer.id}))
    assert not isinstance(second, Placement) or second.chosen.offer.id != first.chosen.offer.id


@settings(max_examples=100, deadline=None)
@given(cases())
def test_the_columns_judge_memory_and_offers_as_the_scalars_do(case: Case) -> None:
    proposals = case.proposals()
    forecasts = [case.forecasts[key(question)] for question in proposals.questions]
    outlook = look_at(proposals, forecasts, case.spec.constraints, case.tried)
    at = 0
    for group, cells in zip(proposals.board.groups, proposals.board.cells, strict=True):
        for _ in cells:
            seen = outlook.cell(at)
            fit = judge_fit(group.gpu_type, seen.forecast, case.tried, case.spec.constraints.min_fit_probability)
            assert outlook.oom_probability[at] == pytest.approx(1.0 - fit.probability, abs=1e-12)
            assert outlook.near[at] == (FEASIBLE if seen.verdict is None else seen.verdict.nearness)
            if seen.verdict is not None and seen.verdict.number is not None:
                assert outlook.number[at] == pytest.approx(seen.verdict.number)
            at += 1
    rules = Filter(case.spec.constraints, case.workload, GPUS)
    stock = proposals.inventory.stock
    verdicts = [rules.verdict(offer) for offer in stock.offers]
    assert rules.nearness(stock).tolist() == [FEASIBLE if v is None else v.nearness for v in verdicts]


def test_no_offers_are_a_refusal() -> None:
    nothing: list[Offer] = []
    decision = Case(spec=make_spec(), offers=nothing, forecasts={}).decide()
    assert not isinstance(decision, Placement | Wait)
    assert "import" in decision.reason
