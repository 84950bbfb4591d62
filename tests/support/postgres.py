"""PostgreSQL servers for tests: an embedded one always, and a named one where there is one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy.engine import make_url

from scheduler.embedded.postgres import EmbeddedPostgres
from scheduler.storage.migrate import upgrade
from tests.support.scratch import scratch_directory

EXTERNAL_URL = os.environ.get("PYTHIA_TEST_DATABASE_URL")
SERVERS = ("embedded", "external") if EXTERNAL_URL else ("embedded",)


@dataclass(slots=True, kw_only=True)
class PostgresServer:
    """A running server on which each test has a database of its own, copied from a migrated one."""

    name: str
    admin_url: str
    template: str | None = None

    def url(self, database: str) -> str:
        """A database's address for SQLAlchemy with psycopg 3."""
        return make_url(self.admin_url).set(database=database, drivername="postgresql+psycopg").render_as_string(False)

    def execute(self, statement: str) -> None:
        """Run one statement that cannot be part of a transaction."""
        address = make_url(self.admin_url).set(drivername="postgresql").render_as_string(False)
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """A database without any tables; its address."""
        yield from self._database("template0")

    @contextmanager
    def migrated_database(self) -> Iterator[str]:
        """A database at the newest schema; its address. Copying takes tens of milliseconds, migrating seconds."""
        if self.template is None:
            self.template = _name()
            self.execute(f"CREATE DATABASE {self.template} TEMPLATE template0")
            upgrade(self.url(self.template))
        yield from self._database(self.template)

    def _database(self, template: str) -> Iterator[str]:
        name = _name()
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """Leave nothing behind on a server that is not ours."""
        if self.template is not None:
            self.execute(f"DROP DATABASE {self.template} WITH (FORCE)")


@contextmanager
def running_server(name: str) -> Iterator[PostgresServer]:
    """The embedded server, started for this session, or the one PYTHIA_TEST_DATABASE_URL names."""
    if name == "external":
        assert EXTERNAL_URL is not None
        server = PostgresServer(name=name, admin_url=EXTERNAL_URL)
        try:
            yield server
        finally:
            server.close()
        return
    with scratch_directory("test") as directory:
        embedded = EmbeddedPostgres(directory=directory / "postgres", log=directory / "postgres.log", disposable=True)
        try:
            embedded.start()
            yield PostgresServer(name=name, admin_url=embedded.url("postgres"))
        finally:
            embedded.stop()


def _name() -> str:
    return f"pythia_test_{os.getpid()}_{secrets.token_hex(4)}"
