"""What a tenant rents now, and what it has spent on what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scheduler.domain.billing import By
from scheduler.storage import billing
from scheduler.storage.billing import MachineView, Spent, Total
from scheduler.storage.engine import Engine, reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Bills:
    """Some of the sums of a period, beside the total of all of them."""

    sums: tuple[Spent, ...]
    total: Total


def machines_now(engine: Engine, tenant_id: UUID, *, before: UUID | None = None, limit: int = 100) -> list[MachineView]:
    """Machines that are not gone, the one ordered last first; the last id of a page is `before` of the next."""
    with reading(engine) as session:
        return billing.machines_now(session, tenant_id, before=before, limit=limit)


def bills(
    engine: Engine,
    tenant_id: UUID,
    by: By,
    *,
    since: datetime,
    until: datetime,
    before: str | None = None,
    limit: int = 100,
) -> Bills:
    """What was booked from `since` on and before `until`, in sums and all together, at one moment."""
    with reading(engine) as session:
        sums = billing.spent(session, tenant_id, by, since=since, until=until, before=before, limit=limit)
        return Bills(sums=tuple(sums), total=billing.total(session, tenant_id, since=since, until=until))
