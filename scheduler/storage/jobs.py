"""Jobs. `move` is the one function that changes a job's state, and it writes the event beside it.

Rows are taken through a CTE with FOR UPDATE, for the reason given in `outbox`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, exists, select, text, update
from sqlalchemy.dialects.postgresql import insert

from scheduler.domain.errors import IllegalTransition, NotFound
from scheduler.domain.states import FINAL_JOB_STATES, JobState, can_move
from scheduler.storage import events, queue
from scheduler.storage.base import core
from scheduler.storage.engine import Session
from scheduler.storage.rows import columns
from scheduler.storage.tables import Attempt, Job
from scheduler.storage.views import JobView

_COLUMNS = columns(Job, JobView)
_JOBS, _ATTEMPTS = core(Job), core(Attempt)


def _view(row: Mapping[Any, Any]) -> JobView:
    return JobView(**{**row, "state": JobState(row["state"])})


def add(
    session: Session,
    *,
    job_id: UUID,
    tenant_id: UUID,
    name: str,
    spec: Mapping[str, Any],
    spec_sha256: str,
    priority: int,
    max_attempts: int,
    idempotency_key: str | None,
    now: datetime,
) -> JobView | None:
    """Store a new job as queued; None where the idempotency key is already taken.

    A submission with the same key that has not committed yet is waited for.
    """
    row = session.execute(
        insert(Job)
        .values(
            id=job_id, tenant_id=tenant_id, name=name, state=JobState.QUEUED, spec=dict(spec), spec_sha256=spec_sha256,
            priority=priority, max_attempts=max_attempts, idempotency_key=idempotency_key, created_at=now,
            next_decision_at=now,
        )
        .on_conflict_do_nothing(index_elements=["tenant_id", "idempotency_key"])
        .returning(*_COLUMNS)
    ).mappings().one_or_none()  # fmt: skip
    return None if row is None else _view(row)


def find_by_key(session: Session, tenant_id: UUID, idempotency_key: str) -> tuple[JobView, str] | None:
    """The job that was submitted with a key, and the SHA-256 of its spec."""
    row = (
        session.execute(
            select(*_COLUMNS, Job.spec_sha256).where(Job.tenant_id == tenant_id, Job.idempotency_key == idempotency_key)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    found = dict(row)
    sha256 = found.pop("spec_sha256")
    return _view(found), sha256


def get(session: Session, tenant_id: UUID, job_id: UUID) -> JobView:
    """A job of this tenant, or NotFound: whose it otherwise is, is not said."""
    query = select(*_COLUMNS).where(Job.tenant_id == tenant_id, Job.id == job_id)
    row = session.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound("job", job_id)
    return _view(row)


def find(session: Session, job_id: UUID) -> JobView | None:
    """A job whoever's it is, for our own doorbells, which carry ids only."""
    row = session.execute(select(*_COLUMNS).where(Job.id == job_id)).mappings().one_or_none()
    return None if row is None else _view(row)


def find_all(session: Session, job_ids: Sequence[UUID]) -> list[JobView]:
    """Those of some jobs that are there, in the order of the ids given."""
    rows = {row["id"]: row for row in session.execute(_FIND_ALL, {"jobs": job_ids}).mappings()}
    return [_view(rows[job_id]) for job_id in job_ids if job_id in rows]


_FIND_ALL = select(*_COLUMNS).where(_JOBS.c.id.in_(bindparam("jobs", expanding=True)))


_LOCK = select(*_COLUMNS).where(_JOBS.c.id == bindparam("job")).with_for_update(key_share=True)


def lock(session: Session, job_id: UUID) -> JobView | None:
    """Hold a job until the transaction ends; the first lock of every transaction that changes one.

    Not FOR UPDATE: that would also stop inserts of rows that refer to the job.
    """
    row = session.execute(_LOCK, {"job": job_id}).mappings().one_or_none()
    return None if row is None else _view(row)


_LOCK_OF_ATTEMPT = (
    select(*_COLUMNS)
    .where(_JOBS.c.id == select(_ATTEMPTS.c.job_id).where(_ATTEMPTS.c.id == bindparam("attempt")).scalar_subquery())
    .with_for_update(of=_JOBS, key_share=True)
)


def lock_of_attempt(session: Session, attempt_id: UUID) -> JobView | None:
    """Hold the job of an attempt, before the attempt: the order in which every transaction locks."""
    row = session.execute(_LOCK_OF_ATTEMPT, {"attempt": attempt_id}).mappings().one_or_none()
    return None if row is None else _view(row)


