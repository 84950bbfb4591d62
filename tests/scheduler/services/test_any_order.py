"""Whatever workers, users and sweepers call, in whatever order: the states stay legal and nothing is held twice."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.domain.attempt import AttemptResult, AttemptWork
from scheduler.domain.states import FINAL_JOB_STATES, AttemptState, JobState, Outcome, can_move
from scheduler.services import attempts, jobs
from scheduler.services.cancel import cancel_job
from scheduler.storage.tables import DEFAULT_TENANT
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_spec

CALLS = ("claim", "start", "run", "look", "seen", "renew", "cancel", "place", "wait a minute", *Outcome)
TOGETHER = {
    JobState.PLACED: {AttemptState.RESERVED, AttemptState.CLAIMED},
    JobState.STARTING: {AttemptState.STARTING},
    JobState.RUNNING: {AttemptState.RUNNING},
    JobState.CANCELLING: {AttemptState.CLAIMED, AttemptState.STARTING, AttemptState.RUNNING},
}
"""What a live attempt may be while its job is in a state; in any other, all its attempts have ended."""


class Worker:
    """Holds the last lease it was given, and calls without caring whether it may."""

    def __init__(self, installation: Installation, job_id: UUID) -> None:
        self.installation, self.job_id = installation, job_id
        self.work: AttemptWork | None = None

    def call(self, name: str) -> None:
        world, engine = self.installation, self.installation.engine
        attempt = world.attempts(self.job_id)[-1]
        token = self.work.lease_token if self.work else UUID(int=0)
        soon = world.now + timedelta(seconds=1)
        match name:
            case "claim":
                self.work = attempts.claim(engine, attempt.id, now=world.now, lease_s=30) or self.work
            case "start":
                attempts.mark_starting(engine, attempt.id, token, {}, now=world.now, next_poll_at=soon)
            case "run":
                attempts.mark_running(engine, attempt.id, token, {}, now=world.now, next_poll_at=soon)
            case "look":
                self.work = attempts.take_poll(engine, attempt.id, now=world.now, lease_s=30) or self.work
            case "seen" if self.work is not None:
                attempts.still_running(engine, self.work, now=world.now, next_poll_at=soon)
            case "renew":
                attempts.renew(engine, attempt.id, token, now=world.now, lease_s=30)
            case "cancel":
                cancel_job(engine, DEFAULT_TENANT, self.job_id, now=world.now)
            case "place":
                world.place_waiting()
            case "wait a minute":
                world.later(60)
            case _ if name in set(Outcome) and attempt.state in (AttemptState.STARTING, AttemptState.RUNNING):
                result = AttemptResult(outcome=Outcome(name), used_s=10.0, simulated=True)
                attempts.finish(engine, attempt.id, result, now=world.now)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(CALLS), max_size=20))
def test_any_order_of_calls_leaves_a_job_whole(installation: Installation, order: list[str]) -> None:
    with installation.engine.begin() as connection:  # the database outlives an example
        connection.exec_driver_sql("TRUNCATE jobs, outbox CASCADE; UPDATE offers SET reserved_gpus = 0")
    job_id = installation.submit(make_spec(max_attempts=2)).job.id
    worker = Worker(installation, job_id)
    for name in order:
        worker.call(name)
        job, tries = installation.job(job_id), installation.attempts(job_id)
        live = [attempt.state for attempt in tries if attempt.state is not AttemptState.ENDED]
        assert len(live) <= 1
        assert set(live) <= TOGETHER.get(job.state, set())
        assert (job.state in TOGETHER) == bool(live)
        assert installation.reserved() == sum(attempt.gpu_count for attempt in tries if attempt.outcome is None)
        assert job.spent_micros == sum(attempt.cost_micros or 0 for attempt in tries)
        assert len(tries) == job.attempts_made <= 2
        assert (job.ended_at is not None) == (job.state in FINAL_JOB_STATES)
    _assert_legal_history(installation, job_id)


def _assert_legal_history(installation: Installation, job_id: UUID) -> None:
    moves = [
        (JobState(event.from_state), JobState(event.to_state))
        for event in jobs.list_events(installation.engine, DEFAULT_TENANT, job_id)
        if event.from_state is not None and event.to_state is not None
    ]
    assert all(can_move(before, after) for before, after in moves)
    assert all(one[1] == other[0] for one, other in pairwise(moves))
    last = moves[-1][1] if moves else JobState.QUEUED
    assert installation.job(job_id).state is last
