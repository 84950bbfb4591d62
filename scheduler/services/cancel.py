"""Cancel a job: at once where nothing runs yet, else as a flag that the next look obeys."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from scheduler.domain.attempt import AttemptResult
from scheduler.domain.errors import NotFound
from scheduler.domain.states import FINAL_JOB_STATES, AttemptState, JobState, Outcome
from scheduler.services.ending import announce, end_attempt
from scheduler.storage import attempts, jobs
from scheduler.storage.engine import Engine, transaction
from scheduler.storage.views import JobView


def cancel_job(engine: Engine, tenant_id: UUID, job_id: UUID, *, now: datetime) -> JobView:
    """Ask for a job to be stopped; asking again, or for a job that has ended, changes nothing."""
    with transaction(engine) as session:
        job = jobs.lock(session, job_id)
        if job is None or job.tenant_id != tenant_id:
            raise NotFound("job", job_id)
        if job.state in FINAL_JOB_STATES or job.cancel_requested_at is not None:
            return job
        jobs.change(session, job_id, cancel_requested_at=now)
        job = jobs.get(session, tenant_id, job_id)
        if job.state is JobState.QUEUED:
            job = jobs.move(
                session, job, JobState.CANCELLED, now=now, kind="job_cancelled", reason="cancelled by its user"
            )
            announce(session, job)
            return job
        attempt_id = attempts.live_of(session, job_id)
        if attempt_id is not None and attempts.lock(session, attempt_id).view.state is AttemptState.RESERVED:
            never_ran = AttemptResult(outcome=Outcome.CANCELLED, used_s=0.0, simulated=False)
            end_attempt(session, job, attempt_id, never_ran, now=now)
            return jobs.get(session, tenant_id, job_id)
        if attempt_id is not None:
            attempts.hurry(session, attempt_id, now)
        return jobs.move(
            session, job, JobState.CANCELLING, now=now, kind="job_cancelling", reason="its user asked to stop it",
            attempt_id=attempt_id,
        )  # fmt: skip