def page(
    session: Session,
    tenant_id: UUID,
    *,
    states: tuple[JobState, ...] = (),
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[JobView]:
    """Jobs of a tenant, newest first, older than `before`; ids ascend with time."""
    query = select(*_COLUMNS).where(Job.tenant_id == tenant_id).order_by(Job.id.desc()).limit(limit)
    if states:
        query = query.where(Job.state.in_(states))
    if name is not None:
        query = query.where(Job.name == name)
    if labels:
        query = query.where(Job.spec["labels"].contains(dict(labels)))
    if before is not None:
        query = query.where(Job.id < before)
    return [_view(row) for row in session.execute(query).mappings()]


_CHANGE = update(_JOBS).where(_JOBS.c.id == bindparam("job"))


def move(
    session: Session,
    job: JobView,
    wanted: JobState,
    *,
    now: datetime,
    kind: str,
    reason: str | None = None,
    attempt_id: UUID | None = None,
    data: Mapping[str, Any] | None = None,
    **changes: Any,
) -> JobView:
    """Bring a locked job into another state and say so in its events; IllegalTransition if it cannot go there."""
    if not can_move(job.state, wanted):
        raise IllegalTransition(job.id, job.state, wanted)
    values: dict[str, Any] = {"state": wanted, "reason": reason, **changes}
    if wanted in FINAL_JOB_STATES:
        values |= {"ended_at": now, "next_decision_at": None}
    change(session, job.id, **values)
    if job.state is JobState.QUEUED:
        queue.leave(session, job.id)
    events.add(
        session, tenant_id=job.tenant_id, job_id=job.id, attempt_id=attempt_id, kind=kind,
        from_state=job.state, to_state=wanted, data={**(data or {}), **({"reason": reason} if reason else {})}, now=now,
    )  # fmt: skip
    return replace(job, **values)


def change(session: Session, job_id: UUID, **changes: Any) -> None:
    """Set columns of a locked job other than its state."""
    session.execute(_CHANGE, {"job": job_id, **changes})


_LOCK_TAKEN = (
    select(_JOBS.c.id)
    .where(
        _JOBS.c.id.in_(bindparam("jobs", expanding=True)),
        _JOBS.c.state == JobState.QUEUED,
        _JOBS.c.next_decision_at == bindparam("held_until"),
    )
    .order_by(_JOBS.c.id)
    .with_for_update(skip_locked=True, key_share=True)
)


def lock_taken(session: Session, job_ids: Sequence[UUID], *, held_until: datetime) -> set[UUID]:
    """Hold those of some jobs that are still as `take_waiting` left them, and that nobody else holds."""
    return set(session.execute(_LOCK_TAKEN, {"jobs": job_ids, "held_until": held_until}).scalars())


_WAIT_ON = _CHANGE.values(reason=bindparam("why"), next_decision_at=bindparam("again_at"))


def wait_on(session: Session, words: Mapping[UUID, tuple[str, datetime]]) -> None:
    """Say of locked jobs why each waits, and when it is decided again."""
    rows = [{"job": job_id, "why": why, "again_at": again_at} for job_id, (why, again_at) in words.items()]
    session.execute(_WAIT_ON, rows)


# the queues are found and read from their front, each by an index: ten thousand jobs that wait are not ranked to take
# twenty. Of each queue some more are read than are wanted, as others may be taking them just now
_TAKE_WAITING = text(f"""
WITH RECURSIVE queues AS (
  (SELECT tenant_id, priority FROM jobs WHERE state = '{JobState.QUEUED}' ORDER BY tenant_id, priority LIMIT 1)
  UNION ALL
  SELECT following.* FROM queues CROSS JOIN LATERAL (
    SELECT jobs.tenant_id, jobs.priority FROM jobs
    WHERE state = '{JobState.QUEUED}' AND (jobs.tenant_id, jobs.priority) > (queues.tenant_id, queues.priority)
    ORDER BY jobs.tenant_id, jobs.priority LIMIT 1
  ) following
), ranked AS (
  SELECT front.id, queues.priority,
         row_number() OVER (PARTITION BY queues.tenant_id, queues.priority ORDER BY front.id) AS turn
  FROM queues CROSS JOIN LATERAL (
    SELECT jobs.id FROM jobs
    WHERE state = '{JobState.QUEUED}' AND jobs.tenant_id = queues.tenant_id AND jobs.priority = queues.priority
      AND next_decision_at <= :now
    ORDER BY jobs.id LIMIT 4 * :limit
  ) front
), due AS (
  SELECT jobs.id FROM ranked JOIN jobs ON jobs.id = ranked.id
  -- asked again of the row that is locked: another placer may have taken it since the ranking was read
  WHERE jobs.state = '{JobState.QUEUED}' AND jobs.next_decision_at <= :now
  ORDER BY ranked.priority DESC, ranked.turn, ranked.id LIMIT :limit FOR NO KEY UPDATE OF jobs SKIP LOCKED
)
UPDATE jobs SET next_decision_at = :held_until FROM due WHERE jobs.id = due.id RETURNING jobs.id, jobs.priority
""")  # noqa: S608 - a state


def take_waiting(session: Session, *, now: datetime, hold_s: float, limit: int) -> list[UUID]:
    """Waiting jobs that are due for a decision, the most urgent first; other placers pass them by for `hold_s`.

    Within a priority the tenants take turns, so that one with a thousand jobs does not fill every batch.
    """
    given = {"now": now, "held_until": now + timedelta(seconds=hold_s), "limit": limit}
    taken = session.execute(_TAKE_WAITING, given).all()
    return [job_id for job_id, _ in sorted(taken, key=lambda row: (-row[1], row[0]))]


_WAITING = (
    select(_JOBS.c.id)
    .where(_JOBS.c.state == JobState.QUEUED, _JOBS.c.next_decision_at > bindparam("now"))
    .order_by(_JOBS.c.priority.desc(), _JOBS.c.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, key_share=True)
    .cte("waiting")
)
_HURRY = (
    update(_JOBS)
    .where(_JOBS.c.id.in_(select(_WAITING.c.id)))
    .values(next_decision_at=bindparam("now"))
    .returning(_JOBS.c.id)
)


def hurry_waiting(session: Session, *, now: datetime, limit: int) -> int:
    """Capacity has returned: let the most urgent waiting jobs be decided again now; how many.

    Rows that others hold are passed by: they are being decided already, and waiting for them could deadlock.
    """
    return len(session.execute(_HURRY, {"now": now, "limit": limit}).all())


def any_waiting(session: Session, now: datetime) -> bool:
    """Whether a waiting job is due for a decision."""
    return bool(
        session.execute(select(exists().where(Job.state == JobState.QUEUED, Job.next_decision_at <= now))).scalar_one()
    )
