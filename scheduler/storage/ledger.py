"""The books: what a machine's time cost, and whose it was. Entries are only ever added."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, insert, select

from scheduler.domain.machines import Machine
from scheduler.domain.settlement import Bill
from scheduler.storage.base import core
from scheduler.storage.engine import Session
from scheduler.storage.tables import LedgerEntry

_BOOK = insert(core(LedgerEntry))


def book(
    session: Session,
    machine: Machine,
    bill: Bill,
    *,
    from_s: float,
    to_s: float,
    now: datetime,
    job_id: UUID | None = None,
    attempt_id: UUID | None = None,
    sharers: int = 1,
) -> None:
    """Add an entry for an attempt, or for nobody: the machine idled. Its machine's sum is the caller's to move."""
    session.execute(
        _BOOK,
        {"tenant_id": machine.tenant_id, "machine_id": machine.id, "kind": "idle" if attempt_id is None else "attempt",
         "job_id": job_id, "attempt_id": attempt_id, "from_s": from_s, "to_s": to_s, "billed_s": bill.billed_s,
         "micros": bill.cost_micros, "booked_at": now, "sharers": sharers},
    )  # fmt: skip


def total_of(session: Session, attempt_id: UUID) -> Bill:
    """What is booked of an attempt."""
    sums = func.sum(LedgerEntry.billed_s), func.sum(LedgerEntry.micros)
    mine = LedgerEntry.attempt_id == attempt_id, LedgerEntry.kind == "attempt"
    billed_s, micros = session.execute(select(*sums).where(*mine)).one()
    return Bill(billed_s=int(billed_s or 0), cost_micros=int(micros or 0))
