"""Connections to PostgreSQL and the one way to open a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

__all__ = ["Engine", "Session", "at_once", "database_answers", "make_engine", "reading", "transaction"]


def make_engine(database_url: str, *, pool_size: int = 4) -> Engine:
    """A pool of connections. Dispose of it after a fork: two processes on one socket mix their answers."""
    return create_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=4,
        pool_use_lifo=True,  # the one used last has its statements prepared and its caches warm
        pool_pre_ping=True,  # the server may have been restarted since the last use
        connect_args={
            "connect_timeout": 10,
            # a lock is held for milliseconds here; waiting longer means that something is wrong
            "options": "-c lock_timeout=20s -c idle_in_transaction_session_timeout=60s -c timezone=UTC",
        },
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


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
