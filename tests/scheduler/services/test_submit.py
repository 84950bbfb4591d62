"""Submitting and planning: what is stored, what is refused, and what a key replays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from predictor.errors import NotEnoughData, UnknownModel
from scheduler.domain.errors import IdempotencyConflict, InvalidSpec
from scheduler.domain.states import DecisionKind, JobState
from scheduler.services import jobs
from scheduler.services.plan import plan
from scheduler.storage.ids import new_id
from scheduler.storage.tables import DEFAULT_TENANT
from scheduler.storage.views import DecisionView
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_custom_spec, make_offer, make_spec


def planned(installation: Installation, **changes: object) -> DecisionView:
    spec = make_spec(**changes)
    made = plan(installation.engine, installation.knowledge, spec, tenant_id=DEFAULT_TENANT, now=installation.now)
    return made.decision


def test_a_plan_reserves_and_stores_nothing(installation: Installation) -> None:
    decision = planned(installation)
    assert decision.kind is DecisionKind.PLACEMENT
    assert installation.reserved() == 0
    assert installation.scalar("SELECT count(*) FROM jobs") == 0
    assert installation.scalar("SELECT count(*) FROM decisions") == 0


def test_a_plan_needs_no_command_but_a_submission_does(installation: Installation) -> None:
    assert planned(installation, run=None).kind is DecisionKind.PLACEMENT
    with pytest.raises(InvalidSpec, match=r"run\.command"):
        installation.submit(make_spec(run=None))


def test_what_is_stored_is_what_was_answered(installation: Installation) -> None:
    submitted = installation.submit(make_spec())
    assert jobs.list_decisions(installation.engine, DEFAULT_TENANT, submitted.job.id) == [submitted.decision]


def test_the_spec_is_kept_as_it_was_sent(installation: Installation) -> None:
    job = installation.submit(make_spec(constraints={"max_cost_usd": "40.00"})).job
    assert job.spec["constraints"] == {"max_cost_usd": "40.00"}
    assert "priority" not in job.spec


def test_the_same_key_with_the_same_spec_gives_the_same_job(installation: Installation) -> None:
    first = installation.submit(make_spec(), idempotency_key="k")
    again = installation.submit(make_spec(), idempotency_key="k")
    assert (again.job, again.decision, again.replayed) == (first.job, first.decision, True)
    assert installation.scalar("SELECT count(*) FROM jobs") == 1
    assert installation.reserved() == 1


def test_the_same_key_with_another_spec_is_a_conflict(installation: Installation) -> None:
    installation.submit(make_spec(), idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        installation.submit(make_spec(name="other"), idempotency_key="k")


def test_a_key_sent_eight_times_at_once_makes_one_job(installation: Installation) -> None:
    with ThreadPoolExecutor(8) as pool:
        submitted = list(pool.map(lambda _: installation.submit(make_spec(), idempotency_key="k"), range(8)))
    assert len({one.job.id for one in submitted}) == 1
    assert [one.replayed for one in submitted].count(False) == 1
    assert installation.reserved() == 1


def test_keys_of_two_tenants_have_nothing_to_do_with_each_other(installation: Installation) -> None:
    stranger = new_id()
    with installation.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO tenants (id, name) VALUES (:id, 'stranger')"), {"id": stranger})
    ours = installation.submit(make_spec(), idempotency_key="k")
    theirs = installation.submit(make_spec(name="other"), idempotency_key="k", tenant_id=stranger)
    assert ours.job.id != theirs.job.id


def test_custom_work_of_which_nothing_is_known_is_refused(installation: Installation) -> None:
    with pytest.raises(NotEnoughData, match="runtime_s"):
        installation.submit(make_custom_spec(runtime_s=None))


def test_an_unknown_model_is_refused(installation: Installation) -> None:
    with pytest.raises(UnknownModel):
        installation.submit(make_spec(workload={"type": "inference", "model": "no/such", "num_requests": 1}))


def test_an_empty_inventory_is_a_refusal_that_says_so(engine: sa.Engine) -> None:
    submitted = Installation(engine).submit(make_spec())
    assert submitted.job.state is JobState.INFEASIBLE
    assert "pythia import-offers" in (submitted.job.reason or "")


def test_a_deadline_that_has_passed_is_a_refusal_that_says_so(installation: Installation) -> None:
    deadline = installation.now - timedelta(seconds=1)
    decision = planned(installation, constraints={"deadline": deadline.isoformat()})
    assert decision.kind is DecisionKind.REFUSAL
    assert "has passed" in decision.reason


def test_a_deadline_is_met_with_the_asked_probability(installation: Installation) -> None:
    # one GPU takes 3,600 s at p50 and 4,320 s at p90, after 30 s of start-up
    def within(seconds: float, probability: float) -> DecisionView:
        deadline = installation.now + timedelta(seconds=seconds)
        return planned(installation, constraints={
            "deadline": deadline.isoformat(), "min_deadline_probability": probability, "gpu_count": 1,
        })  # fmt: skip

    assert within(3700, 0.5).kind is DecisionKind.PLACEMENT
    late = within(3700, 0.9)
    assert late.kind is DecisionKind.REFUSAL
    assert late.candidates[0].reason == "deadline"
    # it fits with 0.99, so it is in time with 0.9 by its quantile at 0.9 / 0.99
    assert late.candidates[0].reason_number == pytest.approx(683, abs=0.5)


def test_more_questions_than_distinct_ones_are_never_asked(installation: Installation) -> None:
    planned(installation)
    few = installation.predictor.asked[-1]
    installation.sell(*(make_offer("L40S", 2.0, region=f"r{n}") for n in range(50)))
    planned(installation)
    assert installation.predictor.asked[-1] == few


def test_the_naive_choice_is_the_lowest_price_whose_memory_holds_the_weights(installation: Installation) -> None:
    installation.predictor.need_gib = 60.0  # 30 GiB of it weights: they fit an L40S, the job does not
    decision = planned(installation, constraints={"gpu_count": 1})
    assert decision.chosen is not None
    assert decision.chosen.gpu_type == "H100-SXM"
    assert decision.naive_choice is not None
    assert (decision.naive_choice["gpu_type"], decision.naive_choice["fit_probability"]) == ("L40S", 0.0)
    # it loses the time until the crash, and then needs what was chosen at once
    assert decision.naive_cost_micros is not None
    assert decision.expected_cost_micros is not None
    assert decision.naive_cost_micros > decision.expected_cost_micros
