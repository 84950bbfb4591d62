"""The end of an attempt: outcome, capacity, bill, job, lesson and doorbells, all in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from scheduler.dispatch import NOTIFY, PLACE_WAITING, QUEUE_OF
from scheduler.domain.attempt import AttemptResult
from scheduler.domain.money import usd_to_micros
from scheduler.domain.settlement import Bill, bill, settle
from scheduler.domain.spec import Constraints
from scheduler.domain.states import FINAL_JOB_STATES, AttemptState, JobState
from scheduler.domain.teaching import observation_body
from scheduler.services import pools, shared_machines
from scheduler.storage import attempts, cards, events, jobs, machines, observations, outbox, reservations
from scheduler.storage.attempts import LockedAttempt
from scheduler.storage.engine import Session
from scheduler.storage.views import JobView

HURRIED = 20
"""Waiting jobs that a release of capacity wakes; the others come up again by themselves."""


def end_attempt(
    session: Session,
    job: JobView,
    attempt_id: UUID,
    result: AttemptResult,
    *,
    now: datetime,
    lease_token: UUID | None = None,
) -> bool:
    """End an attempt of a job that this transaction holds; False where it has ended, or the lease is another's."""
    attempt = attempts.lock(session, attempt_id)
    if attempt.view.state is AttemptState.ENDED or lease_token not in (None, attempt.lease_token):
        return False
    card_id, card, holder, shared = attempt.view.card_id, None, None, False
    if card_id is not None:
        card = shared_machines.leave(session, cards.lock(session, card_id), attempt_id, result, now)
        holder = cards.next_holder(session, card_id, but=attempt_id)
        shared = cards.had_company(session, card_id, attempt_id, since=attempt.view.reserved_at)
    reservations.release(session, attempt_id, now, heir=holder)
    if card is not None:
        used_s = _used_s(attempt, result, now)
        closed = shared_machines.close(session, card, attempt, job.id, result, used_s=used_s, holder=holder, now=now)
    else:
        closed = _close(session, job, attempt, result, now)
    attempts.end(session, attempt_id, result, bill=closed, now=now, shared=shared)
    spent = job.spent_micros + closed.cost_micros
    settled = settle(
        result.outcome,
        result.reason,
        cancel_requested=job.cancel_requested_at is not None,
        attempts_made=job.attempts_made,
        max_attempts=job.max_attempts,
        spent_micros=spent,
        max_cost_micros=_budget(job.spec),
    )
    events.add(
        session, tenant_id=job.tenant_id, job_id=job.id, attempt_id=attempt_id, kind="attempt_ended", now=now,
        data={"outcome": result.outcome, "exit_code": result.exit_code, "reason": result.reason,
              "billed_s": closed.billed_s, "cost_micros": closed.cost_micros, "simulated": result.simulated},
    )  # fmt: skip
    moved = jobs.move(
        session, job, settled.job_state, now=now, kind=f"job_{settled.job_state}", reason=settled.reason,
        attempt_id=attempt_id, spent_micros=spent, simulated=job.simulated or result.simulated,
        next_decision_at=now if settled.job_state is JobState.QUEUED else None,
    )  # fmt: skip
    _teach(session, job, attempt, result, now, shared=shared)
    _ring(session, moved, now)
    return True


def announce(session: Session, job: JobView) -> None:
    """A job has ended: tell whoever asked to be told."""
    if job.spec.get("webhook_url"):
        outbox.ring(session, NOTIFY, QUEUE_OF[NOTIFY], job_id=job.id)


def _ring(session: Session, job: JobView, now: datetime) -> None:
    if job.state in FINAL_JOB_STATES:
        announce(session, job)
    if job.state is JobState.QUEUED or jobs.hurry_waiting(session, now=now, limit=HURRIED):
        outbox.ring(session, PLACE_WAITING, QUEUE_OF[PLACE_WAITING])


def _close(session: Session, job: JobView, attempt: LockedAttempt, result: AttemptResult, now: datetime) -> Bill:
    """What the attempt costs, booked on its machine; one from before machines were kept has its own bill."""
    used_s = _used_s(attempt, result, now)
    machine = machines.lock_of_attempt(session, attempt.view.id)
    if machine is not None:
        return pools.let_go(session, machine, job.id, result, used_s=used_s, now=now)
    return bill(
        used_s,
        gpu_count=attempt.view.gpu_count,
        micros_per_gpu_hour=attempt.view.micros_per_gpu_hour,
        billing_increment_s=attempt.billing_increment_s,
        minimum_s=attempt.minimum_s,
    )


def _used_s(attempt: LockedAttempt, result: AttemptResult, now: datetime) -> float:
    """Seconds the machine was held: as the backend says, else the wall clock since the claim."""
    if result.used_s is not None:
        return result.used_s
    claimed = attempt.view.claimed_at
    return 0.0 if claimed is None else max(0.0, (now - claimed).total_seconds())


def _budget(spec: Mapping[str, Any]) -> int | None:
    """The job's max_cost_usd; read through the spec's own type, since JSON may hold it as text or number."""
    limit = Constraints.model_validate(spec.get("constraints") or {}).max_cost_usd
    return None if limit is None else usd_to_micros(limit)


def _teach(
    session: Session, job: JobView, attempt: LockedAttempt, result: AttemptResult, now: datetime, *, shared: bool
) -> None:
    view = attempt.view
    body = observation_body(
        view.id, result, forecast=view.forecast, workload=job.spec["workload"], gpu_type=view.gpu_type,
        layout=view.layout, shared=shared,
    )  # fmt: skip
    if body is not None:
        observations.add(session, tenant_id=job.tenant_id, body=body, attempt_id=view.id, now=now)
