"""A plan decides as a submission of the same spec would: within the quota, and behind those who come first."""

from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.domain.spec import JobSpec
from scheduler.domain.states import DecisionKind
from scheduler.services.plan import Plan, plan
from scheduler.services.tenants import add_tenant
from scheduler.storage.tables import DEFAULT_TENANT
from tests.scheduler.services.conftest import Installation
from tests.scheduler.services.test_queue import Queue, by_steps
from tests.support.offers import make_offer, make_spec
from tests.support.predictor import FixedPredictor


@pytest.fixture
def queue(engine: sa.Engine) -> Queue:
    world = Installation(engine, predictor=FixedPredictor(need_gib=1.0, change=by_steps))
    world.sell(make_offer("L40S", 1.0))
    return Queue(world)


def job(gpus: int | None, hours: float = 1.0, **constraints: object) -> JobSpec:
    workload = make_spec().workload.model_dump(exclude_unset=True) | {"num_steps": round(hours * 3600)}
    return make_spec(workload=workload, constraints={"gpu_count": gpus, **constraints})


def planned_and_submitted(queue: Queue, spec: JobSpec, tenant: UUID = DEFAULT_TENANT) -> tuple[Plan, DecisionKind]:
    """The plan, once it was seen to be what a submission then decides."""
    world = queue.world
    made = plan(world.engine, world.knowledge, spec, tenant_id=tenant, now=world.now)
    decision = world.submit(spec, tenant_id=tenant).decision
    assert (made.decision.kind, made.decision.reason) == (decision.kind, decision.reason)
    assert [(one.offer_id, one.gpu_count, one.reason, one.reason_number) for one in made.decision.candidates] == [
        (one.offer_id, one.gpu_count, one.reason, one.reason_number) for one in decision.candidates
    ]
    return made, decision.kind


def test_a_plan_is_held_to_the_quota_of_its_tenant(queue: Queue) -> None:
    ours = add_tenant(queue.world.engine, "ours", max_gpus=1).id
    made, kind = planned_and_submitted(queue, job(8), ours)
    assert kind is DecisionKind.REFUSAL
    assert "quota" in made.decision.reason
    _, kind = planned_and_submitted(queue, job(8))
    assert kind is DecisionKind.PLACEMENT


def test_nothing_beside_the_decision_is_beyond_the_quota_either(queue: Queue) -> None:
    ours = add_tenant(queue.world.engine, "ours", max_gpus=2).id
    queue.world.sell(make_offer("A40", 0.1, sold_gpus=(8,)))  # cheap, and too many of them
    made, kind = planned_and_submitted(queue, job(None), ours)
    assert kind is DecisionKind.PLACEMENT
    assert made.fallback is not None
    shown = [*made.pareto, made.decision.candidates[0]]
    assert max(one.gpu_count for one in shown) <= 2
    assert made.fallback.candidate.gpu_count <= 2
    assert all(one.chosen.gpu_count <= 2 for one in made.suggestions)


def test_a_plan_waits_behind_those_who_come_first(queue: Queue) -> None:
    first = queue.submit(8)
    queue.submit(4)
    queue.end(first)  # eight GPUs are free, and nobody has looked at the queue yet
    made, kind = planned_and_submitted(queue, job(8))
    assert kind is DecisionKind.WAIT
    assert made.pareto == ()
    assert made.decision.candidates[0].reason == "kept"


@pytest.mark.parametrize(("hours", "kind"), [(1, DecisionKind.PLACEMENT), (3, DecisionKind.WAIT)])
def test_a_plan_delays_no_reserved_start(queue: Queue, hours: float, kind: DecisionKind) -> None:
    queue.submit(4, hours=2)
    queue.submit(8)
    queue.place(5)
    made, decided = planned_and_submitted(queue, job(2, hours))
    assert decided is kind
    assert len(made.pareto) == (1 if kind is DecisionKind.PLACEMENT else 0)


def test_a_plan_of_higher_priority_goes_first(queue: Queue) -> None:
    first = queue.submit(8)
    queue.submit(4)
    queue.end(first)
    spec = job(8).model_copy(update={"priority": 60})
    assert planned_and_submitted(queue, spec)[1] is DecisionKind.PLACEMENT
