"""The table of jobs that wait: what each could use, and the start that is held for the most urgent."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.base import Base


class Waits(Base):
    """One queued job that was decided and has to wait. Gone as soon as it is not queued any more."""

    __tablename__ = "waits"
    __table_args__ = (
        Index("ix_waits_reserved", "reserved_offer_id", postgresql_where=text("reserved_offer_id IS NOT NULL")),
    )

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    wants: Mapped[dict[str, Any]]
    """Offer id -> the fewest GPUs that it could use there; GPU types in place of offers where those are many. Empty for
    one that its tenant's quota stops."""
    options: Mapped[list[Any]]
    """The best of what it could run on, for predicting its start."""
    reserved_offer_id: Mapped[UUID | None]
    reserved_gpus: Mapped[int | None]
    reserved_start_at: Mapped[datetime | None]
    """By the predicted ends (p90) of what ran then; nobody of lower standing may delay it."""
    since: Mapped[datetime]
    decided_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
