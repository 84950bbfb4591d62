"""Decide again for the jobs that wait: capacity has returned, or an attempt ended and may be tried again.

A round weighs a batch of waiting jobs together (`domain/queue_round`), those that are alike by one look, and then
carries out one after the other, in the order of standing. What it weighed may have changed by then; each transaction
looks again. Those that go on waiting are noted together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from predictor.errors import PythiaError
from scheduler.domain.backfill import Release, Shelf
from scheduler.domain.fair_share import Tenancy, in_standing_order
from scheduler.domain.queue_round import Arrangement, arrange, record
from scheduler.domain.room import Room
from scheduler.domain.states import JobState
from scheduler.services.knowledge import Knowledge
from scheduler.services.placing import Turn, place
from scheduler.services.standing import coming_back
from scheduler.services.waiting_on import WaitsOn, wait_on
from scheduler.services.weighing import Entry, Weighing
from scheduler.storage import jobs, offers, queue, tenants
from scheduler.storage.engine import Engine, Session, reading, transaction
from scheduler.storage.views import JobView

log = structlog.get_logger(__name__)

BATCH = 100
"""Waiting jobs that one round weighs together."""

HOLD_S = 60.0
"""Seconds for which the jobs that a placer has taken are passed by the others; if it dies, they come up again then."""

SOLVE_S = 1.0
"""For the assignment of a round; a batch takes a few hundredths."""


def place_waiting(engine: Engine, knowledge: Knowledge, *, now: datetime, limit: int = BATCH) -> int:
    """Decide for the most urgent waiting jobs that are due; how many were placed."""
    with transaction(engine) as session:
        due = jobs.take_waiting(session, now=now, hold_s=HOLD_S, limit=limit)
    if not due:
        return 0
    with reading(engine) as session:
        found = jobs.find_all(session, due)
        standings = tenants.standings(session, list({job.tenant_id for job in found}), now)
    weighing = Weighing(engine=engine, knowledge=knowledge, standings=standings, now=now)
    entries = {job.id: entry for job in found if (entry := weighing.enter(job)) is not None}
    order = in_standing_order([entry.waiting for entry in entries.values()], standings)
    with reading(engine) as session:
        shelves = _shelves(session, now)
        waited = queue.those_in(session, list(entries))
    began = time.perf_counter()
    headroom = {tenant: standing.headroom for tenant, standing in standings.items()}
    arrangement = arrange(order, shelves, headroom, seconds=SOLVE_S)
    about = record(arrangement, len(order), time.perf_counter() - began)
    log.info("weighed the waiting jobs", **about)
    beside, use = frozenset(entries), {tenant: standing.use for tenant, standing in standings.items()}
    placed = 0
    on: list[WaitsOn] = []
    for waiting in order:
        entry, held = entries[waiting.job_id], arrangement.held_for(waiting.job_id)
        room = _room(entry, arrangement, standings)
        waits = waiting.job_id not in arrangement.starts and bool(waiting.options)
        again = weighing.wait(entry, room) if waits and waiting.job_id in waited else None
        if again is not None:
            on.append(WaitsOn(job=entry.job, decision=again, reserved=held))
            continue
        turn = Turn(
            # one without any option is refused, or waits for its quota: `place` finds out which
            assignment=about, reserved=held, beside=beside, waits=waits, use=use,
        )  # fmt: skip
        placed += _carry_out(engine, entry, room, turn, now)
    if on:
        wait_on(engine, on, now=now, held_until=now + timedelta(seconds=HOLD_S))
    return placed


def _room(entry: Entry, arrangement: Arrangement, standings: Mapping[UUID, Tenancy]) -> Room:
    given = arrangement.starts.get(entry.job.id)
    return Room(
        headroom=standings[entry.job.tenant_id].headroom,
        kept={} if arrangement.held_for(entry.job.id) is not None else arrangement.kept,
        assigned=None if given is None else (given.offer_id, given.gpu_count),
    )


def _carry_out(engine: Engine, entry: Entry, room: Room, turn: Turn, now: datetime) -> bool:
    """Place a job as arranged, or let it wait; whether it was placed."""
    job_id = entry.job.id

    def still_queued(session: Session) -> JobView | None:
        current = jobs.lock(session, job_id)
        unchanged = current is not None and current.state is JobState.QUEUED
        return current if unchanged else None

    try:
        decided = place(
            engine, entry.spec, entry.prospect, still_queued, now=now, spent_micros=entry.job.spent_micros,
            tried=entry.tried, passed=entry.passed, room=room, turn=turn,
        )  # fmt: skip
    except PythiaError as error:
        log.warning("could not place a waiting job", job_id=str(job_id), reason=str(error))
        return False
    return decided is not None and decided[0].state is JobState.PLACED


def _shelves(session: Session, now: datetime) -> dict[UUID, Shelf]:
    """What is free of each offer, and when the rest returns at p90."""
    shelves = {offer_id: Shelf(gpus) for offer_id, gpus in offers.free(session).items()}
    for back in coming_back(queue.running(session), now):
        if back.offer_id in shelves:
            shelves[back.offer_id].releases.append(Release(back.rest.p90_s, back.gpus))
    return shelves
