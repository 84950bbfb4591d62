"""Tables of prices: every list that was imported, every price there was, and those that nobody believed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.base import Base


class InventoryVersion(Base):
    """One row: how often what is sold has changed. A decision names the version it was made on."""

    __tablename__ = "inventory_version"
    __table_args__ = (CheckConstraint("id = 1", name="one"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, server_default=text("1"))
    version: Mapped[int] = mapped_column(server_default=text("0"))


class PriceImport(Base):
    """One price list that was taken in."""

    __tablename__ = "price_imports"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    format: Mapped[str]
    sha256: Mapped[str]
    """Of the file."""
    lines: Mapped[int]
    stored: Mapped[int]
    older: Mapped[int]
    """Lines older than the price in use: kept in the history, not put to use."""
    quarantined: Mapped[int]
    skipped: Mapped[dict[str, Any]]
    """Reason -> how many lines were no offer of ours."""
    oldest_price_date: Mapped[str | None]
    newest_price_date: Mapped[str | None]
    imported_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class OfferPrice(Base):
    """What an offer was, from one version of the inventory on: its prices, their day, and how much there was."""

    __tablename__ = "offer_prices"
    __table_args__ = (
        Index("ix_offer_prices_day", "offer_id", "price_date", "id"),
        Index("ix_offer_prices_version", "offer_id", "inventory_version", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    offer_id: Mapped[UUID] = mapped_column(ForeignKey("offers.id", ondelete="CASCADE"))
    price_date: Mapped[str]
    on_demand_micros_per_gpu_hour: Mapped[int | None]
    spot_micros_per_gpu_hour: Mapped[int | None]
    egress_micros_per_gib: Mapped[int | None]
    capacity_gpus: Mapped[int]
    enabled: Mapped[bool]
    source: Mapped[str]
    import_id: Mapped[UUID | None] = mapped_column(ForeignKey("price_imports.id"))
    inventory_version: Mapped[int]
    applied: Mapped[bool]
    """Whether the offer took it; an older list than the one in use is only remembered."""
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class QuarantinedPrice(Base):
    """A price that is not believed, with the whole offer, until somebody releases or drops it."""

    __tablename__ = "quarantined_prices"
    __table_args__ = (
        CheckConstraint("state IN ('held', 'released', 'dropped')", name="state"),
        Index(
            "uq_quarantined_prices_held", "provider", "region", "instance_type", "gpu_type",
            unique=True, postgresql_where=text("state = 'held'"),
        ),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True)
    import_id: Mapped[UUID | None] = mapped_column(ForeignKey("price_imports.id"))
    provider: Mapped[str]
    region: Mapped[str]
    instance_type: Mapped[str]
    gpu_type: Mapped[str]
    offer: Mapped[dict[str, Any]]
    """The offer as it would be."""
    doubt: Mapped[str]
    """A word of scheduler.domain.price_checks.Doubt."""
    factor: Mapped[float]
    reason: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=text("'held'"))
    held_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    decided_at: Mapped[datetime | None]
