"""Read jobs and what belongs to them, for one tenant only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from scheduler.domain.states import FINAL_JOB_STATES, JobState
from scheduler.storage import attempts, decisions, events, jobs, logs
from scheduler.storage.engine import Engine, at_once, reading
from scheduler.storage.views import AttemptView, DecisionView, EventView, JobView, LogView


def get_job(engine: Engine, tenant_id: UUID, job_id: UUID) -> JobView:
    """One job, or NotFound."""
    with reading(engine) as session:
        return jobs.get(session, tenant_id, job_id)


def list_jobs(
    engine: Engine,
    tenant_id: UUID,
    *,
    states: Sequence[JobState] = (),
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[JobView]:
    """Jobs, newest first; the last id of a page is `before` of the next."""
    with reading(engine) as session:
        return jobs.page(session, tenant_id, states=tuple(states), name=name, labels=labels, before=before, limit=limit)


def list_decisions(engine: Engine, tenant_id: UUID, job_id: UUID) -> list[DecisionView]:
    """Every decision on a job with its candidates, first to last."""
    with reading(engine) as session:
        jobs.get(session, tenant_id, job_id)
        return decisions.of_job(session, tenant_id, job_id)


def list_attempts(engine: Engine, tenant_id: UUID, job_id: UUID) -> list[AttemptView]:
    """Every try at a job, first to last."""
    with reading(engine) as session:
        jobs.get(session, tenant_id, job_id)
        return attempts.of_job(session, tenant_id, job_id)


def list_events(engine: Engine, tenant_id: UUID, job_id: UUID, *, after: int = 0, limit: int = 1000) -> list[EventView]:
    """What happened to a job, oldest first, after an event's id."""
    with reading(engine) as session:
        jobs.get(session, tenant_id, job_id)
        return events.of_job(session, tenant_id, job_id, after=after, limit=limit)


def read_logs(engine: Engine, tenant_id: UUID, job_id: UUID, *, after: int = 0, limit: int = 500) -> list[LogView]:
    """What a job printed, over all its attempts, after a chunk's id."""
    with reading(engine) as session:
        jobs.get(session, tenant_id, job_id)
        return logs.of_job(session, tenant_id, job_id, after=after, limit=limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job has come, as far as its followers care."""

    ended: bool
    last_log_id: int
    """0 where it has printed nothing."""


def progress_of(engine: Engine, job_ids: Sequence[UUID]) -> dict[UUID, Progress]:
    """The progress of many jobs at one moment; of those that are there. Whose they are is the caller's to know."""
    with at_once(engine) as session:
        found = logs.last_of_jobs(session, job_ids)
    return {
        job_id: Progress(ended=JobState(state) in FINAL_JOB_STATES, last_log_id=last or 0)
        for job_id, state, last in found
    }
