"""The table of trainings: what was asked for, what is going on, what came of it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.base import Base


class Training(Base):
    """One training of a challenger on what was measured, and its comparison with the champion."""

    __tablename__ = "trainings"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'ended')", name="state"),
        CheckConstraint("(state = 'ended') = (ended_at IS NOT NULL)", name="ended"),
        # two at once would only take each other's processor
        Index("uq_trainings_open", text("(true)"), unique=True, postgresql_where=text("state <> 'ended'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(server_default=text("'queued'"))
    scheduled: Mapped[bool]
    """Rung by the clock, not by a person."""
    requested_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    lease_expires_at: Mapped[datetime | None]
    """Later than this, whoever was training is taken for dead, and the training may be claimed again."""
    ended_at: Mapped[datetime | None]
    version: Mapped[str | None] = mapped_column(ForeignKey("models.version"))
    """The challenger; NULL where none came of it."""
    promoted: Mapped[bool] = mapped_column(server_default=text("false"))
    verdict: Mapped[str | None]
    """One sentence: how it compared, or why nothing came of it."""
    window_from: Mapped[datetime | None]
    """The first and the last observation that it read."""
    window_to: Mapped[datetime | None]
    read: Mapped[int | None]
    learned_from: Mapped[int | None]
    held_out: Mapped[int | None]
    left_out: Mapped[int | None]
    """Observations that today's facts cannot read."""
    quarantined: Mapped[int | None]
    """Measurements that cannot be."""
