"""Tables of cards that several attempts of a tenant may be on."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.base import Base


class CardRow(Base):
    """One card from the placement of the first attempt on it to the end of the last, with the terms of its machine."""

    __tablename__ = "cards"
    __table_args__ = (
        CheckConstraint("seats BETWEEN 0 AND 4", name="seats"),
        CheckConstraint("(seats = 0) = (closed_at IS NOT NULL)", name="closed"),
        UniqueConstraint("id", "tenant_id"),  # what attempts refer to
        Index("ix_cards_open", "tenant_id", postgresql_where=text("closed_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The id of the attempt that came first."""
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    offer_id: Mapped[UUID] = mapped_column(ForeignKey("offers.id"))
    micros_per_gpu_hour: Mapped[int]
    billing_increment_s: Mapped[int]
    minimum_s: Mapped[int]
    provision_s: Mapped[float]
    machine_id: Mapped[UUID | None]
    """Not a foreign key, for the reason given in `Attempt.machine_id`."""
    seats: Mapped[int] = mapped_column(server_default=text("1"))
    """Live attempts on it."""
    version: Mapped[int] = mapped_column(server_default=text("0"))
    """Attempts that have joined."""
    joinable: Mapped[bool] = mapped_column(server_default=text("true"))
    """False once an attempt on it went wrong in a way that says something of the card or its machine."""
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
