"""Connections to PostgreSQL and the one way to open a transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import psycopg
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

__all__ = [
    "Engine", "OperationalError", "Session", "at_once", "database_answers", "make_engine", "reading", "retried",
    "time_there", "transaction",
]  # fmt: skip

_P = ParamSpec("_P")
_R = TypeVar("_R")

TRIES = 5
"""Of a transaction that PostgreSQL undid for a reason that passes; a race of milliseconds is not lost five times."""

_PASSING = frozenset({"40001", "40P01"})
"""SQLSTATE of transactions that collided: serialization failure, deadlock."""

_STILL_ENDING = "new multixact has more than one updating member"
"""What PostgreSQL (15 to 18 at least, as XX000) says where a row was changed by a transaction that has been undone and
is not off the list of those running: it passes the row on a moment too early, notices, and undoes who asked."""


def make_engine(database_url: str, *, pool_size: int = 4, overflow: int = 4) -> Engine:
    """A pool of connections: so many that stay, and so many more under load. Dispose of it after a fork: two processes
    on one socket mix their answers."""
    engine = create_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=overflow,
        pool_use_lifo=True,  # the one used last has its statements prepared and its caches warm
        pool_pre_ping=False,  # see `_alive`
        connect_args={
            "connect_timeout": 10,
            # a lock is held for milliseconds here; waiting longer means that something is wrong
            "options": "-c lock_timeout=20s -c idle_in_transaction_session_timeout=60s -c timezone=UTC",
        },
    )
    event.listen(engine, "checkin", _rests)
    event.listen(engine, "checkout", _alive)
    return engine


TRUSTED_S = 1.0
"""A connection that was in use this lately is used again unasked. Were the server restarted in between, one transaction
fails, as it would have a moment before; SQLAlchemy then makes all connections anew."""


def _rests(_: object, record: ConnectionPoolEntry) -> None:
    record.info["rests_since"] = time.monotonic()


def _alive(connection: psycopg.Connection[Any], record: ConnectionPoolEntry, _: object) -> None:
    """Ask a connection that has rested whether its server is still there (SQLAlchemy's own `pool_pre_ping` asks before
    every transaction, which is one round trip in six)."""
    if time.monotonic() - record.info.get("rests_since", time.monotonic()) < TRUSTED_S:
        return
    by_itself = connection.autocommit
    try:
        connection.autocommit = True  # or it would begin a transaction that nobody asked for
        connection.execute("SELECT 1")
        connection.autocommit = by_itself
    except psycopg.Error as error:
        raise DisconnectionError from error  # the pool makes another


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


def _is_passing(error: DBAPIError) -> bool:
    """Whether PostgreSQL undid a transaction for a reason that is gone by the time it is tried again."""
    return getattr(error.orig, "sqlstate", None) in _PASSING or _STILL_ENDING in str(error.orig)


def retried(step: Callable[_P, _R]) -> Callable[_P, _R]:
    """A step that is one transaction and nothing else, tried again where PostgreSQL undid it for a passing reason."""

    @wraps(step)
    def persistently(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        for _ in range(TRIES - 1):
            try:
                return step(*args, **kwargs)
            except DBAPIError as error:
                if not _is_passing(error):
                    raise
        return step(*args, **kwargs)

    return persistently


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One consistent snapshot for several reads; nothing can be written in it."""
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with Session(snapshot, expire_on_commit=False) as session:
        yield session


@contextmanager
def at_once(engine: Engine) -> Iterator[Session]:
    """For one statement that reads: it is a snapshot by itself, and no BEGIN and COMMIT go around it."""
    with Session(engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False) as session:
        yield session


def database_answers(engine: Engine) -> bool:
    """Whether PostgreSQL answers now."""
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except OperationalError:
        return False
    return True


def time_there(engine: Engine) -> datetime:
    """The time by PostgreSQL's clock."""
    with at_once(engine) as session:
        there: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        return there
