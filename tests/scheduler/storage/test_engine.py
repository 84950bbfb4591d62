"""A transaction that PostgreSQL undid for a passing reason is tried again, and for no other reason."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from scheduler.storage.engine import TRIES, at_once, make_engine, retried, transaction


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """As every process makes its own."""
    made = make_engine(database_url)
    yield made
    made.dispose()


STILL_ENDING = "new multixact has more than one updating member: 0 2[7 (keysh), 8 (nokeyupd)]"


class Refused:
    """A step that PostgreSQL refuses so many times with this error, and then lets through."""

    def __init__(self, engine: sa.Engine, times: int, code: str, message: str = "no") -> None:
        self._engine, self._times = engine, times
        self._refuse = sa.text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{message}'; END $$")
        self.tried = 0

    def __call__(self) -> str:
        self.tried += 1
        with transaction(self._engine) as session:
            if self.tried <= self._times:
                session.execute(self._refuse)
            return "done"


@pytest.mark.parametrize(("code", "message"), [("40001", "no"), ("40P01", "no"), ("XX000", STILL_ENDING)])
def test_what_passes_is_tried_again(engine: sa.Engine, code: str, message: str) -> None:
    refused = Refused(engine, TRIES - 1, code, message)
    assert retried(refused.__call__)() == "done"
    assert refused.tried == TRIES


@pytest.mark.parametrize(("code", "message"), [("XX000", "could not read a block"), ("23505", STILL_ENDING[:12])])
def test_what_does_not_pass_is_said_at_once(engine: sa.Engine, code: str, message: str) -> None:
    refused = Refused(engine, 1, code, message)
    with pytest.raises(DBAPIError):
        retried(refused.__call__)()
    assert refused.tried == 1


def test_what_never_passes_is_said_in_the_end(engine: sa.Engine) -> None:
    refused = Refused(engine, TRIES, "40001")
    with pytest.raises(DBAPIError):
        retried(refused.__call__)()
    assert refused.tried == TRIES


def test_of_two_steps_that_wait_for_each_other_both_are_done(engine: sa.Engine) -> None:
    with transaction(engine) as session:
        session.execute(sa.text("CREATE TABLE pair (id int PRIMARY KEY, changed int NOT NULL DEFAULT 0)"))
        session.execute(sa.text("INSERT INTO pair (id) VALUES (1), (2)"))
    both_hold_one = threading.Barrier(2)
    change = sa.text("UPDATE pair SET changed = changed + 1 WHERE id = :id")

    def step(first: int, second: int) -> None:
        tried = iter(range(TRIES))

        @retried
        def once() -> None:
            with transaction(engine) as session:
                session.execute(change, {"id": first})
                if next(tried) == 0:
                    both_hold_one.wait(20)
                session.execute(change, {"id": second})

        once()

    threads = [threading.Thread(target=step, args=ids) for ids in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with transaction(engine) as session:
        assert session.execute(sa.text("SELECT array_agg(changed) FROM pair")).scalar_one() == [2, 2]


def test_connections_that_rested_while_the_server_ended_them_are_made_anew(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.storage.engine.TRUSTED_S", 0.0)
    with transaction(engine) as first, transaction(engine) as second:
        ended = [session.execute(sa.text("SELECT pg_backend_pid()")).scalar_one() for session in (first, second)]
    _end_sessions(engine, ended)
    with transaction(engine) as first, transaction(engine) as second:
        now = {session.execute(sa.text("SELECT pg_backend_pid()")).scalar_one() for session in (first, second)}
    assert not now & set(ended)


def test_a_connection_that_ended_a_moment_ago_fails_once(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.storage.engine.TRUSTED_S", 3600.0)
    with transaction(engine) as session:
        ended = [session.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()]
    _end_sessions(engine, ended)
    with pytest.raises(DBAPIError), transaction(engine) as session:
        session.execute(sa.text("SELECT 1"))
    with transaction(engine) as session:
        assert session.execute(sa.text("SELECT 1")).scalar_one() == 1


def test_a_connection_that_was_looked_at_still_undoes_what_failed(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.storage.engine.TRUSTED_S", 0.0)
    with at_once(engine) as session:
        session.execute(sa.text("CREATE TABLE kept (id int)"))
    insert = sa.text("INSERT INTO kept VALUES (1 / :divisor)")

    def insert_and_fail() -> None:
        with transaction(engine) as session:
            session.execute(insert, {"divisor": 1})
            session.execute(insert, {"divisor": 0})

    with pytest.raises(DBAPIError):
        insert_and_fail()
    with at_once(engine) as session:
        assert session.execute(sa.text("SELECT count(*) FROM kept")).scalar_one() == 0


def _end_sessions(engine: sa.Engine, pids: list[int]) -> None:
    another = sa.create_engine(engine.url, poolclass=sa.NullPool)
    with another.connect() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(pid, 5000) FROM unnest(:pids) AS pid"), {"pids": pids})
