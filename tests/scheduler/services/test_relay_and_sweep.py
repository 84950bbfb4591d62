"""Doorbells reach the broker at least once, whatever dies in between; what falls through is found."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from scheduler.broker import QueueKind
from scheduler.dispatch import LAUNCH, PLACE_WAITING, POLL, RECONCILE, SWEEP, Arguments
from scheduler.domain.states import JobState, Outcome
from scheduler.services import attempts, relay
from scheduler.services.relay import CLAIM_S, PLACER_REST_S, RING_AGAIN_S, Relay
from scheduler.services.sweep import UNCLAIMED_S, Swept, lose, sweep
from scheduler.storage import outbox
from scheduler.storage.engine import transaction
from tests.scheduler.services.conftest import Installation
from tests.support.dispatcher import BrokenDispatcher, RecordingDispatcher
from tests.support.offers import make_offer, make_spec


def carrier(installation: Installation, dispatcher: RecordingDispatcher) -> Relay:
    return Relay(installation.engine, dispatcher)


def tasks(dispatcher: RecordingDispatcher) -> list[str]:
    return [task for task, _, _ in dispatcher.sent if task != SWEEP]


def test_a_placement_is_rung_once_with_the_attempts_id(installation: Installation) -> None:
    job_id = installation.submit(make_spec()).job.id
    dispatcher = RecordingDispatcher()
    relaying = carrier(installation, dispatcher)
    relaying.step(installation.now)
    relaying.step(installation.now)
    launches: list[tuple[str, QueueKind, Arguments]] = [sent for sent in dispatcher.sent if sent[0] == LAUNCH]
    assert launches == [(LAUNCH, "dispatch", {"attempt_id": str(installation.attempts(job_id)[0].id)})]


def test_a_broker_that_fails_keeps_the_doorbell_for_the_next_try(installation: Installation) -> None:
    installation.submit(make_spec())
    with pytest.raises(ConnectionError):
        carrier(installation, BrokenDispatcher()).step(installation.now)
    dispatcher = RecordingDispatcher()
    carrier(installation, dispatcher).step(installation.now)
    assert LAUNCH in tasks(dispatcher)


def test_those_who_place_are_rung_at_once_and_then_for_several_together(installation: Installation) -> None:
    def ring(times: int) -> None:
        with transaction(installation.engine) as session:
            for _ in range(times):
                outbox.ring(session, PLACE_WAITING, "maintenance")

    dispatcher = RecordingDispatcher()
    relaying = carrier(installation, dispatcher)
    ring(3)
    relaying.step(installation.now)
    assert tasks(dispatcher).count(PLACE_WAITING) == 1
    ring(2)
    relaying.step(installation.now)
    assert tasks(dispatcher).count(PLACE_WAITING) == 1
    assert not relaying.has_mail(installation.now)
    assert relaying.has_mail(installation.later(PLACER_REST_S))
    relaying.step(installation.now)
    relaying.step(installation.later(PLACER_REST_S))
    assert tasks(dispatcher).count(PLACE_WAITING) == 2


def test_a_broker_that_fails_keeps_the_ring_for_those_who_place(installation: Installation) -> None:
    broken = BrokenDispatcher()
    relaying = carrier(installation, broken)
    with transaction(installation.engine) as session:
        outbox.ring(session, PLACE_WAITING, "maintenance")
    with pytest.raises(ConnectionError):
        relaying.step(installation.now)
    relaying.dispatcher = dispatcher = RecordingDispatcher()
    relaying.step(installation.later(1))
    assert PLACE_WAITING in tasks(dispatcher)


def test_what_a_dead_relay_had_taken_is_taken_over(installation: Installation) -> None:
    installation.submit(make_spec())
    with transaction(installation.engine) as session:  # as a relay that dies before it has published
        until = installation.now + timedelta(seconds=CLAIM_S)
        assert len(outbox.claim(session, now=installation.now, until=until, limit=10)) == 1
    dispatcher = RecordingDispatcher()
    carrier(installation, dispatcher).step(installation.now)
    assert LAUNCH not in tasks(dispatcher)
    installation.later(CLAIM_S)
    carrier(installation, dispatcher).step(installation.now)
    assert LAUNCH in tasks(dispatcher)


def test_a_doorbell_for_later_waits_for_its_time(installation: Installation) -> None:
    with transaction(installation.engine) as session:
        outbox.ring(session, LAUNCH, "dispatch", not_before=installation.now + timedelta(seconds=5), attempt_id="x")
    dispatcher = RecordingDispatcher()
    carrier(installation, dispatcher).step(installation.now)
    assert tasks(dispatcher) == []
    carrier(installation, dispatcher).step(installation.later(5))
    assert tasks(dispatcher) == [LAUNCH]


def test_a_running_attempt_is_rung_when_its_next_look_is_due(installation: Installation) -> None:
    work = installation.run(installation.submit(make_spec()).job.id)
    later = installation.now + timedelta(seconds=1)
    attempts.still_running(installation.engine, work, now=installation.now, next_poll_at=later)
    dispatcher = RecordingDispatcher()
    relaying = carrier(installation, dispatcher)
    relaying.step(installation.now)
    assert POLL not in tasks(dispatcher)
    relaying.step(installation.later(1))
    relaying.step(installation.now)
    assert tasks(dispatcher).count(POLL) == 1
    relaying.step(installation.later(RING_AGAIN_S))  # nobody answered: the broker lost it
    assert tasks(dispatcher).count(POLL) == 2


def test_the_placer_is_rung_only_while_a_waiting_job_is_due(installation: Installation) -> None:
    dispatcher = RecordingDispatcher()
    relaying = carrier(installation, dispatcher)
    relaying.step(installation.now)
    assert PLACE_WAITING not in tasks(dispatcher)
    spec = make_spec(constraints={"gpu_types": ["L40S"], "gpu_count": 8})
    installation.submit(spec)
    installation.submit(spec)
    relaying.step(installation.later(60))
    assert PLACE_WAITING in tasks(dispatcher)


def test_the_loop_outlives_a_broker_that_is_away(installation: Installation) -> None:
    installation.submit(make_spec())
    rests: list[float] = []

    def rest(seconds: float) -> bool:
        rests.append(seconds)
        return len(rests) == 3

    relay.run(carrier(installation, BrokenDispatcher()), interval_s=0.05, clock=lambda: installation.now, rest=rest)
    assert rests == [0.4, 0.8, 1.6]


def swept(installation: Installation) -> Swept:
    return sweep(installation.engine, now=installation.now, lost_after_s=300)


def test_a_placed_attempt_that_nobody_claims_is_rung_again(installation: Installation) -> None:
    attempt_id = installation.attempts(installation.submit(make_spec()).job.id)[0].id
    assert swept(installation).rung_again == ()
    installation.later(UNCLAIMED_S)
    assert swept(installation).rung_again == (attempt_id,)
    assert installation.doorbells() == [LAUNCH, LAUNCH]


def test_a_claim_that_came_to_nothing_is_rung_again(installation: Installation) -> None:
    attempt_id = installation.attempts(installation.submit(make_spec()).job.id)[0].id
    attempts.claim(installation.engine, attempt_id, now=installation.now, lease_s=60)
    installation.later(59)
    assert swept(installation).rung_again == ()
    installation.later(1)
    assert swept(installation).rung_again == (attempt_id,)


def test_a_silent_attempt_is_named_and_once_given_up_its_job_is_placed_again(installation: Installation) -> None:
    job_id = installation.submit(make_spec()).job.id
    work = installation.run(job_id)
    assert swept(installation).silent == ()
    installation.later(301)
    assert swept(installation).silent == (work.attempt_id,)
    assert lose(installation.engine, work.attempt_id, now=installation.now, simulated=False, reason="no word")
    assert not lose(installation.engine, work.attempt_id, now=installation.now, simulated=False, reason="no word")
    assert installation.attempts(job_id)[0].outcome is Outcome.LOST
    assert installation.job(job_id).state is JobState.QUEUED
    assert installation.reserved() == 0


def test_capacity_that_nobody_holds_is_noticed_and_set_right(installation: Installation) -> None:
    installation.sell(make_offer("A100-80GB-SXM"))
    installation.submit(make_spec())
    assert swept(installation).imbalances == ()
    with installation.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE offers SET reserved_gpus = 5 WHERE gpu_type = 'A100-80GB-SXM'")
    held = installation.reserved() - 5
    assert [(found.counted, found.held) for found in swept(installation).imbalances] == [(5, 0)]
    assert swept(installation).imbalances == ()
    assert installation.reserved() == held == 1


@pytest.mark.parametrize("counted", [True, False])
def test_capacity_that_an_ended_attempt_still_holds_is_released(installation: Installation, counted: bool) -> None:
    work = installation.run(installation.submit(make_spec()).job.id)
    running = installation.run(installation.submit(make_spec()).job.id)
    installation.finish(work, Outcome.COMPLETED)
    assert (swept(installation).leaked, installation.reserved()) == ((), 1)
    with installation.engine.begin() as connection:
        reopen = sa.text("UPDATE reservations SET released_at = NULL WHERE attempt_id = :attempt RETURNING offer_id")
        offer_id = connection.execute(reopen, {"attempt": work.attempt_id}).scalar_one()
        if counted:
            count = sa.text("UPDATE offers SET reserved_gpus = reserved_gpus + 1 WHERE id = :offer")
            connection.execute(count, {"offer": offer_id})
    found = swept(installation)
    assert (found.leaked, len(found.imbalances)) == ((work.attempt_id,), 0 if counted else 1)
    assert (swept(installation).leaked, swept(installation).imbalances) == ((), ())
    assert installation.reserved() == 1
    assert installation.finish(running, Outcome.COMPLETED)
    assert installation.reserved() == 0


def test_what_is_rung_again_and_again_expires_and_what_is_rung_once_does_not(installation: Installation) -> None:
    work = installation.run(installation.submit(make_spec()).job.id)
    attempts.still_running(installation.engine, work, now=installation.now, next_poll_at=installation.now)
    installation.submit(make_spec(constraints={"gpu_types": ["L40S"], "gpu_count": 8}))
    dispatcher = RecordingDispatcher()
    relaying = Relay(installation.engine, dispatcher, sweep_interval_s=60.0, reconcile_interval_s=2.0)
    relaying.step(installation.now)
    installation.submit(make_spec(constraints={"gpu_types": ["L40S"], "gpu_count": 8}))
    relaying.step(installation.later(60))
    expiries = {task: after_s for (task, _, _), after_s in zip(dispatcher.sent, dispatcher.expiries, strict=True)}
    shortest = relay.SHORTEST_EXPIRY_S
    assert expiries == {
        LAUNCH: None, POLL: max(shortest, 2 * RING_AGAIN_S), SWEEP: shortest, RECONCILE: shortest,
        PLACE_WAITING: shortest,
    }  # fmt: skip
