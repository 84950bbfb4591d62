"""What a webhook is told, and when it is tried again."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from scheduler.dispatch import NOTIFY, QUEUE_OF
from scheduler.storage import jobs, outbox
from scheduler.storage.engine import Engine, transaction
from scheduler.storage.views import JobView


def to_be_told(engine: Engine, job_id: UUID) -> tuple[str, JobView] | None:
    """The webhook of a job and the job as it stands; None where nobody asked to be told, or the job is gone."""
    with transaction(engine) as session:
        job = jobs.find(session, job_id)
    url = None if job is None else job.spec.get("webhook_url")
    return None if job is None or not url else (str(url), job)


def tell_later(engine: Engine, job_id: UUID, *, tries: int, at: datetime) -> None:
    """Ring for the webhook again, not before a time; the doorbell says how often it was tried."""
    with transaction(engine) as session:
        outbox.ring(session, NOTIFY, QUEUE_OF[NOTIFY], not_before=at, job_id=job_id, tries=tries)
