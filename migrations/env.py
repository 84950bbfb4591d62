"""Run migrations on the connection that is handed in, or on PYTHIA_DATABASE_URL."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from scheduler.settings import load_settings
from scheduler.storage.tables import Base

LOCK_TIMEOUT = "5s"
"""A migration that must wait longer for a lock gives up, rather than let every other query queue behind it."""


def _ours(name: str | None, kind: str, parents: object) -> bool:
    """Only the default schema is ours: kombu keeps its messages in one of its own."""
    return kind != "schema" or name is None


def _run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_name=_ours,
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
