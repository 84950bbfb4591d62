"""Attempts, in transitions: each is one guarded UPDATE and says whether it was the one that moved.

Rows are taken through a CTE with FOR UPDATE, for the reason given in `outbox`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update

from predictor.layout import Layout, parse_layout
from scheduler.domain.attempt import AttemptResult, AttemptWork
from scheduler.domain.errors import NotFound
from scheduler.domain.settlement import Bill
from scheduler.domain.spec import JobSpec
from scheduler.domain.states import AttemptState, Outcome, states_before
from scheduler.storage.engine import Session
from scheduler.storage.rows import columns
from scheduler.storage.tables import Attempt, Job
from scheduler.storage.views import AttemptView

_COLUMNS = columns(Attempt, AttemptView)
_LIVE_ON_A_MACHINE = (AttemptState.STARTING, AttemptState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedAttempt:
    """An attempt that this transaction holds, with what its end is reckoned from."""

    view: AttemptView
    tenant_id: UUID
    lease_token: UUID | None
    billing_increment_s: int
    minimum_s: int
    provision_s: float


def _view(row: Mapping[Any, Any]) -> AttemptView:
    outcome = None if row["outcome"] is None else Outcome(row["outcome"])
    return AttemptView(**{**row, "state": AttemptState(row["state"]), "outcome": outcome})


_ADD = insert(Attempt.__table__)  # type: ignore[arg-type]


def add(session: Session, *, now: datetime, **values: Any) -> None:
    """Store a new attempt as reserved. The database itself refuses a second live attempt of a job."""
    session.execute(_ADD, {"state": AttemptState.RESERVED, "reserved_at": now, **values})


def job_of(session: Session, attempt_id: UUID) -> UUID | None:
    """The job of an attempt; read before locking, since a job is locked before its attempts."""
    return session.execute(select(Attempt.job_id).where(Attempt.id == attempt_id)).scalar_one_or_none()


def lock(session: Session, attempt_id: UUID) -> LockedAttempt:
    """Hold an attempt until the transaction ends; its job must be held already."""
    extra = ("tenant_id", "lease_token", "billing_increment_s", "minimum_s", "provision_s")
    row = dict(
        session.execute(
            select(*_COLUMNS, *(getattr(Attempt, name) for name in extra))
            .where(Attempt.id == attempt_id)
            .with_for_update(key_share=True)
        )
        .mappings()
        .one()
    )
    rest = {name: row.pop(name) for name in extra}
    return LockedAttempt(view=_view(row), **rest)


def live_of(session: Session, job_id: UUID) -> UUID | None:
    """The attempt of a job that has not ended; there is at most one."""
    query = select(Attempt.id).where(Attempt.job_id == job_id, Attempt.state != AttemptState.ENDED)
    return session.execute(query).scalar_one_or_none()


def of_job(session: Session, tenant_id: UUID, job_id: UUID) -> list[AttemptView]:
    """The attempts of a job, first to last."""
    query = select(*_COLUMNS).where(Attempt.tenant_id == tenant_id, Attempt.job_id == job_id).order_by(Attempt.number)
    return [_view(row) for row in session.execute(query).mappings()]


def get(session: Session, attempt_id: UUID) -> AttemptView:
    """One attempt, or NotFound."""
    row = session.execute(select(*_COLUMNS).where(Attempt.id == attempt_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("attempt", attempt_id)
    return _view(row)


def work(session: Session, attempt_id: UUID) -> AttemptWork:
    """What a worker needs to know of an attempt it holds the lease of."""
    attempt = session.execute(select(Attempt).where(Attempt.id == attempt_id)).scalar_one()
    spec, asked = session.execute(select(Job.spec, Job.cancel_requested_at).where(Job.id == attempt.job_id)).one()
    layout = parse_layout(attempt.layout)
    assert isinstance(layout, Layout)  # noqa: S101 - a stored layout names all its factors
    assert attempt.lease_token is not None and attempt.claimed_at is not None  # noqa: S101, PT018 - it was leased
    return AttemptWork(
        attempt_id=attempt.id, job_id=attempt.job_id, tenant_id=attempt.tenant_id, number=attempt.number,
        state=AttemptState(attempt.state), lease_token=attempt.lease_token, spec=JobSpec.model_validate(spec),
        backend=attempt.backend, provider=attempt.provider, region=attempt.region, gpu_type=attempt.gpu_type,
        gpu_count=attempt.gpu_count, layout=layout, spot=attempt.spot, provision_s=attempt.provision_s,
        forecast=attempt.forecast, handle=attempt.handle, cancel_requested=asked is not None,
        claimed_at=attempt.claimed_at, running_at=attempt.running_at, seen_at=attempt.seen_at,
    )  # fmt: skip


def claim(session: Session, attempt_id: UUID, *, lease_token: UUID, now: datetime, lease_s: float) -> bool:
    """Take a reserved attempt, or one whose claimant fell silent before it started anything."""
    return _moved(
        session,
        update(Attempt)
        .where(
            Attempt.id == attempt_id,
            Attempt.state.in_(states_before(AttemptState.CLAIMED))
            | ((Attempt.state == AttemptState.CLAIMED) & (Attempt.lease_expires_at <= now)),
        )
        .values(
            state=AttemptState.CLAIMED, claimed_at=now, lease_token=lease_token,
            lease_expires_at=now + timedelta(seconds=lease_s),
        ),
    )  # fmt: skip


def start(
    session: Session, attempt_id: UUID, *, lease_token: UUID, handle: Mapping[str, Any], now: datetime,
    next_poll_at: datetime,
) -> bool:  # fmt: skip
    """From claimed to starting, with the handle it will have. If nobody says more before `next_poll_at`, a poll
    takes over."""
    return _moved(
        session,
        update(Attempt)
        .where(
            Attempt.id == attempt_id,
            Attempt.state.in_(states_before(AttemptState.STARTING)),
            Attempt.lease_token == lease_token,
        )
        .values(
            state=AttemptState.STARTING, handle=dict(handle), started_at=now, seen_at=now, next_poll_at=next_poll_at
        ),
    )


def run(
    session: Session, attempt_id: UUID, *, lease_token: UUID, handle: Mapping[str, Any], now: datetime,
    next_poll_at: datetime,
) -> bool:  # fmt: skip
    """From starting to running, with the handle; the lease ends here and polls begin."""
    return _moved(
        session,
        update(Attempt)
        .where(
            Attempt.id == attempt_id,
            Attempt.state.in_(states_before(AttemptState.RUNNING)),
            Attempt.lease_token == lease_token,
        )
        .values(
            state=AttemptState.RUNNING, handle=dict(handle), running_at=now, seen_at=now, next_poll_at=next_poll_at,
            lease_token=None, lease_expires_at=None,
        ),
    )  # fmt: skip


def lease(session: Session, attempt_id: UUID, *, lease_token: UUID, now: datetime, lease_s: float) -> bool:
    """Take a started attempt for one look, unless somebody is looking already."""
    return _moved(
        session,
        update(Attempt)
        .where(
            Attempt.id == attempt_id,
            Attempt.state.in_(_LIVE_ON_A_MACHINE),
            Attempt.lease_expires_at.is_(None) | (Attempt.lease_expires_at <= now),
        )
        .values(lease_token=lease_token, lease_expires_at=now + timedelta(seconds=lease_s)),
    )


def renew(session: Session, attempt_id: UUID, *, lease_token: UUID, now: datetime, lease_s: float) -> bool:
    """Hold on to a lease; False where it has gone to another."""
    return _moved(
        session,
        update(Attempt)
        .where(Attempt.id == attempt_id, Attempt.state != AttemptState.ENDED, Attempt.lease_token == lease_token)
        .values(lease_expires_at=now + timedelta(seconds=lease_s)),
    )


def seen(session: Session, attempt_id: UUID, *, lease_token: UUID, now: datetime, next_poll_at: datetime) -> bool:
    """The backend gave word of the running thing; let the lease go until the next look."""
    return _moved(
        session,
        update(Attempt)
        .where(
            Attempt.id == attempt_id,
            Attempt.state.in_(_LIVE_ON_A_MACHINE),
            Attempt.lease_token == lease_token,
        )
        .values(seen_at=now, next_poll_at=next_poll_at, lease_token=None, lease_expires_at=None),
    )


def hurry(session: Session, attempt_id: UUID, now: datetime) -> None:
    """Let the next look come at once."""
    _moved(
        session,
        update(Attempt).where(Attempt.id == attempt_id, Attempt.state.in_(_LIVE_ON_A_MACHINE)).values(next_poll_at=now),
    )


def take_due(session: Session, *, now: datetime, again_at: datetime, limit: int) -> list[UUID]:
    """Attempts to be looked at now; if the doorbell is lost, they come up again at `again_at`."""
    due = (
        select(Attempt.id)
        .where(Attempt.state.in_(_LIVE_ON_A_MACHINE), Attempt.next_poll_at <= now)
        .order_by(Attempt.next_poll_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
        .cte("due")
    )
    taken = session.execute(
        update(Attempt)
        .where(Attempt.id.in_(select(due.c.id)))
        .values(next_poll_at=again_at)
        .returning(Attempt.id)
        .execution_options(synchronize_session=False)
    )
    return list(taken.scalars())


def end(session: Session, attempt_id: UUID, result: AttemptResult, *, bill: Bill, now: datetime) -> bool:
    """Record the outcome, once: False where there is one already."""
    return _moved(
        session,
        update(Attempt)
        .where(Attempt.id == attempt_id, Attempt.state.in_(states_before(AttemptState.ENDED)))
        .values(
            state=AttemptState.ENDED, outcome=result.outcome, ended_at=now, exit_code=result.exit_code,
            reason=result.reason, runtime_s=result.runtime_s, billed_s=bill.billed_s, cost_micros=bill.cost_micros,
            peak_vram_gib=result.peak_vram_gib, peak_allocated_gib=result.peak_allocated_gib,
            vram_metric=result.vram_metric, peak_rss_gib=result.peak_rss_gib, simulated=result.simulated,
            lease_token=None, lease_expires_at=None, next_poll_at=None,
        ),
    )  # fmt: skip


def never_claimed(session: Session, *, before: datetime, limit: int) -> Sequence[UUID]:
    """Attempts reserved before a time and still unclaimed: their doorbell was lost, or no worker listens."""
    query = select(Attempt.id).where(Attempt.state == AttemptState.RESERVED, Attempt.reserved_at <= before)
    return session.execute(query.order_by(Attempt.reserved_at).limit(limit)).scalars().all()


def claim_expired(session: Session, *, now: datetime, limit: int) -> Sequence[UUID]:
    """Attempts whose claimant fell silent before it started anything."""
    query = select(Attempt.id).where(Attempt.state == AttemptState.CLAIMED, Attempt.lease_expires_at <= now)
    return session.execute(query.order_by(Attempt.lease_expires_at).limit(limit)).scalars().all()


def silent_since(session: Session, *, before: datetime, limit: int) -> Sequence[UUID]:
    """Started attempts of which no backend has given word since a time."""
    query = select(Attempt.id).where(Attempt.state.in_(_LIVE_ON_A_MACHINE), Attempt.seen_at <= before)
    return session.execute(query.order_by(Attempt.seen_at).limit(limit)).scalars().all()


def _moved(session: Session, statement: Any) -> bool:
    returned = session.execute(statement.returning(Attempt.id).execution_options(synchronize_session=False))
    return returned.one_or_none() is not None
