"""Tables of jobs, how they were decided, what happened to them, and which doorbells are to be rung."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.domain.states import DecisionKind, JobState
from scheduler.storage.base import Base, one_of


class Job(Base):
    """One job. The spec is kept as it was sent."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(one_of("state", JobState), name="state"),
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("ix_jobs_page", "tenant_id", "id"),
        Index("ix_jobs_waiting", "priority", "id", postgresql_where=text("state = 'queued'")),
        Index("ix_jobs_queues", "tenant_id", "priority", "id", postgresql_where=text("state = 'queued'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str]
    state: Mapped[str]
    spec: Mapped[dict[str, Any]]
    priority: Mapped[int]
    max_attempts: Mapped[int]
    attempts_made: Mapped[int] = mapped_column(server_default=text("0"))
    spent_micros: Mapped[int] = mapped_column(server_default=text("0"))
    """What all ended attempts cost."""
    cancel_requested_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    """One sentence on why the job is where it is, for states that need one."""
    idempotency_key: Mapped[str | None]
    spec_sha256: Mapped[str]
    simulated: Mapped[bool] = mapped_column(server_default=text("false"))
    """Set for good once any attempt ran on a simulated backend."""
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    ended_at: Mapped[datetime | None]
    next_decision_at: Mapped[datetime | None]
    """When the placer shall look at a waiting job again."""


class Decision(Base):
    """A placement, a wait or a refusal, with what it was based on, frozen.

    Parted by month of its id, so that old ones can be dropped at once.
    """

    __tablename__ = "decisions"
    __table_args__ = (
        CheckConstraint(one_of("kind", DecisionKind), name="kind"),
        # not unique: an index over all parts cannot be. Numbers are given under the lock of the job
        Index("ix_decisions_job", "job_id", "number"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int]
    kind: Mapped[str]
    reason: Mapped[str]
    """One sentence: why this placement won, or why there is none."""
    objective: Mapped[str]
    spec: Mapped[dict[str, Any]]
    model_version: Mapped[str]
    in_domain: Mapped[bool | None]
    candidates_considered: Mapped[int]
    rejected_by_reason: Mapped[dict[str, Any]]
    """Reason code -> how many candidates it rejected, the unlisted ones included."""
    price_date: Mapped[str | None]
    inventory_version: Mapped[int | None]
    """The inventory it was made on; `offer_prices` says what that was. None before versions were counted."""
    naive_cost_micros: Mapped[int | None]
    """Expected cost of the naive choice: the lowest price per hour whose memory holds the weights."""
    naive_choice: Mapped[dict[str, Any] | None]
    expected_cost_micros: Mapped[int | None]
    """Of the placement, where it is one."""
    assignment: Mapped[dict[str, Any] | None]
    """The round of waiting jobs that it was part of: how many, by which method, at what cost, bound and gap."""
    prediction_ms: Mapped[float]
    decided_at: Mapped[datetime]
    candidates_of: Mapped[UUID | None]
    """The decision whose candidates are this one's too: of the same tenant and month, on the very same inputs. None:
    its own. Not a foreign key: months of both are dropped together, and neither can go alone."""
    candidates: Mapped[list[Any] | None] = mapped_column(JSON)
    """The best of every GPU type and count with its verdict, in the order of rank, as sent; the view `candidates` shows
    them as rows. JSON, not JSONB: it is written once and read as a whole. None: those of `candidates_of`, or, of a
    decision from before, rows of their own."""


class CandidateRow(Base):
    """A candidate of a decision from before candidates were one document: read, and no longer written."""

    __tablename__ = "candidate_rows"
    __table_args__ = (
        Index("ix_candidates_decision", "decision_id", "rank"),
        {"postgresql_partition_by": "RANGE (decision_id)"},
    )

    decision_id: Mapped[UUID] = mapped_column(
        ForeignKey("decisions.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"), primary_key=True
    )
    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    rank: Mapped[int]
    """1 is the chosen one or, where none was, the nearest miss."""
    offer_id: Mapped[UUID]
    """Not a foreign key: the record outlives the offer."""
    provider: Mapped[str]
    region: Mapped[str]
    country: Mapped[str | None]
    gpu_type: Mapped[str]
    gpu_count: Mapped[int]
    layout: Mapped[dict[str, Any]]
    spot: Mapped[bool]
    micros_per_gpu_hour: Mapped[int]
    price_date: Mapped[str]
    provision_s: Mapped[float]
    """Until the machine is there, as the offer said then."""
    forecast: Mapped[dict[str, Any] | None]
    vram_p50_gib: Mapped[float | None]
    vram_p95_gib: Mapped[float | None]
    usable_vram_gib: Mapped[float | None]
    fit_probability: Mapped[float | None]
    runtime_p50_s: Mapped[float | None]
    runtime_p90_s: Mapped[float | None]
    cost_p50_micros: Mapped[int | None]
    cost_p90_micros: Mapped[int | None]
    expected_cost_micros: Mapped[int | None]
    verdict: Mapped[str]
    """chosen or rejected"""
    reason: Mapped[str]
    """A reason code of scheduler.domain.verdicts."""
    reason_number: Mapped[float | None]
    """By how much: GiB short, seconds late, dollars over, per cent dearer; the code says which."""
    reason_text: Mapped[str]


class Event(Base):
    """Something that happened to a job, written in the transaction that made it so."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_job", "job_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt_id: Mapped[UUID | None]
    kind: Mapped[str]
    from_state: Mapped[str | None]
    to_state: Mapped[str | None]
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class OutboxMessage(Base):
    """A doorbell to ring once the transaction that wrote it has committed."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_unsent", "id", postgresql_where=text("sent_at IS NULL")),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    task: Mapped[str]
    queue: Mapped[str]
    arguments: Mapped[dict[str, Any]]
    """Ids only."""
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    claimed_until: Mapped[datetime | None]
    """A relay is sending it; another may take over after this time."""
    sent_at: Mapped[datetime | None]
