"""The life of an attempt, as workers tell it: claim, start, run, look, end.

Each function is one short transaction. Whoever calls holds a lease token, and a call with a token that has
expired and gone to another changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from scheduler.domain.attempt import AttemptResult, AttemptWork, LogChunk
from scheduler.domain.states import AttemptState, JobState, Outcome
from scheduler.services.ending import end_attempt
from scheduler.storage import attempts, events, jobs, logs
from scheduler.storage.engine import Engine, Session, transaction
from scheduler.storage.ids import new_id
from scheduler.storage.views import JobView


def claim(engine: Engine, attempt_id: UUID, *, now: datetime, lease_s: float) -> AttemptWork | None:
    """Take a placed attempt to start it; None where another has it or it has ended."""
    with transaction(engine) as session:
        job = _lock_job_of(session, attempt_id)
        if job is None:
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
    now: datetime,
    next_poll_at: datetime,
) -> bool:
    """Say that the command is about to be started, and where; False means: do not start it.

    A job whose cancellation was asked for meanwhile ends here, before anything runs. `next_poll_at` is when a poll
    takes over if this worker is not heard of again.
    """
    with transaction(engine) as session:
        job = _lock_job_of(session, attempt_id)
        if job is None:
            return False
        if job.cancel_requested_at is not None:
            never_ran = AttemptResult(outcome=Outcome.CANCELLED, used_s=0.0, simulated=False)
            end_attempt(session, job, attempt_id, never_ran, now=now, lease_token=lease_token)
            return False
        if not attempts.start(
            session, attempt_id, lease_token=lease_token, handle=handle, now=now, next_poll_at=next_poll_at
        ):
            return False
        jobs.move(session, job, JobState.STARTING, now=now, kind="attempt_starting", attempt_id=attempt_id)
        return True


def mark_running(
    engine: Engine,
    attempt_id: UUID,
    lease_token: UUID,
    handle: Mapping[str, Any],
    *,
    now: datetime,
    next_poll_at: datetime,
) -> bool:
    """Keep the handle of what was started; polls look at it from now on. False where another has taken over."""
    with transaction(engine) as session:
        job = _lock_job_of(session, attempt_id)
        if job is None or not attempts.run(
            session, attempt_id, lease_token=lease_token, handle=handle, now=now, next_poll_at=next_poll_at
        ):
            return False
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


def collected_bytes(engine: Engine, attempt_id: UUID) -> dict[str, int]:
    """Bytes already kept of each stream: where the next collection begins."""
    with transaction(engine) as session:
        return logs.collected_bytes(session, attempt_id)


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
        job = _lock_job_of(session, attempt_id)
        if job is None:
            return False
        logs.append(session, job.tenant_id, attempt_id, chunks, now)
        return end_attempt(session, job, attempt_id, result, now=now, lease_token=lease_token)


def state_of(engine: Engine, attempt_id: UUID) -> AttemptState:
    """Where an attempt stands now."""
    with transaction(engine) as session:
        return attempts.get(session, attempt_id).state


def _lock_job_of(session: Session, attempt_id: UUID) -> JobView | None:
    """Hold the attempt's job, before the attempt: the order in which every transaction locks."""
    job_id = attempts.job_of(session, attempt_id)
    return None if job_id is None else jobs.lock(session, job_id)
