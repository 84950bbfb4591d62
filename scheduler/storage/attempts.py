"""Attempts, in transitions: each is one guarded UPDATE and says whether it was the one that moved.

Rows are taken through a CTE with FOR UPDATE, for the reason given in `outbox`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, insert, select, text, update

from predictor.layout import Layout, parse_layout
from scheduler.domain.attempt import AttemptGlance, AttemptResult, AttemptWork
from scheduler.domain.errors import NotFound
from scheduler.domain.settlement import Bill
from scheduler.domain.spec import JobSpec
from scheduler.domain.states import AttemptState, Outcome, states_before
from scheduler.storage import logs, machines
from scheduler.storage.base import core
from scheduler.storage.engine import Session
from scheduler.storage.rows import columns
from scheduler.storage.tables import Attempt, Job, Offer
from scheduler.storage.views import AttemptView

_COLUMNS = columns(Attempt, AttemptView)
_LIVE_ON_A_MACHINE = (AttemptState.STARTING, AttemptState.RUNNING)
_ATTEMPTS, _JOBS, _OFFERS = core(Attempt), core(Job), core(Offer)
_A = _ATTEMPTS.c
_LIVE, _LEASED = _A.state.in_(_LIVE_ON_A_MACHINE), _A.lease_token == bindparam("token")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedAttempt:
    """An attempt that this transaction holds, with what its end is reckoned from."""

    view: AttemptView
    tenant_id: UUID
    lease_token: UUID | None
    billing_increment_s: int
    minimum_s: int
    provision_s: float
    machine_id: UUID | None


def _view(row: Mapping[Any, Any]) -> AttemptView:
    outcome = None if row["outcome"] is None else Outcome(row["outcome"])
    return AttemptView(**{**row, "state": AttemptState(row["state"]), "outcome": outcome})


_ADD = insert(_ATTEMPTS)


def add(session: Session, *, now: datetime, **values: Any) -> None:
    """Store a new attempt as reserved. The database itself refuses a second live attempt of a job."""
    session.execute(_ADD, {"state": AttemptState.RESERVED, "reserved_at": now, **values})


_EXTRA = ("tenant_id", "lease_token", "billing_increment_s", "minimum_s", "provision_s", "machine_id")
_LOCK = (
    select(*_COLUMNS, *(_A[name] for name in _EXTRA))
    .where(_A.id == bindparam("attempt"))
    .with_for_update(key_share=True)
)


def lock(session: Session, attempt_id: UUID) -> LockedAttempt:
    """Hold an attempt until the transaction ends; its job must be held already."""
    row = dict(session.execute(_LOCK, {"attempt": attempt_id}).mappings().one())
    rest = {name: row.pop(name) for name in _EXTRA}
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


# the instance type is a part of an offer's key, so it is today what it was when the attempt was placed
_WORK = (
    select(*_A, _JOBS.c.spec, _JOBS.c.cancel_requested_at, _OFFERS.c.instance_type, _OFFERS.c.node_gpus)
    .join_from(_ATTEMPTS, _JOBS, _JOBS.c.id == _A.job_id)
    .join(_OFFERS, _OFFERS.c.id == _A.offer_id)
    .where(_A.id == bindparam("attempt"))
)


def work(session: Session, attempt_id: UUID) -> AttemptWork:
    """What a worker needs to know of an attempt it holds the lease of."""
    attempt = session.execute(_WORK, {"attempt": attempt_id}).one()
    layout = parse_layout(attempt.layout)
    assert isinstance(layout, Layout)  # noqa: S101 - a stored layout names all its factors
    assert attempt.lease_token is not None and attempt.claimed_at is not None  # noqa: S101, PT018 - it was leased
    return AttemptWork(
        attempt_id=attempt.id, job_id=attempt.job_id, tenant_id=attempt.tenant_id, number=attempt.number,
        state=AttemptState(attempt.state), lease_token=attempt.lease_token, spec=JobSpec.model_validate(attempt.spec),
        backend=attempt.backend, offer_id=attempt.offer_id, provider=attempt.provider, region=attempt.region,
        instance_type=attempt.instance_type, node_gpus=attempt.node_gpus, gpu_type=attempt.gpu_type,
        gpu_count=attempt.gpu_count, layout=layout,
        spot=attempt.spot, provision_s=attempt.provision_s, forecast=attempt.forecast, handle=attempt.handle,
        cancel_requested=attempt.cancel_requested_at is not None,
        machine=None if attempt.machine_id is None else machines.of_attempt(session, attempt_id),
        collected=logs.collected_bytes(session, attempt_id) if attempt.running_at else {},
        claimed_at=attempt.claimed_at, running_at=attempt.running_at, seen_at=attempt.seen_at, card_id=attempt.card_id,
    )  # fmt: skip


def work_of_lease(session: Session, attempt_id: UUID, lease_token: UUID) -> AttemptWork | None:
    """The same, unless the lease has gone to another."""
    mine = select(Attempt.id).where(
        Attempt.id == attempt_id, Attempt.lease_token == lease_token, Attempt.state.in_(_LIVE_ON_A_MACHINE)
    )
    return None if session.execute(mine).scalar_one_or_none() is None else work(session, attempt_id)


def _transition(*where: Any) -> Any:
    """A guarded UPDATE of one attempt, made once; it is given the columns to set beside what the guard asks for."""
    return update(_ATTEMPTS).where(_A.id == bindparam("attempt"), *where).returning(_A.id)


def _moved(session: Session, transition: Any, attempt_id: UUID, **given: Any) -> bool:
    return session.execute(transition, {"attempt": attempt_id, **given}).one_or_none() is not None


_CLAIM = _transition(
    _A.state.in_(states_before(AttemptState.CLAIMED))
    | ((_A.state == AttemptState.CLAIMED) & (_A.lease_expires_at <= bindparam("now")))
)


def claim(session: Session, attempt_id: UUID, *, lease_token: UUID, now: datetime, lease_s: float) -> bool:
    """Take a reserved attempt, or one whose claimant fell silent before it started anything."""
    return _moved(
        session, _CLAIM, attempt_id, now=now, state=AttemptState.CLAIMED, claimed_at=now, lease_token=lease_token,
        lease_expires_at=now + timedelta(seconds=lease_s),
    )  # fmt: skip


_START = _transition(_A.state.in_(states_before(AttemptState.STARTING)), _LEASED)


def start(
    session: Session, attempt_id: UUID, *, lease_token: UUID, handle: Mapping[str, Any], now: datetime,
    next_poll_at: datetime,
) -> bool:  # fmt: skip
    """From claimed to starting, with the handle it will have. If nobody says more before `next_poll_at`, a poll
    takes over."""
    return _moved(
        session, _START, attempt_id, token=lease_token, state=AttemptState.STARTING, handle=dict(handle),
        started_at=now, seen_at=now, next_poll_at=next_poll_at,
    )  # fmt: skip


_CHANGE = update(_ATTEMPTS).where(_A.id == bindparam("attempt"))


def put_on(session: Session, attempt_id: UUID, machine_id: UUID) -> None:
    """An attempt that this transaction holds has its machine."""
    session.execute(_CHANGE, {"attempt": attempt_id, "machine_id": machine_id})


_RUN = _transition(_A.state.in_(states_before(AttemptState.RUNNING)), _LEASED)


def run(
    session: Session, attempt_id: UUID, *, lease_token: UUID, handle: Mapping[str, Any], now: datetime,
    next_poll_at: datetime,
) -> bool:  # fmt: skip
    """From starting to running, with the handle; the lease ends here and polls begin."""
    return _moved(
        session, _RUN, attempt_id, token=lease_token, state=AttemptState.RUNNING, handle=dict(handle), running_at=now,
        seen_at=now, next_poll_at=next_poll_at, lease_token=None, lease_expires_at=None,
    )  # fmt: skip


_LEASE = _transition(_LIVE, _A.lease_expires_at.is_(None) | (_A.lease_expires_at <= bindparam("now")))


def lease(session: Session, attempt_id: UUID, *, lease_token: UUID, now: datetime, lease_s: float) -> bool:
    """Take a started attempt for one look, unless somebody is looking already."""
    until = now + timedelta(seconds=lease_s)
    return _moved(session, _LEASE, attempt_id, now=now, lease_token=lease_token, lease_expires_at=until)


_RENEW = _transition(_A.state != AttemptState.ENDED, _LEASED)


def renew(session: Session, attempt_id: UUID, *, lease_token: UUID, now: datetime, lease_s: float) -> bool:
    """Hold on to a lease; False where it has gone to another."""
    return _moved(session, _RENEW, attempt_id, token=lease_token, lease_expires_at=now + timedelta(seconds=lease_s))


_LET_GO = _transition(_LIVE, _LEASED)


def seen(session: Session, attempt_id: UUID, *, lease_token: UUID, now: datetime, next_poll_at: datetime) -> bool:
    """The backend gave word of the running thing; let the lease go until the next look."""
    return _moved(
        session, _LET_GO, attempt_id, token=lease_token, seen_at=now, next_poll_at=next_poll_at, lease_token=None,
        lease_expires_at=None,
    )  # fmt: skip


def lease_many(
    session: Session, attempt_ids: Sequence[UUID], *, lease_token: UUID, now: datetime, lease_s: float
) -> list[AttemptGlance]:
    """Take started attempts for one look each, those that nobody is looking at already, under one token."""
    free = (
        select(Attempt.id)
        .where(
            Attempt.id.in_(attempt_ids),
            Attempt.state.in_(_LIVE_ON_A_MACHINE),
            Attempt.lease_expires_at.is_(None) | (Attempt.lease_expires_at <= now),
        )
        .with_for_update(skip_locked=True, key_share=True)
        .cte("free")
    )
    rows = session.execute(
        update(Attempt)
        .where(Attempt.id.in_(select(free.c.id)), Job.id == Attempt.job_id)
        .values(lease_token=lease_token, lease_expires_at=now + timedelta(seconds=lease_s))
        .returning(
            Attempt.id, Attempt.state, Attempt.backend, Attempt.handle, Attempt.claimed_at, Job.cancel_requested_at
        )
        .execution_options(synchronize_session=False)
    ).all()
    printed = logs.collected_bytes_of(session, [row.id for row in rows])
    return [
        AttemptGlance(
            attempt_id=row.id, lease_token=lease_token, state=AttemptState(row.state), backend=row.backend,
            handle=row.handle or {}, cancel_requested=row.cancel_requested_at is not None, claimed_at=row.claimed_at,
            collected=printed.get(row.id, {}),
        )
        for row in rows
    ]  # fmt: skip


_SEEN = text("""
UPDATE attempts SET seen_at = :now, next_poll_at = next.at, lease_token = NULL, lease_expires_at = NULL
FROM unnest(CAST(:ids AS uuid[]), CAST(:next AS timestamptz[])) AS next(id, at)
WHERE attempts.id = next.id AND attempts.lease_token = :token AND attempts.state IN ('starting', 'running')
""")


def seen_many(session: Session, next_polls: Mapping[UUID, datetime], *, lease_token: UUID, now: datetime) -> None:
    """The backend gave word of all of these; let their leases go until the next look."""
    session.execute(
        _SEEN, {"now": now, "ids": list(next_polls), "next": list(next_polls.values()), "token": lease_token}
    )


def look_again(session: Session, attempt_id: UUID, *, lease_token: UUID, next_poll_at: datetime) -> bool:
    """No word could be had; let the lease go until the next look."""
    return _moved(
        session, _LET_GO, attempt_id, token=lease_token, next_poll_at=next_poll_at, lease_token=None,
        lease_expires_at=None,
    )  # fmt: skip


_HURRY = _transition(_LIVE)


def hurry(session: Session, attempt_id: UUID, now: datetime) -> None:
    """Let the next look come at once."""
    _moved(session, _HURRY, attempt_id, next_poll_at=now)


_CARD = select(_A.card_id).where(_A.id == bindparam("attempt"))


def card_of(session: Session, attempt_id: UUID) -> UUID | None:
    """The card of an attempt that may share one."""
    return session.execute(_CARD, {"attempt": attempt_id}).scalar_one_or_none()


def hurry_all_on(session: Session, card_id: UUID, now: datetime) -> None:
    """Let the next look at everybody on a card come at once."""
    session.execute(
        update(Attempt)
        .where(Attempt.card_id == card_id, Attempt.state.in_(_LIVE_ON_A_MACHINE))
        .values(next_poll_at=now)
        .execution_options(synchronize_session=False)
    )


_DUE = (
    select(_A.id)
    .where(_LIVE, _A.next_poll_at <= bindparam("now"))
    .order_by(_A.next_poll_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, key_share=True)
    .cte("due")
)
_TAKE_DUE = (
    update(_ATTEMPTS).where(_A.id.in_(select(_DUE.c.id))).values(next_poll_at=bindparam("again_at")).returning(_A.id)
)


def take_due(session: Session, *, now: datetime, again_at: datetime, limit: int) -> list[UUID]:
    """Attempts to be looked at now; if the doorbell is lost, they come up again at `again_at`."""
    given = {"now": now, "again_at": again_at, "limit": limit}
    return list(session.execute(_TAKE_DUE, given).scalars())


_END = _transition(_A.state.in_(states_before(AttemptState.ENDED)))


def end(
    session: Session, attempt_id: UUID, result: AttemptResult, *, bill: Bill, now: datetime, shared: bool = False
) -> bool:
    """Record the outcome, once: False where there is one already."""
    return _moved(
        session, _END, attempt_id,
        state=AttemptState.ENDED, outcome=result.outcome, ended_at=now, exit_code=result.exit_code,
        reason=result.reason, runtime_s=result.runtime_s, billed_s=bill.billed_s, cost_micros=bill.cost_micros,
        peak_vram_gib=result.peak_vram_gib, peak_allocated_gib=result.peak_allocated_gib,
        vram_metric=result.vram_metric, peak_rss_gib=result.peak_rss_gib, simulated=result.simulated,
        command_ran=result.command_ran, shared=shared, lease_token=None, lease_expires_at=None, next_poll_at=None,
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
