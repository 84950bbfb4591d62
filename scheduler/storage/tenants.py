"""Tenants: their shares, their quotas, and what counts against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from scheduler.domain.errors import Conflict, NotFound
from scheduler.domain.fair_share import WINDOW_S, Tenancy
from scheduler.storage.engine import Session
from scheduler.storage.ids import new_id
from scheduler.storage.rows import columns
from scheduler.storage.tables import DEFAULT_TENANT, Attempt, Job, LedgerEntry, Observation, Reservation, Tenant
from scheduler.storage.views import TenantView

_COLUMNS = columns(Tenant, TenantView)
_OPEN = Reservation.released_at.is_(None)


def add(session: Session, name: str, **quotas: Any) -> TenantView:
    """A new tenant; Conflict where the name is taken."""
    values = {key: value for key, value in quotas.items() if value is not None}
    statement = insert(Tenant).values(id=new_id(), name=name, **values).returning(*_COLUMNS)
    try:
        with session.begin_nested():
            return TenantView(**session.execute(statement).mappings().one())
    except IntegrityError:
        raise Conflict(f"there is a tenant named {name!r} already") from None


def all_of(session: Session) -> list[TenantView]:
    """Every tenant, by name."""
    return [TenantView(**row) for row in session.execute(select(*_COLUMNS).order_by(Tenant.name)).mappings()]


def find(session: Session, name: str) -> TenantView:
    """The tenant of a name, or NotFound."""
    row = session.execute(select(*_COLUMNS).where(Tenant.name == name)).mappings().one_or_none()
    if row is None:
        raise NotFound("tenant", repr(name))
    return TenantView(**row)


def several(session: Session) -> bool:
    """Whether more than one tenant uses this installation; the default one, which is always there, may stand idle."""
    used = or_(
        Tenant.id != DEFAULT_TENANT,
        exists().where(Job.tenant_id == Tenant.id),
        exists().where(Observation.tenant_id == Tenant.id),
    )
    return len(session.execute(select(Tenant.id).where(used).limit(2)).all()) > 1


def change(session: Session, tenant_id: UUID, **changes: Any) -> TenantView:
    """Set shares and quotas; what is held and spent already stays, however much it is."""
    row = session.execute(
        update(Tenant)
        .where(Tenant.id == tenant_id)
        .values(**changes)
        .returning(*_COLUMNS)
        .execution_options(synchronize_session=False)
    ).mappings()
    return TenantView(**row.one())


@dataclass(frozen=True, slots=True)
class Limits:
    """The quotas of a tenant that has any."""

    max_gpus: int | None
    max_micros_per_month: int | None


def limits_of(session: Session, tenant_id: UUID, *, lock: bool) -> Limits | None:
    """The quotas of a tenant; None, and nothing is locked, where it has none.

    One that has a quota places one job after another: its row is held until the transaction ends, between the job's
    and the offer's. Only so can two placers not use the same last GPU of a quota.
    """
    limited = Tenant.max_gpus.is_not(None) | Tenant.max_micros_per_month.is_not(None)
    query = select(Tenant.max_gpus, Tenant.max_micros_per_month).where(Tenant.id == tenant_id, limited)
    row = session.execute(query.with_for_update(key_share=True) if lock else query).one_or_none()
    return None if row is None else Limits(*row)


def use_of(session: Session, tenant_id: UUID, now: datetime, *, spent: bool) -> tuple[int, int]:
    """GPUs that a tenant holds, and micro-dollars of this month: what live attempts may yet cost and, where it is asked
    for, what was spent."""
    gpus, committed = session.execute(
        select(func.sum(Reservation.gpu_count), func.sum(Reservation.committed_micros)).where(
            Reservation.tenant_id == tenant_id, _OPEN
        )
    ).one()
    before = _spent(session, [tenant_id], now).get(tenant_id, 0) if spent else 0
    return int(gpus or 0), int(committed or 0) + before


def standings(session: Session, tenant_ids: Sequence[UUID], now: datetime) -> dict[UUID, Tenancy]:
    """What the order of the queue depends on, for some tenants."""
    since = now - timedelta(seconds=WINDOW_S)
    end = func.least(func.coalesce(Reservation.released_at, now), now)
    held_s = func.extract("epoch", end - func.greatest(Reservation.reserved_at, since))
    used: dict[UUID, tuple[float, int, int]] = {
        tenant: (float(seconds or 0), int(gpus or 0), int(committed or 0))
        for tenant, seconds, gpus, committed in session.execute(
            select(
                Reservation.tenant_id,
                func.sum(Reservation.gpu_count * func.greatest(held_s, 0)),
                func.sum(Reservation.gpu_count).filter(_OPEN),
                func.sum(Reservation.committed_micros).filter(_OPEN),
            )
            .where(Reservation.tenant_id.in_(tenant_ids), _OPEN | (Reservation.released_at > since))
            .group_by(Reservation.tenant_id)
        )
    }
    spent = _spent(session, tenant_ids, now)
    query = select(Tenant.id, Tenant.share, Tenant.max_gpus, Tenant.max_micros_per_month)
    found: dict[UUID, Tenancy] = {}
    for tenant, share, max_gpus, max_micros in session.execute(query.where(Tenant.id.in_(tenant_ids))):
        seconds, gpus, committed = used.get(tenant, (0.0, 0, 0))
        found[tenant] = Tenancy(
            tenant_id=tenant, share=share, max_gpus=max_gpus, max_micros_per_month=max_micros,
            gpu_seconds=seconds, gpus=gpus, month_micros=committed + spent.get(tenant, 0),
        )  # fmt: skip
    return found


def _spent(session: Session, whose: Sequence[UUID], now: datetime) -> dict[UUID, int]:
    """Micro-dollars of this month: ended attempts, and machines that idled for the next."""
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    attempts = select(Attempt.tenant_id, Attempt.cost_micros.label("micros")).where(
        Attempt.tenant_id.in_(whose), Attempt.ended_at >= month
    )
    idle = select(LedgerEntry.tenant_id, LedgerEntry.micros).where(
        LedgerEntry.tenant_id.in_(whose), LedgerEntry.booked_at >= month, LedgerEntry.kind == "idle"
    )
    both = attempts.union_all(idle).subquery("spent")
    rows = session.execute(select(both.c.tenant_id, func.sum(both.c.micros)).group_by(both.c.tenant_id))
    return {tenant: int(micros or 0) for tenant, micros in rows}
