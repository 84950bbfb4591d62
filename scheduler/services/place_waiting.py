"""Decide again for the jobs that wait: capacity has returned, or an attempt ended and may be tried again."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog

from predictor.errors import PythiaError
from predictor.layout import Layout, parse_layout
from scheduler.domain.fit import Tried
from scheduler.domain.spec import JobSpec
from scheduler.domain.states import JobState, Outcome
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import look_ahead
from scheduler.services.placing import place
from scheduler.storage import attempts, jobs
from scheduler.storage.engine import Engine, Session, transaction
from scheduler.storage.views import AttemptView, JobView

log = structlog.get_logger(__name__)

HOLD_S = 60.0
"""Seconds for which the jobs that a placer has taken are passed by the others; if it dies, they come up again then."""


def place_waiting(engine: Engine, knowledge: Knowledge, *, now: datetime, limit: int = 20) -> int:
    """Decide for the most urgent waiting jobs that are due; how many were placed."""
    with transaction(engine) as session:
        due = jobs.take_waiting(session, now=now, hold_s=HOLD_S, limit=limit)
    placed = 0
    for job_id in due:
        try:
            placed += _place(engine, knowledge, job_id, now)
        except PythiaError as error:  # one job that cannot be read must not keep the others waiting
            log.warning("could not decide for a waiting job", job_id=str(job_id), reason=str(error))
    return placed


def _place(engine: Engine, knowledge: Knowledge, job_id: UUID, now: datetime) -> bool:
    with transaction(engine) as session:
        job = jobs.lock(session, job_id)
        if job is None or job.state is not JobState.QUEUED:
            return False
        made = attempts.of_job(session, job.tenant_id, job_id)
    spec = JobSpec.model_validate(job.spec)
    prospect = look_ahead(engine, knowledge, spec, job.tenant_id)

    def still_queued(session: Session) -> JobView | None:
        current = jobs.lock(session, job_id)
        unchanged = current is not None and current.state is JobState.QUEUED
        return current if unchanged else None

    decided = place(engine, spec, prospect, still_queued, now=now, spent_micros=job.spent_micros, tried=crashes(made))
    return decided is not None and decided[0].state is JobState.PLACED


def crashes(made: list[AttemptView]) -> tuple[Tried, ...]:
    """Where a job has run out of memory, and what was expected of it there."""
    return tuple(
        Tried(
            gpu_type=attempt.gpu_type,
            layout=_layout(attempt),
            usable_gib=attempt.forecast.get("usable_vram_gib"),
            need_p50_gib=(attempt.forecast.get("peak_vram_gib") or {}).get("p50"),
        )
        for attempt in made
        if attempt.outcome is Outcome.OUT_OF_MEMORY
    )


def _layout(attempt: AttemptView) -> Layout:
    layout = parse_layout(attempt.layout)
    return layout if isinstance(layout, Layout) else Layout(gpu_count=layout, data_parallel=layout)
