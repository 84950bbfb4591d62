"""Run migrations on the connection that is handed in, or on PYTHIA_DATABASE_URL."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import context
from sqlalchemy.schema import SchemaItem

from scheduler.settings import load_settings
from scheduler.storage.tables import Base

LOCK_TIMEOUT = "5s"
"""A migration that must wait longer for a lock gives up, rather than let every other query queue behind it."""


_PART = re.compile(r"(decisions|candidates)_(first|default|\d{4}_\d{2})")


def _ours(name: str | None, kind: str, parents: object) -> bool:
    """Only the default schema is ours (kombu keeps its messages in one of its own), and of it no months of a table."""
    if kind == "table":
        return name is None or not _PART.fullmatch(name)
    return kind != "schema" or name is None


def _whole(item: SchemaItem, name: str | None, kind: str, reflected: bool, other: SchemaItem | None) -> bool:
    """PostgreSQL shows a foreign key to a parted table once more for each of its parts; only the first was declared."""
    if isinstance(item, sa.ForeignKeyConstraint) and reflected:
        return not any(_PART.fullmatch(key.target_fullname.partition(".")[0]) for key in item.elements)
    return True


def _run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_name=_ours,
        include_object=_whole,
        compare_server_default=True,
        transaction_per_migration=True,  # what was done stays done when a later step fails
    )
    with context.begin_transaction():
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        context.run_migrations()


def _main() -> None:
    given: sa.Connection | None = context.config.attributes.get("connection")
    if given is not None:
        _run(given)
        return
    engine = sa.create_engine(load_settings().require_database_url(), poolclass=sa.NullPool)
    with engine.connect() as connection:
        _run(connection)


_main()
