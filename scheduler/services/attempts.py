"""The life of an attempt, as workers tell it: claim, start, run, look, end.

Each function is one short transaction. Whoever calls holds a lease token, and a call with a token that has
expired and gone to another changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from scheduler.domain.attempt import AttemptGlance, AttemptResult, AttemptWork, LogChunk
from scheduler.domain.states import AttemptState, JobState, Outcome
from scheduler.services import pools, shared_machines
from scheduler.services.ending import end_attempt
from scheduler.storage import attempts, events, hosts, jobs, logs, machines
from scheduler.storage.engine import Engine, retried, transaction
from scheduler.storage.ids import new_id


def claim(
    engine: Engine, attempt_id: UUID, *, now: datetime, lease_s: float, host: str | None = None
) -> AttemptWork | None:
    """Take a placed attempt to start it; None where another has it, or another host must, or it has ended."""
    with transaction(engine) as session:
        job = jobs.lock_of_attempt(session, attempt_id)
        if job is None or hosts.of_attempts(session, (attempt_id,)).get(attempt_id, host) != host:
            return None
        if not attempts.claim(session, attempt_id, lease_token=new_id(), now=now, lease_s=lease_s):
            return None
        events.add(
            session, tenant_id=job.tenant_id, job_id=job.id, attempt_id=attempt_id, kind="attempt_claimed", now=now
        )
        return attempts.work(session, attempt_id)


def mark_starting(
    engine: Engine,
    attempt_id: UUID,
    lease_token: UUID,
    handle: Mapping[str, Any],
    *,
    account: str = "",
    simulated: bool = False,
    now: datetime,
    next_poll_at: datetime,
) -> AttemptWork | None:
    """Say that the command is about to be started, and where, on a machine that is the attempt's from now on (or has
    yet to be found); None means: do not start it.

    `account` is where that machine will be, and `simulated` whether it is but drawn. A job whose cancellation was asked
    for meanwhile ends here, before anything runs. `next_poll_at` is when a poll takes over if this worker is not heard
    of again.
    """
    with transaction(engine) as session:
        job = jobs.lock_of_attempt(session, attempt_id)
        if job is None:
            return None
        if job.cancel_requested_at is not None:
            never_ran = AttemptResult(outcome=Outcome.CANCELLED, used_s=0.0, simulated=False)
            end_attempt(session, job, attempt_id, never_ran, now=now, lease_token=lease_token)
            return None
        if not attempts.start(
            session, attempt_id, lease_token=lease_token, handle=handle, now=now, next_poll_at=next_poll_at
        ):
            return None
        jobs.move(session, job, JobState.STARTING, now=now, kind="attempt_starting", attempt_id=attempt_id)
        work = attempts.work(session, attempt_id)
        return replace(work, machine=pools.acquire(session, work, account=account, simulated=simulated, now=now))


def mark_running(
    engine: Engine,
    attempt_id: UUID,
    lease_token: UUID,
    handle: Mapping[str, Any],
    *,
    simulated: bool = False,
    card_id: UUID | None = None,
    began_s: float | None = None,
    now: datetime,
    next_poll_at: datetime,
) -> bool:
    """Keep the handle of what was started; polls look at it from now on. False where another has taken over.

    `began_s` is the reading of its machine's meter then: for those who may share their card, whose time is cut there.
    """
    with transaction(engine) as session:
        job = jobs.lock_of_attempt(session, attempt_id)
        if job is None or not attempts.run(
            session, attempt_id, lease_token=lease_token, handle=handle, now=now, next_poll_at=next_poll_at
        ):
            return False
        if card_id is not None:  # the card's row before the machine's
            shared_machines.begin(session, card_id, attempt_id, began_s, now)
        machines.began(session, attempt_id, simulated=simulated, now=now)
        if job.state is JobState.CANCELLING:  # asked for while it started: the next look stops it
            attempts.hurry(session, attempt_id, now)
            events.add(
                session, tenant_id=job.tenant_id, job_id=job.id, attempt_id=attempt_id, kind="attempt_running", now=now
            )
        else:
            jobs.move(session, job, JobState.RUNNING, now=now, kind="attempt_running", attempt_id=attempt_id)
        return True


def take_poll(engine: Engine, attempt_id: UUID, *, now: datetime, lease_s: float) -> AttemptWork | None:
    """Take a started attempt for one look; None where somebody is looking already or it has ended.

    One that is still `starting` may have lost its worker before or after the start itself: start it again where its
    handle says, backends start an attempt once.
    """
    with transaction(engine) as session:
        if not attempts.lease(session, attempt_id, lease_token=new_id(), now=now, lease_s=lease_s):
            return None
        return attempts.work(session, attempt_id)


def take_polls(
    engine: Engine, attempt_ids: Sequence[UUID], *, now: datetime, lease_s: float
) -> Sequence[AttemptGlance]:
    """Take many started attempts for one look each; those that somebody looks at already are left out."""
    with transaction(engine) as session:
        return attempts.lease_many(session, attempt_ids, lease_token=new_id(), now=now, lease_s=lease_s)


def whole_work(engine: Engine, glance: AttemptGlance) -> AttemptWork | None:
    """All that is known of an attempt that was taken for a look; None where it has gone to another since."""
    with transaction(engine) as session:
        return attempts.work_of_lease(session, glance.attempt_id, glance.lease_token)


def all_still_running(engine: Engine, lease_token: UUID, next_polls: Mapping[UUID, datetime], *, now: datetime) -> None:
    """Nothing has changed with any of these; let their leases go until the next look."""
    with transaction(engine) as session:
        attempts.seen_many(session, next_polls, lease_token=lease_token, now=now)


def renew(engine: Engine, attempt_id: UUID, lease_token: UUID, *, now: datetime, lease_s: float) -> bool:
    """Hold on to the lease while a step takes long; False where it has gone to another."""
    with transaction(engine) as session:
        return attempts.renew(session, attempt_id, lease_token=lease_token, now=now, lease_s=lease_s)


def still_running(
    engine: Engine,
    work: AttemptWork,
    *,
    chunks: Sequence[LogChunk] = (),
    now: datetime,
    next_poll_at: datetime,
) -> bool:
    """Keep what was printed and let the lease go until the next look."""
    with transaction(engine) as session:
        logs.append(session, work.tenant_id, work.attempt_id, chunks, now)
        return attempts.seen(session, work.attempt_id, lease_token=work.lease_token, now=now, next_poll_at=next_poll_at)


def no_word(engine: Engine, work: AttemptWork, *, next_poll_at: datetime) -> bool:
    """Nothing could be learned of it; let the lease go until the next look."""
    with transaction(engine) as session:
        return attempts.look_again(session, work.attempt_id, lease_token=work.lease_token, next_poll_at=next_poll_at)


@retried
def finish(
    engine: Engine,
    attempt_id: UUID,
    result: AttemptResult,
    *,
    now: datetime,
    lease_token: UUID | None = None,
    chunks: Sequence[LogChunk] = (),
) -> bool:
    """Record how an attempt ended, with all that follows from it, in one transaction.

    False where it had ended already, or where `lease_token` is given and is no longer the attempt's: exactly one
    outcome is ever recorded. Capacity is released, the bill closed, the job moved on, and what was measured kept.
    """
    with transaction(engine) as session:
        job = jobs.lock_of_attempt(session, attempt_id)
        if job is None:
            return False
        logs.append(session, job.tenant_id, attempt_id, chunks, now)
        return end_attempt(session, job, attempt_id, result, now=now, lease_token=lease_token)


def state_of(engine: Engine, attempt_id: UUID) -> AttemptState:
    """Where an attempt stands now."""
    with transaction(engine) as session:
        return attempts.get(session, attempt_id).state
