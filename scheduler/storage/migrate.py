"""Bring a database to the newest schema, from a checkout or from an installed wheel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from predictor.errors import PythiaError

_MIGRATION_LOCK = 7_020_774_836_219_402_290
"""A PostgreSQL advisory lock of our own: one upgrade at a time, the others wait and then find nothing to do."""


class DatabaseUnreachable(PythiaError):
    """No PostgreSQL answers at the configured address."""

    code = "database_unreachable"


def migrations_dir() -> Path:
    """The folder of migrations: beside the packages in a checkout, inside `scheduler` in a wheel."""
    package = Path(__file__).resolve().parent.parent
    beside = package.parent / "migrations"
    return beside if (beside / "env.py").is_file() else package / "_data" / "migrations"


def alembic_config(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration without an ini file; `migrations/env.py` uses the connection it is handed."""
    config = Config()
    config.set_main_option("script_location", str(migrations_dir()))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def newest_revision() -> str | None:
    """The revision the code expects."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def current_revision(database_url: str) -> str | None:
    """The revision a database is at, None if it was never migrated."""
    with _connection(database_url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(database_url: str, revision: str = "head") -> tuple[str | None, str | None]:
    """Migrate under an advisory lock; the revisions before and after."""
    with _connection(database_url) as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_MIGRATION_LOCK})")
        connection.commit()
        before = MigrationContext.configure(connection).get_current_revision()
        connection.rollback()
        command.upgrade(alembic_config(connection), revision)
        connection.commit()
        return before, MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _connection(database_url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(database_url, poolclass=sa.NullPool, connect_args={"connect_timeout": 10})
    try:
        connection = engine.connect()
    except sa.exc.OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        where = engine.url.render_as_string(hide_password=True)
        raise DatabaseUnreachable(f"no database answers at {where}: {reason}") from error
    with connection:  # closing it (there is no pool) ends the session, and with it the lock
        yield connection
