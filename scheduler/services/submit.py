"""Submit a job: forecast, decide, then store job, decision, reservation and doorbell in one transaction."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scheduler.domain.errors import IdempotencyConflict, InvalidSpec
from scheduler.domain.spec import JobSpec
from scheduler.services.deciding import decide_first
from scheduler.services.describe import spec_as_sent
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import Prospect, look_ahead
from scheduler.services.placing import place
from scheduler.services.placing_new import Draft, place_new
from scheduler.services.secrets import check_secrets
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
    sha256 = checked_sha256(spec)
    before = replay(engine, tenant_id, idempotency_key, sha256)
    if before is not None:
        return before
    check_secrets(engine, tenant_id, spec)
    prospect = look_ahead(engine, knowledge, spec, tenant_id, now=now)
    draft = Draft(
        spec=spec, sha256=sha256, tenant_id=tenant_id, idempotency_key=idempotency_key, now=now,
        decided=decide_first(knowledge, spec, prospect, now=now), shares=prospect.proposals.inventory.shares,
    )  # fmt: skip
    made = place_new(engine, knowledge.memory, [draft])
    if made is not None:
        ((job, decision),) = made
        return Submitted(job=job, decision=decision, replayed=False)
    return submit_draft(engine, draft, prospect)


def submit_draft(engine: Engine, draft: Draft, prospect: Prospect) -> Submitted:
    """Store a job step by step with what was decided on it, or with what has to be decided now instead."""
    spec, tenant_id, now = draft.spec, draft.tenant_id, draft.now

    def add(session: Session) -> JobView | None:
        job = jobs.add(
            session, job_id=new_id(), tenant_id=tenant_id, name=spec.name, spec=draft.decided.view.spec,
            spec_sha256=draft.sha256, priority=spec.priority, max_attempts=spec.max_attempts,
            idempotency_key=draft.idempotency_key, now=now,
        )  # fmt: skip
        if job is not None:
            events.add(session, tenant_id=tenant_id, job_id=job.id, kind="job_submitted", to_state=job.state, now=now)
        return job

    made = place(engine, spec, prospect, add, now=now, first=draft.decided)
    if made is None:  # the same key was submitted at the same time, and the other was first
        replayed = replay(engine, tenant_id, draft.idempotency_key, draft.sha256)
        assert replayed is not None  # noqa: S101 - only a taken key keeps a job from being added
        return replayed
    job, decision = made
    return Submitted(job=job, decision=decision, replayed=False)


def checked_sha256(spec: JobSpec) -> str:
    """The digest of a spec that may be submitted."""
    if spec.run is None:
        raise InvalidSpec("run is missing: a job that is submitted needs run.command; `pythia plan` can do without")
    return hashlib.sha256(json.dumps(spec_as_sent(spec), sort_keys=True).encode()).hexdigest()


def replay(engine: Engine, tenant_id: UUID, idempotency_key: str | None, sha256: str) -> Submitted | None:
    """What a key was used for before; None where it is new, or there is none."""
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
