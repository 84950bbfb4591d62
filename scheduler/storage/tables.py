"""The tables.

Every owned row carries its tenant; money is integer micros, time is timestamptz, states are checked text.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from scheduler.domain.states import AttemptState, DecisionKind, JobState, Outcome

DEFAULT_TENANT = UUID("00000000-0000-7000-8000-000000000001")
"""The one tenant until there are users."""


def one_of(column: str, words: type[StrEnum], *, nullable: bool = False) -> str:
    """A CHECK that a text column holds one of an enumeration's words."""
    listed = ", ".join(f"'{word}'" for word in words)
    return f"{column} IS NULL OR {column} IN ({listed})" if nullable else f"{column} IN ({listed})"


class Base(DeclarativeBase):
    """Declarative base with predictable constraint names, so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this as a class attribute
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


class Tenant(Base):
    """Who owns rows."""

    __tablename__ = "tenants"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class ApiKey(Base):
    """A key's SHA-256; the key itself is shown once and never stored."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    sha256: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    revoked_at: Mapped[datetime | None]


class Offer(Base):
    """What a provider sells now. `reserved_gpus` is the one counter of capacity; a guarded update alone moves it."""

    __tablename__ = "offers"
    __table_args__ = (
        CheckConstraint("capacity_gpus >= 0", name="capacity"),
        # capacity may be lowered below what is reserved; reserving goes through a guarded update that checks both
        CheckConstraint("reserved_gpus >= 0", name="reserved"),
        CheckConstraint("node_gpus >= 1 AND max_nodes >= 1", name="nodes"),
        CheckConstraint("on_demand_micros_per_gpu_hour IS NULL OR on_demand_micros_per_gpu_hour >= 0", name="price"),
        CheckConstraint("spot_micros_per_gpu_hour IS NULL OR spot_micros_per_gpu_hour >= 0", name="spot_price"),
        CheckConstraint("billing_increment_s >= 1 AND minimum_s >= 0 AND provision_s >= 0", name="billing"),
        CheckConstraint("tenancy IN ('shared', 'dedicated', 'unknown')", name="tenancy"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    provider: Mapped[str]
    region: Mapped[str]
    country: Mapped[str | None]
    jurisdiction: Mapped[str | None]
    provider_hq: Mapped[str | None]
    instance_type: Mapped[str]
    gpu_type: Mapped[str]
    """A GPU type, or a bare name with several variants."""
    node_gpus: Mapped[int]
    sold_gpus: Mapped[list[Any]]
    """GPU counts of one machine that are sold; several machines are always whole ones."""
    max_nodes: Mapped[int]
    capacity_gpus: Mapped[int]
    reserved_gpus: Mapped[int] = mapped_column(server_default=text("0"))
    on_demand_micros_per_gpu_hour: Mapped[int | None]
    spot_micros_per_gpu_hour: Mapped[int | None]
    price_date: Mapped[str]
    billing_increment_s: Mapped[int]
    minimum_s: Mapped[int]
    provision_s: Mapped[float]
    interconnect_gbps: Mapped[float | None]
    tenancy: Mapped[str]
    backend: Mapped[str]
    """Which execution backend runs jobs placed here: local or simulated."""
    assumed: Mapped[list[Any]]
    """Names of the columns that no price list states."""
    source: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    # NULLS NOT DISTINCT would need PostgreSQL 15; all key columns are NOT NULL, so 14 will do
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - SQLAlchemy reads this as a class attribute


Index("uq_offers_key", Offer.provider, Offer.region, Offer.instance_type, Offer.gpu_type, unique=True)


class Job(Base):
    """One job. The spec is kept as it was sent."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(one_of("state", JobState), name="state"),
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("ix_jobs_page", "tenant_id", "id"),
        Index("ix_jobs_waiting", "priority", "id", postgresql_where=text("state = 'queued'")),
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
    """A placement, a wait or a refusal, with what it was based on, frozen."""

    __tablename__ = "decisions"
    __table_args__ = (
        CheckConstraint(one_of("kind", DecisionKind), name="kind"),
        UniqueConstraint("job_id", "number"),
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
    naive_cost_micros: Mapped[int | None]
    """Expected cost of the naive choice: the lowest price per hour whose memory holds the weights."""
    naive_choice: Mapped[dict[str, Any] | None]
    prediction_ms: Mapped[float]
    decided_at: Mapped[datetime]


class Candidate(Base):
    """An offer with a layout, its forecast and its verdict, as it stood when the decision was made."""

    __tablename__ = "candidates"
    __table_args__ = (Index("ix_candidates_decision", "decision_id", "rank"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    decision_id: Mapped[UUID] = mapped_column(ForeignKey("decisions.id", ondelete="CASCADE"))
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


class Attempt(Base):
    """One try at running a job on one placement."""

    __tablename__ = "attempts"
    __table_args__ = (
        CheckConstraint(one_of("state", AttemptState), name="state"),
        CheckConstraint(one_of("outcome", Outcome, nullable=True), name="outcome"),
        CheckConstraint("(state = 'ended') = (outcome IS NOT NULL)", name="ended_has_outcome"),
        UniqueConstraint("job_id", "number"),
        # at most one live attempt a job: the database itself refuses a second
        Index("uq_attempts_live", "job_id", unique=True, postgresql_where=text("state <> 'ended'")),
        Index("ix_attempts_due", "next_poll_at", postgresql_where=text("state IN ('starting', 'running')")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    decision_id: Mapped[UUID] = mapped_column(ForeignKey("decisions.id"))
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


class Reservation(Base):
    """Capacity held for an attempt; open until released, and released exactly once."""

    __tablename__ = "reservations"
    __table_args__ = (
        CheckConstraint("gpu_count >= 1", name="gpu_count"),
        Index("ix_reservations_open", "offer_id", postgresql_where=text("released_at IS NULL")),
    )

    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    offer_id: Mapped[UUID] = mapped_column(ForeignKey("offers.id"))
    gpu_count: Mapped[int]
    reserved_at: Mapped[datetime]
    released_at: Mapped[datetime | None]


class AttemptLog(Base):
    """What an attempt printed, in chunks as they were collected."""

    __tablename__ = "attempt_logs"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.id", ondelete="CASCADE"), index=True)
    stream: Mapped[str]
    """stdout or stderr"""
    offset: Mapped[int]
    """Bytes of that stream before this chunk; with attempt and stream it names a chunk once."""
    size: Mapped[int]
    """Bytes of that stream in this chunk; its text may have more or fewer, where they were not UTF-8."""
    collected_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    text: Mapped[str]


Index("uq_attempt_logs_chunk", AttemptLog.attempt_id, AttemptLog.stream, AttemptLog.offset, unique=True)


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


class Model(Base):
    """A version of the predictor. Exactly one is the champion, or none: then the shipped bundle is used."""

    __tablename__ = "models"
    __table_args__ = (Index("uq_models_champion", "champion", unique=True, postgresql_where=text("champion")),)

    version: Mapped[str] = mapped_column(primary_key=True)
    bundle: Mapped[bytes] = mapped_column(LargeBinary)
    bundle_sha256: Mapped[str]
    rows: Mapped[int]
    metrics: Mapped[dict[str, Any]]
    comparison: Mapped[dict[str, Any] | None]
    """Against the champion of its day, on held-out jobs."""
    champion: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    promoted_at: Mapped[datetime | None]
