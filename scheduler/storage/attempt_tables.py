"""Tables of attempts, what they hold, what they print and what they teach."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.domain.states import AttemptState, Outcome
from scheduler.storage.base import Base, one_of


class Attempt(Base):
    """One try at running a job on one placement."""

    __tablename__ = "attempts"
    __table_args__ = (
        CheckConstraint(one_of("state", AttemptState), name="state"),
        CheckConstraint(one_of("outcome", Outcome, nullable=True), name="outcome"),
        CheckConstraint("(state = 'ended') = (outcome IS NOT NULL)", name="ended_has_outcome"),
        UniqueConstraint("job_id", "number"),
        # a card is one tenant's: the database itself refuses another's attempt
        ForeignKeyConstraint(["card_id", "tenant_id"], ["cards.id", "cards.tenant_id"], name="fk_attempts_card"),
        # at most one live attempt a job: the database itself refuses a second
        Index("uq_attempts_live", "job_id", unique=True, postgresql_where=text("state <> 'ended'")),
        Index("ix_attempts_spent", "tenant_id", "ended_at"),
        Index("ix_attempts_due", "next_poll_at", postgresql_where=text("state IN ('starting', 'running')")),
        # how often a pool is asked for decides how long its idle machines are kept
        Index("ix_attempts_arrivals", "offer_id", "reserved_at"),
        Index("ix_attempts_card", "card_id", postgresql_where=text("card_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    decision_id: Mapped[UUID]
    """Not a foreign key: the attempt outlives the decision, which may be dropped by policy."""
    number: Mapped[int]
    state: Mapped[str]
    outcome: Mapped[str | None]
    backend: Mapped[str]
    offer_id: Mapped[UUID] = mapped_column(ForeignKey("offers.id"))
    provider: Mapped[str]
    region: Mapped[str]
    gpu_type: Mapped[str]
    gpu_count: Mapped[int]
    layout: Mapped[dict[str, Any]]
    spot: Mapped[bool]
    micros_per_gpu_hour: Mapped[int]
    billing_increment_s: Mapped[int]
    minimum_s: Mapped[int]
    provision_s: Mapped[float]
    forecast: Mapped[dict[str, Any]]
    """The chosen candidate's forecast, frozen; the simulated backend draws its truth around it."""
    lease_token: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]
    next_poll_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]
    """When the backend last gave word of the running thing; too long ago, and the attempt is lost."""
    handle: Mapped[dict[str, Any] | None]
    """What the backend needs to find the running thing again."""
    machine_id: Mapped[UUID | None]
    """What it was started on; None before there was one, and for attempts from before machines were kept. Not a
    foreign key: a machine is written down after its attempt, and never deleted."""
    card_id: Mapped[UUID | None]
    """The card that it may share with others of its tenant, named after the attempt that came first."""
    shared: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether another attempt was on its card meanwhile: what it took there is not what it takes alone."""
    reserved_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    running_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    exit_code: Mapped[int | None]
    reason: Mapped[str | None]
    runtime_s: Mapped[float | None]
    """Measured run time of the command; the provider's virtual time on the simulated backend."""
    billed_s: Mapped[int | None]
    cost_micros: Mapped[int | None]
    peak_vram_gib: Mapped[float | None]
    peak_allocated_gib: Mapped[float | None]
    vram_metric: Mapped[str | None]
    peak_rss_gib: Mapped[float | None]
    simulated: Mapped[bool] = mapped_column(server_default=text("false"))
    command_ran: Mapped[bool | None]
    """Whether the command really ran; false where a simulated provider was asked to leave it. None before the end."""


class Reservation(Base):
    """Capacity held for an attempt; open until released, and released exactly once."""

    __tablename__ = "reservations"
    __table_args__ = (
        # 0 for those who share a card that another holds
        CheckConstraint("gpu_count >= 0", name="gpu_count"),
        Index("ix_reservations_open", "offer_id", postgresql_where=text("released_at IS NULL")),
        Index("ix_reservations_tenant", "tenant_id", postgresql_where=text("released_at IS NULL")),
        Index("ix_reservations_released", "released_at"),
    )

    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    offer_id: Mapped[UUID] = mapped_column(ForeignKey("offers.id"))
    gpu_count: Mapped[int]
    committed_micros: Mapped[int | None]
    """What the attempt may cost at p90; counts against its tenant's quota until it has ended."""
    reserved_at: Mapped[datetime]
    released_at: Mapped[datetime | None]


class AttemptLog(Base):
    """What an attempt printed, in chunks as they were collected."""

    __tablename__ = "attempt_logs"
    __table_args__ = (
        Index("ix_attempt_logs_order", "attempt_id", "id"),
        # with their sizes, so that a search knows how far back it goes in one answer
        Index("ix_attempt_logs_tenant", "tenant_id", "id", postgresql_include=["size"]),
        Index("ix_attempt_logs_collected", "collected_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.id", ondelete="CASCADE"))
    stream: Mapped[str]
    """stdout or stderr"""
    offset: Mapped[int]
    """Bytes of that stream before this chunk; with attempt and stream it names a chunk once."""
    size: Mapped[int]
    """Bytes of that stream in this chunk; its text may have more or fewer, where they were not UTF-8."""
    collected_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    text: Mapped[str]


class Observation(Base):
    """What a finished attempt, or somebody else's run, measured. Never a simulated one."""

    __tablename__ = "observations"
    __table_args__ = (
        CheckConstraint("NOT simulated", name="real"),
        UniqueConstraint("tenant_id", "source", "source_id"),
        Index("ix_observations_kind", "tenant_id", "kind", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    attempt_id: Mapped[UUID | None] = mapped_column(ForeignKey("attempts.id", ondelete="SET NULL"))
    source: Mapped[str]
    source_id: Mapped[str]
    kind: Mapped[str]
    """The custom kind, or the workload's type."""
    body: Mapped[dict[str, Any]]
    """The observation in its import form."""
    simulated: Mapped[bool] = mapped_column(server_default=text("false"))
    observed_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


Index("uq_attempt_logs_chunk", AttemptLog.attempt_id, AttemptLog.stream, AttemptLog.offset, unique=True)
