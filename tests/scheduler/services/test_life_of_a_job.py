"""From submission to outcome, on a real database: every state, one outcome, nothing left held."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scheduler.dispatch import LAUNCH, PLACE_WAITING
from scheduler.domain.errors import IllegalTransition, NotFound
from scheduler.domain.states import AttemptState, DecisionKind, JobState, Outcome
from scheduler.services import attempts, jobs
from scheduler.services.cancel import cancel_job
from scheduler.storage.ids import new_id
from scheduler.storage.tables import DEFAULT_TENANT
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_custom_spec, make_offer, make_spec
from tests.support.predictor import FixedPredictor


def test_a_job_goes_from_submission_to_completion(installation: Installation) -> None:
    submitted = installation.submit(make_spec())

    assert submitted.decision.kind is DecisionKind.PLACEMENT
    assert submitted.job.state is JobState.PLACED
    assert installation.doorbells() == [LAUNCH]
    assert installation.reserved() == 1

    work = installation.run(submitted.job.id)
    assert installation.job(submitted.job.id).state is JobState.RUNNING
    installation.later(100)
    assert installation.finish(work, Outcome.COMPLETED, exit_code=0, runtime_s=95.0, used_s=100.0)

    job = installation.job(submitted.job.id)
    assert (job.state, job.ended_at) == (JobState.COMPLETED, installation.now)
    assert installation.reserved() == 0
    assert installation.event_kinds(job.id) == [
        "job_submitted", "job_placed", "attempt_claimed", "attempt_starting", "attempt_running", "attempt_ended",
        "job_completed",
    ]  # fmt: skip


def test_the_bill_is_closed_at_the_price_that_was_frozen(installation: Installation) -> None:
    installation.sell(make_offer("L40S", 0.5, billing_increment_s=60))
    job_id = installation.submit(make_spec()).job.id
    installation.sell(make_offer("L40S", 9.0, billing_increment_s=3600))
    work = installation.run(job_id)
    installation.finish(work, Outcome.COMPLETED, used_s=3601.0)

    attempt = installation.attempts(job_id)[0]
    assert (attempt.gpu_type, attempt.billed_s) == ("L40S", 3660)
    assert attempt.cost_micros == round(500_000 * 3660 / 3600)
    assert installation.job(job_id).spent_micros == attempt.cost_micros


def test_a_second_end_changes_nothing(installation: Installation) -> None:
    job_id = installation.submit(make_spec()).job.id
    work = installation.run(job_id)
    assert installation.finish(work, Outcome.COMPLETED, used_s=10.0)
    before = (installation.job(job_id), installation.attempts(job_id), installation.event_kinds(job_id))

    assert not installation.finish(work, Outcome.FAILED, used_s=99.0, exit_code=1)
    assert (installation.job(job_id), installation.attempts(job_id), installation.event_kinds(job_id)) == before
    assert installation.reserved() == 0


def test_an_end_reported_with_a_lease_that_has_gone_to_another_changes_nothing(installation: Installation) -> None:
    job_id = installation.submit(make_spec()).job.id
    old = installation.run(job_id)
    installation.later(61)
    new = attempts.take_poll(installation.engine, old.attempt_id, now=installation.now, lease_s=60)
    assert new is not None

    assert not installation.finish(old, Outcome.LOST)
    assert installation.finish(new, Outcome.COMPLETED, used_s=1.0)


def test_an_attempt_is_claimed_once(installation: Installation) -> None:
    attempt_id = installation.attempts(installation.submit(make_spec()).job.id)[0].id
    assert attempts.claim(installation.engine, attempt_id, now=installation.now, lease_s=60) is not None
    assert attempts.claim(installation.engine, attempt_id, now=installation.now, lease_s=60) is None


def test_an_attempt_whose_claimant_fell_silent_before_starting_is_claimed_again(installation: Installation) -> None:
    attempt_id = installation.attempts(installation.submit(make_spec()).job.id)[0].id
    dead = attempts.claim(installation.engine, attempt_id, now=installation.now, lease_s=60)
    installation.later(61)
    alive = attempts.claim(installation.engine, attempt_id, now=installation.now, lease_s=60)
    assert dead is not None
    assert alive is not None

    soon = installation.now + timedelta(seconds=1)
    start = attempts.mark_starting
    assert not start(installation.engine, attempt_id, dead.lease_token, {}, now=installation.now, next_poll_at=soon)
    assert start(installation.engine, attempt_id, alive.lease_token, {}, now=installation.now, next_poll_at=soon)


def test_a_running_attempt_is_looked_at_by_one_worker_at_a_time(installation: Installation) -> None:
    work = installation.run(installation.submit(make_spec()).job.id)
    engine, now = installation.engine, installation.now
    assert attempts.take_poll(engine, work.attempt_id, now=now, lease_s=60) is None
    assert attempts.still_running(engine, work, now=now, next_poll_at=now)
    assert attempts.take_poll(engine, work.attempt_id, now=now, lease_s=60) is not None


def test_a_failing_command_is_not_tried_again(installation: Installation) -> None:
    job_id = installation.submit(make_spec()).job.id
    installation.finish(installation.run(job_id), Outcome.FAILED, exit_code=3, reason="exit code 3", used_s=1.0)
    job = installation.job(job_id)
    assert (job.state, job.reason) == (JobState.FAILED, "the command failed: exit code 3")
    assert len(installation.attempts(job_id)) == 1


def test_where_there_was_no_machine_a_job_goes_elsewhere_for_a_while(installation: Installation) -> None:
    installation.sell(
        make_offer("L40S", 0.5, provider="cheap"), make_offer("L40S", 0.6, provider="next"),
        make_offer("H100-SXM", 3.0, capacity_gpus=0),
    )  # fmt: skip
    spec = make_spec(max_attempts=6, constraints={"gpu_count": 1, "providers": ["cheap", "next"]})
    job_id = installation.submit(spec).job.id

    def lost_at_once() -> str:
        attempt_id = installation.attempts(job_id)[-1].id
        work = attempts.claim(installation.engine, attempt_id, now=installation.now, lease_s=60)
        assert work is not None
        assert installation.finish(work, Outcome.LOST, reason="no machine", used_s=0.0)
        assert installation.place_waiting() == 1
        return installation.attempts(job_id)[-1].provider

    assert installation.attempts(job_id)[-1].provider == "cheap"
    assert lost_at_once() == "next"
    assert lost_at_once() == "cheap", "there is nowhere else left"
    installation.later(601)
    assert lost_at_once() == "next", "what was so long ago says nothing"


def test_a_job_that_was_lost_while_it_ran_says_nothing_of_what_is_to_be_had(installation: Installation) -> None:
    installation.sell(make_offer("L40S", 0.5, provider="cheap"), make_offer("L40S", 0.6, provider="next"))
    job_id = installation.submit(make_spec(constraints={"gpu_count": 1})).job.id
    installation.finish(installation.run(job_id), Outcome.LOST, used_s=1.0)
    assert installation.place_waiting() == 1
    assert [one.provider for one in installation.attempts(job_id)] == ["cheap", "cheap"]


def test_out_of_memory_is_placed_again_on_something_with_more_headroom(installation: Installation) -> None:
    installation.predictor.need_gib = 30.0
    installation.sell(make_offer("A100-40GB-SXM", 0.9), make_offer("H200-SXM", 5.0))
    job_id = installation.submit(make_spec(constraints={"max_gpus": 1})).job.id
    assert installation.attempts(job_id)[0].gpu_type == "A100-40GB-SXM"

    installation.finish(installation.run(job_id), Outcome.OUT_OF_MEMORY, used_s=60.0)
    assert installation.job(job_id).state is JobState.QUEUED
    assert installation.doorbells()[-1] == PLACE_WAITING
    assert installation.place_waiting() == 1

    second = installation.attempts(job_id)[1]
    # 30 GiB on 39.5 ran out: 45 GiB of an L40S are hardly more headroom, 79.6 of an H100 are twice as much
    assert second.gpu_type == "H100-SXM"
    installation.finish(installation.run(job_id), Outcome.COMPLETED, used_s=60.0)
    job = installation.job(job_id)
    assert (job.state, job.attempts_made) == (JobState.COMPLETED, 2)
    assert job.spent_micros == sum(attempt.cost_micros or 0 for attempt in installation.attempts(job_id)) > 0


def test_a_job_stops_after_its_last_attempt(installation: Installation) -> None:
    job_id = installation.submit(make_spec(max_attempts=2)).job.id
    installation.finish(installation.run(job_id), Outcome.LOST, used_s=1.0)
    installation.place_waiting()
    installation.finish(installation.run(job_id), Outcome.LOST, used_s=1.0)
    job = installation.job(job_id)
    assert job.state is JobState.FAILED
    assert job.reason == "was lost with its machine or its worker; attempt 2 of 2"
    assert installation.reserved() == 0


def test_the_budget_counts_all_attempts(installation: Installation) -> None:
    spec = make_spec(constraints={"max_cost_usd": 1.5, "gpu_types": ["L40S"], "gpu_count": 1})
    job_id = installation.submit(spec).job.id
    installation.finish(installation.run(job_id), Outcome.PREEMPTED, used_s=1800.0)
    assert installation.job(job_id).state is JobState.QUEUED
    installation.place_waiting()

    job = installation.job(job_id)
    assert job.state is JobState.INFEASIBLE  # $0.50 is spent, and the next try would cost $1.21 at p90
    assert "no placement stays within the budget" in (job.reason or "")


def test_a_job_that_fits_but_not_now_waits_and_is_placed_when_capacity_returns(installation: Installation) -> None:
    everything = make_spec(constraints={"gpu_types": ["L40S"], "gpu_count": 8})
    first = installation.submit(everything).job.id
    waiting = installation.submit(everything)
    assert waiting.decision.kind is DecisionKind.WAIT
    assert waiting.job.state is JobState.QUEUED
    assert installation.place_waiting() == 0

    installation.finish(installation.run(first), Outcome.COMPLETED, used_s=1.0)
    assert installation.doorbells()[-1] == PLACE_WAITING
    assert installation.place_waiting() == 1
    assert installation.job(waiting.job.id).state is JobState.PLACED


def test_waiting_jobs_are_placed_in_the_order_of_priority(installation: Installation) -> None:
    one = {"constraints": {"gpu_types": ["L40S"], "gpu_count": 8}}
    first = installation.submit(make_spec(**one)).job.id
    low = installation.submit(make_spec(**one, priority=10)).job.id
    high = installation.submit(make_spec(**one, priority=90)).job.id
    installation.finish(installation.run(first), Outcome.COMPLETED, used_s=1.0)
    installation.place_waiting()
    assert (installation.job(high).state, installation.job(low).state) == (JobState.PLACED, JobState.QUEUED)


def test_a_job_that_waits_again_leaves_no_second_record(installation: Installation) -> None:
    spec = make_spec(constraints={"gpu_types": ["L40S"], "gpu_count": 8})
    installation.submit(spec)
    waiting = installation.submit(spec).job.id
    installation.later(100)
    installation.place_waiting()
    assert len(jobs.list_decisions(installation.engine, DEFAULT_TENANT, waiting)) == 1


def test_a_refusal_is_stored_with_its_reasons(installation: Installation) -> None:
    installation.predictor.need_gib = 1000.0
    submitted = installation.submit(make_spec())
    assert submitted.decision.kind is DecisionKind.REFUSAL
    job = installation.job(submitted.job.id)
    assert job.state is JobState.INFEASIBLE
    assert "fits in the memory of nothing on offer" in (job.reason or "")
    stored = jobs.list_decisions(installation.engine, DEFAULT_TENANT, job.id)
    assert [decision.candidates for decision in stored] == [submitted.decision.candidates]
    assert stored[0].rejected_by_reason == {"vram": stored[0].candidates_considered}
    assert installation.doorbells() == []


def test_a_placed_job_that_is_cancelled_ends_at_once(installation: Installation) -> None:
    job_id = installation.submit(make_spec()).job.id
    assert cancel_job(installation.engine, DEFAULT_TENANT, job_id, now=installation.now).state is JobState.CANCELLED
    assert installation.attempts(job_id)[0].outcome is Outcome.CANCELLED
    assert (installation.reserved(), installation.job(job_id).spent_micros) == (0, 0)


def test_a_waiting_job_that_is_cancelled_ends_at_once(installation: Installation) -> None:
    spec = make_spec(constraints={"gpu_types": ["L40S"], "gpu_count": 8})
    installation.submit(spec)
    job_id = installation.submit(spec).job.id
    assert cancel_job(installation.engine, DEFAULT_TENANT, job_id, now=installation.now).state is JobState.CANCELLED


def test_a_running_job_that_is_cancelled_is_stopped_by_the_next_look(installation: Installation) -> None:
    job_id = installation.submit(make_spec()).job.id
    work = installation.run(job_id)
    attempts.still_running(
        installation.engine, work, now=installation.now, next_poll_at=installation.now + timedelta(hours=1)
    )
    assert cancel_job(installation.engine, DEFAULT_TENANT, job_id, now=installation.now).state is JobState.CANCELLING
    looked = attempts.take_poll(installation.engine, work.attempt_id, now=installation.now, lease_s=60)
    assert looked is not None
    assert looked.cancel_requested
    installation.finish(looked, Outcome.CANCELLED, used_s=5.0)
    assert installation.job(job_id).state is JobState.CANCELLED


def test_a_job_may_complete_while_it_is_being_cancelled(installation: Installation) -> None:
    job_id = installation.submit(make_spec()).job.id
    work = installation.run(job_id)
    cancel_job(installation.engine, DEFAULT_TENANT, job_id, now=installation.now)
    installation.finish(work, Outcome.COMPLETED, used_s=5.0)
    assert installation.job(job_id).state is JobState.COMPLETED


def test_a_job_cancelled_before_its_command_started_never_starts(installation: Installation) -> None:
    job_id = installation.submit(make_spec()).job.id
    attempt_id = installation.attempts(job_id)[0].id
    work = attempts.claim(installation.engine, attempt_id, now=installation.now, lease_s=60)
    assert work is not None
    assert cancel_job(installation.engine, DEFAULT_TENANT, job_id, now=installation.now).state is JobState.CANCELLING
    assert not attempts.mark_starting(
        installation.engine, attempt_id, work.lease_token, {}, now=installation.now, next_poll_at=installation.now
    )
    assert installation.job(job_id).state is JobState.CANCELLED
    assert installation.reserved() == 0


def test_cancelling_what_has_ended_changes_nothing(installation: Installation) -> None:
    job_id = installation.submit(make_spec()).job.id
    installation.finish(installation.run(job_id), Outcome.COMPLETED, used_s=1.0)
    assert cancel_job(installation.engine, DEFAULT_TENANT, job_id, now=installation.now).state is JobState.COMPLETED


def test_another_tenant_sees_nothing(installation: Installation) -> None:
    job_id = installation.submit(make_spec()).job.id
    stranger = new_id()
    for read in (jobs.get_job, jobs.list_decisions, jobs.list_attempts, jobs.list_events, jobs.read_logs):
        with pytest.raises(NotFound):
            read(installation.engine, stranger, job_id)
    with pytest.raises(NotFound):
        cancel_job(installation.engine, stranger, job_id, now=installation.now)
    assert jobs.list_jobs(installation.engine, stranger) == []


def test_a_job_that_ended_cannot_move(installation: Installation) -> None:
    from scheduler.storage import jobs as store  # noqa: PLC0415 - the name is taken by the service
    from scheduler.storage.engine import transaction  # noqa: PLC0415

    job_id = installation.submit(make_spec()).job.id
    installation.finish(installation.run(job_id), Outcome.COMPLETED, used_s=1.0)
    job = installation.job(job_id)
    with transaction(installation.engine) as session, pytest.raises(IllegalTransition):
        store.move(session, job, JobState.RUNNING, now=installation.now, kind="job_running")


def test_a_webhook_is_rung_when_its_job_ends(installation: Installation) -> None:
    job_id = installation.submit(make_spec(webhook_url="https://example.org/hook")).job.id
    assert "pythia.notify" not in installation.doorbells()
    installation.finish(installation.run(job_id), Outcome.COMPLETED, used_s=1.0)
    assert installation.doorbells()[-1] == "pythia.notify"


def test_custom_work_is_forecast_from_what_it_did_before(installation: Installation) -> None:
    installation.predictor = FixedPredictor(startup_s=0.0)  # of custom work it is part of the run time
    for run in range(3):
        submitted = installation.submit(make_custom_spec(runtime_s=600.0))
        assert installation.predictor.histories[-1] == (run or None)
        work = installation.run(submitted.job.id)
        assert work.state is AttemptState.RUNNING
        installation.finish(work, Outcome.COMPLETED, runtime_s=10.0, used_s=10.0)
    chosen = installation.submit(make_custom_spec(runtime_s=600.0)).decision.chosen
    assert chosen is not None
    assert chosen.forecast is not None
    assert chosen.forecast["runtime_s"]["p50"] == pytest.approx(10.0)
