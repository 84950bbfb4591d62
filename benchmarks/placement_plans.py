"""How long a plan takes in a warm process, and whether it finds what brute force finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

import numpy as np
from hypothesis import Phase, given, settings

from benchmarks.placement_jobs import drawn_specs
from predictor.forecast import Forecast, Question
from predictor.model import load_default_predictor
from scheduler.domain.decision import Placement
from scheduler.domain.offers import Offer
from scheduler.domain.placement import decide
from scheduler.domain.spec import JobSpec, parse_job_spec
from scheduler.domain.stock import Inventory, inventory_of
from scheduler.heap import settle
from scheduler.services.describe import describe
from scheduler.services.knowledge import Knowledge, know
from scheduler.services.memory import Memory
from scheduler.services.outlook import look_at_offers
from scheduler.services.plan import plan_on
from tests.support.brute_force import best_of
from tests.support.drawn_cases import Case, cases

NOW = datetime(2026, 9, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTimes:
    """Milliseconds of each plan of workloads never seen before."""

    decided: list[float]
    """Enumerate, forecast, decide, describe: what a submission takes."""
    bare: list[float]
    """The same where nothing is kept from one to the next: the baseline."""
    whole: list[float]
    """What `pythia plan` answers: fallback, Pareto set and suggestions besides, each a forecast of a changed job."""


def plan_times(offers: Sequence[Offer], plans: int, seed: int) -> PlanTimes:
    """Time plans on columns that were made before; a tenth of them without, and a tenth with all that is answered."""
    inventory, knowledge = inventory_of(offers), know(load_default_predictor())
    specs = [parse_job_spec(raw) for raw in islice(drawn_specs(seed), plans + 3)]
    for spec in specs[:3]:  # a warm process, as the API is one
        _plan(knowledge, spec, inventory)
    settle()
    warm = [_timed(lambda spec=spec: _plan(knowledge, spec, inventory)) for spec in specs[3:]]
    bare = [
        _timed(lambda spec=spec: _plan(replace(knowledge, memory=Memory()), spec, inventory_of(offers)))
        for spec in specs[3 : 3 + max(1, plans // 10)]
    ]
    whole = [
        _timed(lambda spec=spec: plan_on(inventory, knowledge, spec, now=NOW))
        for spec in [parse_job_spec(raw) for raw in islice(drawn_specs(seed + 1), max(20, plans // 10))]
    ]
    return PlanTimes(decided=warm, bare=bare, whole=whole)


def _plan(knowledge: Knowledge, spec: JobSpec, inventory: Inventory) -> None:
    prospect = look_at_offers(knowledge, spec, inventory)
    describe(decide(spec, prospect.proposals, prospect.forecasts, now=NOW), spec, prospect, NOW)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def scalar_plans(offers: Sequence[Offer], plans: int, seed: int) -> tuple[list[float], float]:
    """Milliseconds of the same decisions one candidate at a time, forecasts given, and the worst regret of ours."""
    knowledge = know(load_default_predictor())
    took, regret = [], 0.0
    for raw in islice(drawn_specs(seed), plans):
        spec = parse_job_spec(raw)
        prospect = look_at_offers(knowledge, spec, offers)
        board = prospect.proposals.board
        known = dict(zip(map(_key, board.questions), prospect.forecasts.forecasts, strict=True))

        def oracle(question: Question, known: dict[object, Forecast] = known) -> Forecast:
            return known[_key(question)]

        began = time.perf_counter()
        best = best_of(spec, board.workload, offers, knowledge.gpus, oracle, now=NOW)
        took.append(1000 * (time.perf_counter() - began))
        ours = decide(spec, prospect.proposals, prospect.forecasts, now=NOW)
        regret = max(regret, _regret(ours.chosen.estimate.expected_micros if isinstance(ours, Placement)
                                     and ours.chosen.estimate else None, best and best.expected_micros))  # fmt: skip
    return took, regret


def _key(question: Question) -> object:
    return question.gpu.name, question.layout, question.node_gpus, question.interconnect_gbps


def drawn_cases(count: int) -> tuple[int, float]:
    """How many drawn cases were decided, and by how many per cent the worst choice was dearer than brute force's."""
    done, regret = 0, 0.0

    @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate], derandomize=True)
    @given(cases())
    def compare(case: Case) -> None:
        nonlocal done, regret
        ours, best = case.decide(), case.second_opinion()
        estimate = ours.chosen.estimate if isinstance(ours, Placement) else None
        if best is not None and case.spec.objective == "time":
            soonest = best.option.use(best.option.run(0.5))
            worst = _regret(None if estimate is None else estimate.use_p50_s, soonest)
        else:
            worst = _regret(estimate and estimate.expected_micros, best and best.expected_micros)
        done, regret = done + 1, max(regret, worst)

    compare()
    return done, regret


def _regret(ours: float | None, best: float | None) -> float:
    if best is None or ours is None:
        return 0.0 if best is ours else float("inf")
    return 0.0 if abs(ours - best) <= 1e-9 * best else 100 * (ours / best - 1) if best else float("inf")


def percentile(values: Sequence[float], percent: float) -> float:
    """A percentile of what was measured."""
    return float(np.percentile(values, percent))
