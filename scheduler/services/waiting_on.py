"""Let jobs go on waiting: why each does, when it is decided again, and what others have to reckon with meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler.domain.backfill import Reservation
from scheduler.domain.decision import Wait
from scheduler.domain.verdicts import Code
from scheduler.storage import jobs, queue
from scheduler.storage.engine import Engine, retried, transaction
from scheduler.storage.views import JobView

RECONSIDER_S = (2.0, 60.0)
"""Seconds after which a waiting job is decided again although no capacity was seen to return, at least and at most:
capacity also changes from outside, and a release may have been missed by a hair. In between, a quarter of the time
that it has waited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitsOn:
    """A job whose last decision was that it waits, and whose next one is the same."""

    job: JobView
    decision: Wait
    reserved: Reservation | None
    """The start that is held for it."""


@retried
def wait_on(engine: Engine, waits: Sequence[WaitsOn], *, now: datetime, held_until: datetime) -> None:
    """Note them together: a job may wait for days, and only the first of its waits in a row is worth a record.

    `held_until` is for how long the placer has taken them. One that somebody has changed since, or told to be decided
    again as capacity has returned, is left as it is.
    """
    with transaction(engine) as session:
        still = jobs.lock_taken(session, [one.job.id for one in waits], held_until=held_until)
        left = [one for one in waits if one.job.id in still]
        if not left:
            return
        queue.enter(session, [entry_of(one.job, one.decision, one.reserved, now) for one in left])
        jobs.wait_on(session, {one.job.id: (one.decision.reason, reconsidered_at(one.job, now)) for one in left})


def reconsidered_at(job: JobView, now: datetime) -> datetime:
    """When a job that waits is decided again by itself."""
    soonest, latest = RECONSIDER_S
    return now + timedelta(seconds=min(latest, max(soonest, (now - job.created_at).total_seconds() / 4)))


def entry_of(job: JobView, decision: Wait, held: Reservation | None, now: datetime) -> dict[str, Any]:
    """What others are let know of what a job waits for; a quota is nothing that others could leave to it."""
    stopped_by = decision.considered.candidates[0].verdict.code
    options = decision.options.ranked
    return {
        "job_id": job.id,
        "tenant_id": job.tenant_id,
        "since": job.created_at,
        "decided_at": now,
        "wants": {} if stopped_by in (Code.QUOTA, Code.QUOTA_SPEND) else queue.wants_of(options),
        "options": queue.kept_options(options),
        "reserved_offer_id": None if held is None else held.option.offer_id,
        "reserved_gpus": None if held is None else held.option.gpu_count,
        "reserved_start_at": None if held is None else now + timedelta(seconds=held.start_s),
    }
