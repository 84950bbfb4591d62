"""Jobs. `move` is the one function that changes a job's state, and it writes the event beside it.

Rows are taken through a CTE with FOR UPDATE, for the reason given in `outbox`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from scheduler.domain.errors import IllegalTransition, NotFound
from scheduler.domain.states import FINAL_JOB_STATES, JobState, can_move
from scheduler.storage import events, queue
from scheduler.storage.engine import Session
from scheduler.storage.rows import columns
from scheduler.storage.tables import Job
from scheduler.storage.views import JobView

_COLUMNS = columns(Job, JobView)


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


def lock(session: Session, job_id: UUID) -> JobView | None:
    """Hold a job until the transaction ends; the first lock of every transaction that changes one.

    Not FOR UPDATE: that would also stop inserts of rows that refer to the job.
    """
    query = select(*_COLUMNS).where(Job.id == job_id).with_for_update(key_share=True)
    row = session.execute(query).mappings().one_or_none()
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
    row = session.execute(
        update(Job)
        .where(Job.id == job.id)
        .values(**values)
        .returning(*_COLUMNS)
        .execution_options(synchronize_session=False)
    ).mappings().one()  # fmt: skip
    if job.state is JobState.QUEUED:
        queue.leave(session, job.id)
    events.add(
        session, tenant_id=job.tenant_id, job_id=job.id, attempt_id=attempt_id, kind=kind,
        from_state=job.state, to_state=wanted, data={**(data or {}), **({"reason": reason} if reason else {})}, now=now,
    )  # fmt: skip
    return _view(row)


def change(session: Session, job_id: UUID, **changes: Any) -> None:
    """Set columns of a locked job other than its state."""
    session.execute(update(Job).where(Job.id == job_id).values(**changes).execution_options(synchronize_session=False))


def take_waiting(session: Session, *, now: datetime, hold_s: float, limit: int) -> list[UUID]:
    """Waiting jobs that are due for a decision, the most urgent first; other placers pass them by for `hold_s`.

    Within a priority the tenants take turns, so that one with a thousand jobs does not fill every batch.
    """
    turn = func.row_number().over(partition_by=(Job.tenant_id, Job.priority), order_by=Job.id).label("turn")
    ranked = (
        select(Job.id, Job.priority, turn)
        .where(Job.state == JobState.QUEUED, Job.next_decision_at <= now)
        .subquery("ranked")
    )
    due = (
        select(Job.id)
        .join(ranked, ranked.c.id == Job.id)
        # asked again of the row that is locked: another placer may have taken it since the ranking was read
        .where(Job.state == JobState.QUEUED, Job.next_decision_at <= now)
        .order_by(ranked.c.priority.desc(), ranked.c.turn, ranked.c.id)
        .limit(limit)
        .with_for_update(of=Job, skip_locked=True, key_share=True)
        .cte("due")
    )
    taken = session.execute(
        update(Job)
        .where(Job.id.in_(select(due.c.id)))
        .values(next_decision_at=now + timedelta(seconds=hold_s))
        .returning(Job.id, Job.priority)
        .execution_options(synchronize_session=False)
    ).all()
    return [job_id for job_id, _ in sorted(taken, key=lambda row: (-row[1], row[0]))]


def hurry_waiting(session: Session, *, now: datetime, limit: int) -> int:
    """Capacity has returned: let the most urgent waiting jobs be decided again now; how many.

    Rows that others hold are passed by: they are being decided already, and waiting for them could deadlock.
    """
    waiting = (
        select(Job.id)
        .where(Job.state == JobState.QUEUED, Job.next_decision_at > now)
        .order_by(Job.priority.desc(), Job.id)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
        .cte("waiting")
    )
    hurried = session.execute(
        update(Job)
        .where(Job.id.in_(select(waiting.c.id)))
        .values(next_decision_at=now)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    return len(hurried.all())


def any_waiting(session: Session, now: datetime) -> bool:
    """Whether a waiting job is due for a decision."""
    return bool(
        session.execute(select(exists().where(Job.state == JobState.QUEUED, Job.next_decision_at <= now))).scalar_one()
    )
