"""What all tables have in common.

Every owned row carries its tenant; money is integer micros, time is timestamptz, states are checked text.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

DEFAULT_TENANT = UUID("00000000-0000-7000-8000-000000000001")
"""The one tenant until there are users."""


def one_of(column: str, words: type[StrEnum], *, nullable: bool = False) -> str:
    """A CHECK that a text column holds one of an enumeration's words."""
    listed = ", ".join(f"'{word}'" for word in words)
    return f"{column} IS NULL OR {column} IN ({listed})" if nullable else f"{column} IN ({listed})"


def core(table: type[Base]) -> Table:
    """A table past the ORM, which takes several times what it takes PostgreSQL to change a row; for statements that are
    made once and run often."""
    made = table.__table__
    assert isinstance(made, Table)  # noqa: S101 - a view or a join is mapped nowhere
    return made


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
