"""Tables of tenants, their keys, what providers sell, and the predictor's versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.base import Base


class Tenant(Base):
    """Who owns rows."""

    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint("share > 0", name="share"),
        CheckConstraint("max_gpus IS NULL OR max_gpus >= 0", name="max_gpus"),
        CheckConstraint("max_micros_per_month IS NULL OR max_micros_per_month >= 0", name="max_micros_per_month"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    share: Mapped[float] = mapped_column(server_default=text("1"))
    """Of two tenants who both wait, one of twice the share gets twice as much."""
    max_gpus: Mapped[int | None]
    """Held at once; None is no limit."""
    max_micros_per_month: Mapped[int | None]
    """Spent in a calendar month (UTC), with what live attempts may yet cost at p90; None is no limit."""
    share_cards: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether several of its jobs may be put on one card; never together with another tenant's."""
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
        CheckConstraint("egress_micros_per_gib >= 0", name="egress"),
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
    egress_micros_per_gib: Mapped[int | None]
    """For each GiB that leaves the provider's network; NULL where no price list says."""
    tenancy: Mapped[str]
    backend: Mapped[str]
    """Which execution backend runs jobs placed here: local, slurm, kubernetes, dstack or simulated."""
    assumed: Mapped[list[Any]]
    """Names of the columns that no price list states."""
    source: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    away: Mapped[bool] = mapped_column(server_default=text("false"))
    """Its host is silent: nothing of it is free until that is heard again."""
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    # NULLS NOT DISTINCT would need PostgreSQL 15; all key columns are NOT NULL, so 14 will do
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - SQLAlchemy reads this as a class attribute


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


Index("uq_offers_key", Offer.provider, Offer.region, Offer.instance_type, Offer.gpu_type, unique=True)
