"""Submit a job: forecast, decide, then store job, decision, reservation and doorbell in one transaction."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scheduler.domain.errors import IdempotencyConflict, InvalidSpec
from scheduler.domain.spec import JobSpec
from scheduler.services.describe import spec_as_sent
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import look_ahead
from scheduler.services.placing import place
from scheduler.storage import decisions, events, jobs
from scheduler.storage.engine import Engine, Session, transaction
from scheduler.storage.ids import new_id
from scheduler.storage.views import DecisionView, JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A job with its first decision."""

    job: JobView
    decision: DecisionView
    replayed: bool
    """The idempotency key was used before for the same spec: this is the job of then, as it stands now."""


def submit_job(
    engine: Engine,
    knowledge: Knowledge,
    spec: JobSpec,
    *,
    tenant_id: UUID,
    now: datetime,
    idempotency_key: str | None = None,
) -> Submitted:
    """Store a job with its decision, whatever its kind; IdempotencyConflict where the key belongs to another spec."""
    if spec.run is None:
        raise InvalidSpec("run is missing: a job that is submitted needs run.command; `pythia plan` can do without")
    sent = spec_as_sent(spec)
    sha256 = hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()
    before = _replay(engine, tenant_id, idempotency_key, sha256)
    if before is not None:
        return before

    def add(session: Session) -> JobView | None:
        job = jobs.add(
            session, job_id=new_id(), tenant_id=tenant_id, name=spec.name, spec=sent, spec_sha256=sha256,
            priority=spec.priority, max_attempts=spec.max_attempts, idempotency_key=idempotency_key, now=now,
        )  # fmt: skip
        if job is not None:
            events.add(session, tenant_id=tenant_id, job_id=job.id, kind="job_submitted", to_state=job.state, now=now)
        return job

    prospect = look_ahead(engine, knowledge, spec, tenant_id)
    placed = place(engine, spec, prospect, add, now=now)
    if placed is None:  # the same key was submitted at the same time, and the other was first
        replayed = _replay(engine, tenant_id, idempotency_key, sha256)
        assert replayed is not None  # noqa: S101 - only a taken key keeps a job from being added
        return replayed
    job, decision = placed
    return Submitted(job=job, decision=decision, replayed=False)


def _replay(engine: Engine, tenant_id: UUID, idempotency_key: str | None, sha256: str) -> Submitted | None:
    if idempotency_key is None:
        return None
    with transaction(engine) as session:
        found = jobs.find_by_key(session, tenant_id, idempotency_key)
        if found is None:
            return None
        job, sha256_then = found
        if sha256_then != sha256:
            raise IdempotencyConflict(
                f"Idempotency-Key {idempotency_key!r} was used for another job spec; use a new key for a new job"
            )
        made = decisions.of_job(session, tenant_id, job.id)
    if not made:
        raise IdempotencyConflict(
            f"Idempotency-Key {idempotency_key!r} made job {job.id}, whose decision was dropped since; use a new key"
        )
    return Submitted(job=job, decision=made[0], replayed=True)
