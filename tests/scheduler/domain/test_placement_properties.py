"""What must hold for every inventory, forecast and spec: checked against a brute force that knows no columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import NormalDist
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.catalogue import load_models
from predictor.forecast import Forecast, Question, Spread, Vram
from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from predictor.words import Basis
from predictor.workload import Software
from predictor.workload_spec import resolve
from scheduler.domain.candidates import Proposals, enumerate_candidates
from scheduler.domain.cost import OOM_SHARE
from scheduler.domain.decision import Decision, Placement, Wait
from scheduler.domain.money import billed_seconds, cost_micros, usd_to_micros
from scheduler.domain.offers import Offer
from scheduler.domain.placement import decide
from scheduler.domain.quantiles import LEVELS, Z90
from scheduler.domain.spec import Constraints, JobSpec, Objective
from scheduler.domain.verdicts import Code
from tests.support.offers import make_offer, make_spec

NOW = datetime(2026, 9, 1, tzinfo=UTC)
GPUS = load_gpu_types()
WORKLOAD = resolve(make_spec().workload, load_models(), Software())
TYPES = ("H100-SXM", "L40S", "A100-80GB-SXM", "H100")

seconds = st.floats(1.0, 500_000.0)


@st.composite
def offer_lists(draw: st.DrawFn) -> list[Offer]:
    offers = []
    for index in range(draw(st.integers(1, 6))):
        node = draw(st.sampled_from([1, 2, 8]))
        offers.append(
            make_offer(
                draw(st.sampled_from(TYPES)),
                id=UUID(int=draw(st.integers(1, 2**64)) * 64 + index),
                provider=draw(st.sampled_from(["acme", "best"])), region=f"r{index}",
                country=draw(st.sampled_from(["FI", "US", None])),
                node_gpus=node, sold_gpus=tuple(sorted(draw(st.sets(st.sampled_from([1, node]), min_size=1)))),
                max_nodes=draw(st.sampled_from([1, 2])), capacity_gpus=draw(st.integers(0, 20)),
                reserved_gpus=draw(st.integers(0, 10)),
                on_demand_micros_per_gpu_hour=draw(st.one_of(st.none(), st.integers(0, 20_000_000))),
                spot_micros_per_gpu_hour=draw(st.one_of(st.none(), st.integers(0, 20_000_000))),
                billing_increment_s=draw(st.sampled_from([1, 60, 3600])),
                minimum_s=draw(st.sampled_from([0, 60, 3600])), provision_s=draw(st.floats(0, 900)),
            )
        )  # fmt: skip
    return offers


@st.composite
def constraint_sets(draw: st.DrawFn) -> Constraints:
    deadline = draw(st.one_of(st.none(), st.floats(-100, 600_000)))
    return Constraints.model_validate(
        {
            "max_gpus": draw(st.sampled_from([1, 8, 16])),
            "jurisdictions": draw(st.sampled_from([[], ["EU"]])),
            "exclude_gpu_types": draw(st.sampled_from([[], ["L40S"], ["H100"]])),
            "spot": draw(st.sampled_from(["forbid", "allow", "require"])),
            "deadline": None if deadline is None else NOW + timedelta(seconds=deadline),
            "min_deadline_probability": draw(st.sampled_from([0.3, 0.5, 0.9, 0.99])),
            "max_cost_usd": draw(st.one_of(st.none(), st.decimals("0.01", "500", places=2))),
            "max_runtime_s": draw(st.one_of(st.none(), seconds)),
            "min_fit_probability": draw(st.sampled_from([0.5, 0.95])),
        }
    )


@dataclass(frozen=True)
class Case:
    spec: JobSpec
    offers: list[Offer]
    forecasts: dict[tuple[str, Layout, int, float | None], Forecast]

    def proposals(self) -> Proposals:
        return enumerate_candidates(self.spec.constraints, WORKLOAD, self.offers, GPUS)

    def decide(self) -> Decision:
        proposals = self.proposals()
        return decide(self.spec, proposals, [self.forecasts[key(q)] for q in proposals.questions], now=NOW)


def key(question: Question) -> tuple[str, Layout, int, float | None]:
    return question.gpu.name, question.layout, question.node_gpus, question.interconnect_gbps


@st.composite
def cases(draw: st.DrawFn) -> Case:
    offers = draw(offer_lists())
    spec = make_spec(objective=draw(st.sampled_from(["cost", "time"])))
    spec = spec.model_copy(update={"constraints": draw(constraint_sets())})
    everything = enumerate_candidates(Constraints(max_gpus=16, spot="allow"), WORKLOAD, offers, GPUS)
    forecasts = {key(question): draw(_forecasts(question)) for question in everything.questions}
    return Case(spec, offers, forecasts)


@st.composite
def _forecasts(draw: st.DrawFn, question: Question) -> Forecast:
    p50 = draw(seconds)
    need = draw(st.floats(1.0, 120.0))
    usable = question.gpu.usable_gib or 0.0
    fits = draw(st.sampled_from([0.6, 0.96, 0.999, 1.0])) if need <= usable else draw(st.sampled_from([0.0, 0.3]))
    times = Spread(p10=p50 / draw(st.floats(1.0, 2.0)), p50=p50, p90=p50 * draw(st.floats(1.0, 2.0)))
    return Forecast(
        gpu_type=question.gpu.name, layout=question.layout, peak_vram=Vram(p50_gib=need * 0.9, p95_gib=need),
        usable_vram_gib=usable, fit_probability=fits, vram_breakdown=None, tokens_per_second=None, step_time_s=None,
        runtime_s=draw(st.sampled_from([times, times, times, None])), startup_s=draw(st.floats(0, 100)),
        max_batch_size=None, basis=Basis.ARITHMETIC, in_domain=True, assumptions=(), model_version="drawn",
    )  # fmt: skip


# ---- the brute force: one candidate at a time, with the scalar rules of money


@dataclass(frozen=True)
class Option:
    offer: Offer
    count: int
    forecast: Forecast
    price: int
    place: int

    def use(self, run_s: float) -> float:
        return self.offer.provision_s + self.forecast.startup_s + run_s

    def run(self, probability: float) -> float:
        run = self.forecast.runtime_s
        assert run is not None
        z = NormalDist().inv_cdf(probability)
        return float(run.p50 * ((run.p90 if z >= 0 else run.p10) / run.p50) ** (abs(z) / Z90))

    def bill(self, run_s: float) -> int:
        offer = self.offer
        billed = billed_seconds(self.use(run_s), increment_s=offer.billing_increment_s, minimum_s=offer.minimum_s)
        return cost_micros(self.price, self.count, billed)

    @property
    def expected(self) -> int:
        mean = sum(self.bill(self.run(level)) for level in LEVELS) // len(LEVELS)
        chance = round((1.0 - (self.forecast.fit_probability or 0.0)) * 1_000_000)
        return mean + self.bill(OOM_SHARE * self.run(0.5)) * chance // 1_000_000


def options(case: Case) -> list[Option]:
    """Every option that satisfies every constraint, capacity included."""
    found: list[Option] = []
    proposals = case.proposals()
    for lot in proposals.lots:
        for place, cell in enumerate(proposals.groups[lot.group]):
            forecasts = [case.forecasts[key(proposals.questions[q])] for q in cell.questions]
            worst = min(forecasts, key=lambda f: _goodness(case, f))
            option = Option(lot.offer, lot.gpu_count, worst, lot.price.micros_per_gpu_hour, place)
            if _allowed(case, option) and lot.gpu_count <= lot.offer.free_gpus:
                found.append(option)
    return found


def _fits(case: Case, forecast: Forecast) -> bool:
    return (forecast.fit_probability or 0.0) >= case.spec.constraints.min_fit_probability


def _in_time(case: Case, forecast: Forecast) -> bool:
    limit, run = case.spec.constraints.max_runtime_s, forecast.runtime_s
    return run is not None and (limit is None or forecast.startup_s + run.p90 <= limit)


def _goodness(case: Case, forecast: Forecast) -> tuple[object, ...]:
    run = forecast.runtime_s
    if run is None:
        return (0,)
    return (1, _fits(case, forecast) and (1 + _in_time(case, forecast)), -run.p90)


def _allowed(case: Case, option: Option) -> bool:
    asked = case.spec.constraints
    if not _in_time(case, option.forecast) or not _fits(case, option.forecast):
        return False
    if asked.deadline is not None:
        left = (asked.deadline - NOW).total_seconds()
        if option.use(option.run(asked.min_deadline_probability)) > left * (1 + 1e-12):
            return False
    return asked.max_cost_usd is None or option.bill(option.run(0.9)) <= usd_to_micros(asked.max_cost_usd)


def rank(case: Case, option: Option) -> tuple[object, ...]:
    by_cost = (option.expected, option.use(option.run(0.5)))
    by_time = (option.use(option.run(0.5)), option.use(option.run(0.9)), option.expected)
    first = by_time if case.spec.objective is Objective.TIME else by_cost
    offer = option.offer
    return (*first, option.count, offer.provider, offer.region, offer.instance_type, offer.id, option.place)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_the_choice_is_the_best_that_brute_force_finds(case: Case) -> None:
    decision = case.decide()
    possible = options(case)
    if not possible:
        assert not isinstance(decision, Placement)
        return
    assert isinstance(decision, Placement)
    best = min(possible, key=lambda option: rank(case, option))
    chosen, estimate = decision.chosen, decision.chosen.estimate
    assert estimate is not None
    if case.spec.objective is Objective.TIME:
        assert estimate.use_p50_s == pytest.approx(best.use(best.run(0.5)), rel=1e-12)
    else:
        assert estimate.expected_micros == best.expected
    assert (chosen.offer.id, chosen.gpu_count, chosen.layout) == (best.offer.id, best.count, best.forecast.layout)


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
def test_every_candidate_is_counted_once(case: Case) -> None:
    decision = case.decide()
    considered = decision.considered
    chosen = 1 if isinstance(decision, Placement) else 0
    assert sum(considered.rejected_by_reason.values()) + chosen == considered.total
    kinds = [(judged.offer.gpu_type, judged.gpu_count) for judged in considered.candidates]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == {(offer.gpu_type, count) for offer in case.offers for count in offer.counts()
                          if count <= case.spec.constraints.max_gpus
                          or not any(c <= case.spec.constraints.max_gpus for c in offer.counts())
                          or _ruled_out(case, offer)}  # fmt: skip


def _ruled_out(case: Case, offer: Offer) -> bool:
    return any(out.offer.id == offer.id for out in case.proposals().ruled_out)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_a_wait_is_for_capacity_alone(case: Case) -> None:
    decision = case.decide()
    emptied = replace(case, offers=[replace(offer, reserved_gpus=0) for offer in case.offers]).decide()
    if isinstance(decision, Wait):
        assert isinstance(emptied, Placement)
        assert decision.considered.candidates[0].verdict.code is Code.CAPACITY
    elif not isinstance(decision, Placement):
        assert not isinstance(emptied, Placement)


@settings(max_examples=50, deadline=None)
@given(cases())
def test_an_offer_that_was_just_taken_is_not_chosen(case: Case) -> None:
    first = case.decide()
    if not isinstance(first, Placement):
        return
    proposals = case.proposals()
    forecasts = [case.forecasts[key(question)] for question in proposals.questions]
    second = decide(case.spec, proposals, forecasts, now=NOW, taken={first.chosen.offer.id})
    assert not isinstance(second, Placement) or second.chosen.offer.id != first.chosen.offer.id
