"""Tables of rented machines, and the ledger of what their time has cost."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.domain.machines import MachineState
from scheduler.storage.base import Base, one_of


class Installation(Base):
    """One row: who we are to providers, so that several installations can share an account."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("one = 1", name="one"),)

    one: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, server_default=text("1"))
    id: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"))


class MachineRow(Base):
    """A machine that was ordered, from the order to the provider's last word. Times of use are the provider's seconds
    since it opened the machine."""

    __tablename__ = "machines"
    __table_args__ = (
        CheckConstraint(one_of("state", MachineState), name="state"),
        CheckConstraint("(state = 'gone') = (gone_at IS NOT NULL)", name="gone"),
        CheckConstraint("(state IN ('ready', 'busy')) <= (attempt_id IS NOT NULL)", name="in_use"),
        CheckConstraint("state <> 'idle' OR attempt_id IS NULL", name="idle"),
        # what it cost is what the ledger says, once it is closed; while it lives a trigger compares the two
        CheckConstraint("state <> 'gone' OR bill_micros = billed_micros", name="bill"),
        # an attempt holds one machine at most
        Index("uq_machines_attempt", "attempt_id", unique=True, postgresql_where=text("state <> 'gone'")),
        Index("ix_machines_live", "offer_id", postgresql_where=text("state <> 'gone'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    key: Mapped[str] = mapped_column(unique=True)
    """Its name at the provider, given before the provider is asked."""
    state: Mapped[str]
    backend: Mapped[str]
    account: Mapped[str]
    """Where the backend holds it: only workers of that account can see it."""
    offer_id: Mapped[UUID] = mapped_column(ForeignKey("offers.id"))
    provider: Mapped[str]
    region: Mapped[str]
    gpu_type: Mapped[str]
    gpu_count: Mapped[int]
    spot: Mapped[bool]
    micros_per_gpu_hour: Mapped[int]
    billing_increment_s: Mapped[int]
    minimum_s: Mapped[int]
    provision_s: Mapped[float]
    attempt_id: Mapped[UUID | None]
    """What it is ordered for or busy with; kept where it went with the machine."""
    metered_s: Mapped[float] = mapped_column(server_default=text("0"))
    """Up to where its time is in the ledger."""
    billed_micros: Mapped[int] = mapped_column(server_default=text("0"))
    """The sum of its ledger entries."""
    bill_micros: Mapped[int | None]
    """What the provider charges for all of it, reckoned from its closing word."""
    requested_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    idle_at: Mapped[datetime | None]
    keep_until: Mapped[datetime | None]
    """When an idle one is let go, unless a job takes it first."""
    gone_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    """Why it was let go."""
    simulated: Mapped[bool] = mapped_column(server_default=text("false"))


class ForgottenMachine(Base):
    """A machine that was given back and has no row here, as after a restored backup: nobody knows its price, nor whose
    it was, so it is in no ledger."""

    __tablename__ = "forgotten_machines"

    key: Mapped[str] = mapped_column(primary_key=True)
    backend: Mapped[str]
    account: Mapped[str]
    simulated: Mapped[bool]
    metered_s: Mapped[float | None]
    """By its provider's last word; NULL where that has none."""
    found_at: Mapped[datetime]


class LedgerEntry(Base):
    """What some time of a machine cost, and whose it was. Entries are added and never changed: a trigger refuses it."""

    __tablename__ = "ledger"
    __table_args__ = (
        CheckConstraint("kind IN ('attempt', 'idle')", name="kind"),
        CheckConstraint("(kind = 'attempt') = (attempt_id IS NOT NULL AND job_id IS NOT NULL)", name="whose"),
        Index("ix_ledger_machine", "machine_id"),
        Index("ix_ledger_tenant", "tenant_id", "booked_at"),
        # no second of a machine is booked to an attempt twice
        Index("uq_ledger_use", "attempt_id", "from_s", unique=True, postgresql_where=text("kind = 'attempt'")),
        CheckConstraint("sharers >= 1", name="sharers"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    machine_id: Mapped[UUID] = mapped_column(ForeignKey("machines.id"))
    kind: Mapped[str]
    job_id: Mapped[UUID | None]
    """Not a foreign key, nor is the attempt: what was paid stays in the books whatever is deleted."""
    attempt_id: Mapped[UUID | None]
    from_s: Mapped[float]
    to_s: Mapped[float]
    billed_s: Mapped[int]
    micros: Mapped[int]
    """Negative where the provider's closing word is less than what was booked."""
    sharers: Mapped[int] = mapped_column(server_default=text("1"))
    """Attempts that were on the machine for all of it: the piece is split among so many entries."""
    booked_at: Mapped[datetime]
