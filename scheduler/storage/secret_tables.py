"""The table of secrets."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.storage.base import Base


class SecretRow(Base):
    """A value that jobs of its tenant may ask for by name. Only who has the installation's key can read it."""

    __tablename__ = "secrets"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[str]
    """Encrypted and signed, with tenant and name inside (`scheduler.services.vault`)."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
