"""Decide again for the jobs that wait: capacity has returned, or an attempt ended and may be tried again.

A round weighs a batch of waiting jobs together (`domain/queue_round`) and then carries out one after the other, in
the order of standing. What it weighed may have changed by then; each transaction looks again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from predictor.errors import PythiaError
from predictor.layout import Layout, parse_layout
from scheduler.domain.backfill import Release, Shelf
from scheduler.domain.fair_share import Tenancy, in_standing_order
from scheduler.domain.fit import Tried
from scheduler.domain.placement import find_options
from scheduler.domain.queue_round import Arrangement, Waiting, arrange, record
from scheduler.domain.room import Room
from scheduler.domain.spec import JobSpec, Objective
from scheduler.domain.states import JobState, Outcome
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import Prospect, look_ahead
from scheduler.services.placing import Turn, place
from scheduler.services.standing import rest_of
from scheduler.storage import attempts, jobs, offers, queue, tenants
from scheduler.storage.engine import Engine, Session, reading, transaction
from scheduler.storage.views import AttemptView, JobView

log = structlog.get_logger(__name__)

BATCH = 100
"""Waiting jobs that one round weighs together."""

HOLD_S = 60.0
"""Seconds for which the jobs that a placer has taken are passed by the others; if it dies, they come up again then."""

SOLVE_S = 1.0
"""For the assignment of a round; a batch takes a few hundredths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A job of the round with everything that deciding it takes."""

    job: JobView
    spec: JobSpec
    prospect: Prospect
    tried: tuple[Tried, ...]
    waiting: Waiting


def place_waiting(engine: Engine, knowledge: Knowledge, *, now: datetime, limit: int = BATCH) -> int:
    """Decide for the most urgent waiting jobs that are due; how many were placed."""
    with transaction(engine) as session:
        due = jobs.take_waiting(session, now=now, hold_s=HOLD_S, limit=limit)
    if not due:
        return 0
    with reading(engine) as session:
        found = [job for job_id in due if (job := jobs.find(session, job_id)) is not None]
        standings = tenants.standings(session, list({job.tenant_id for job in found}), now)
    entries = {job.id: entry for job in found if (entry := _enter(engine, knowledge, job, standings, now)) is not None}
    order = in_standing_order([entry.waiting for entry in entries.values()], standings)
    with reading(engine) as session:
        shelves = _shelves(session, now)
    began = time.perf_counter()
    headroom = {tenant: standing.headroom for tenant, standing in standings.items()}
    arrangement = arrange(order, shelves, headroom, seconds=SOLVE_S)
    about = record(arrangement, len(order), time.perf_counter() - began)
    log.info("weighed the waiting jobs", **about)
    return sum(
        _carry_out(engine, entries[waiting.job_id], arrangement, about, frozenset(entries), standings, now)
        for waiting in order
    )


def _enter(
    engine: Engine, knowledge: Knowledge, job: JobView, standings: Mapping[UUID, Tenancy], now: datetime
) -> _Entry | None:
    """Forecast a job; None for one that cannot be read, which must not keep the others waiting."""
    try:
        with reading(engine) as session:
            tried = crashes(attempts.of_job(session, job.tenant_id, job.id))
        spec = JobSpec.model_validate(job.spec)
        prospect = look_ahead(engine, knowledge, spec, job.tenant_id)
        options = find_options(
            spec, prospect.proposals, prospect.forecasts, now=now, spent_micros=job.spent_micros, tried=tried,
            room=Room(headroom=standings[job.tenant_id].headroom),
        )  # fmt: skip
    except PythiaError as error:
        log.warning("could not decide for a waiting job", job_id=str(job.id), reason=str(error))
        return None
    waiting = Waiting(
        job_id=job.id, tenant_id=job.tenant_id, priority=job.priority, options=options.ranked,
        free_to_move=spec.objective is Objective.COST,
    )  # fmt: skip
    return _Entry(job=job, spec=spec, prospect=prospect, tried=tried, waiting=waiting)


def _carry_out(
    engine: Engine,
    entry: _Entry,
    arrangement: Arrangement,
    about: Mapping[str, object],
    beside: frozenset[UUID],
    standings: Mapping[UUID, Tenancy],
    now: datetime,
) -> bool:
    """Place a job as arranged, or let it wait on; whether it was placed."""
    job_id, given = entry.job.id, arrangement.starts.get(entry.job.id)
    held = arrangement.reserved if arrangement.reserved and arrangement.reserved.job_id == job_id else None

    def still_queued(session: Session) -> JobView | None:
        current = jobs.lock(session, job_id)
        unchanged = current is not None and current.state is JobState.QUEUED
        return current if unchanged else None

    room = Room(
        headroom=standings[entry.job.tenant_id].headroom,
        kept={} if held is not None else arrangement.kept,
        assigned=None if given is None else (given.offer_id, given.gpu_count),
    )
    # a job without any option is refused, or waits for its quota: `place` finds out which
    waits = given is None and bool(entry.waiting.options)
    try:
        decided = place(
            engine, entry.spec, entry.prospect, still_queued, now=now, spent_micros=entry.job.spent_micros,
            tried=entry.tried, room=room, turn=Turn(assignment=about, reserved=held, beside=beside, waits=waits),
        )  # fmt: skip
    except PythiaError as error:
        log.warning("could not place a waiting job", job_id=str(job_id), reason=str(error))
        return False
    return decided is not None and decided[0].state is JobState.PLACED


def _shelves(session: Session, now: datetime) -> dict[UUID, Shelf]:
    """What is free of each offer, and when the rest returns at p90."""
    shelves = {offer_id: Shelf(gpus) for offer_id, gpus in offers.free(session).items()}
    for row in queue.running(session):
        rest = rest_of(row, now)
        if rest is not None and row.offer_id in shelves:
            shelves[row.offer_id].releases.append(Release(rest.p90_s, row.gpu_count))
    return shelves


def crashes(made: Sequence[AttemptView]) -> tuple[Tried, ...]:
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
