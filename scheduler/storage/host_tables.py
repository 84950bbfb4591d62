"""The table of hosts whose workers offer what is in them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.base import Base


class HostRow(Base):
    """A host as its worker registered it. Its offers are those of the provider `local` in the region of its name."""

    __tablename__ = "hosts"

    name: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str]
    """What tells it from another host of its name."""
    heard_at: Mapped[datetime]
    silent_since: Mapped[datetime | None]
    """When it was found silent; None while it is heard."""
