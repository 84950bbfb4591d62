"""PostgreSQL as a Celery broker: kombu's SQLAlchemy transport, taking messages without waiting or litter.

Kombu's own marks a delivered message invisible and leaves the row for ever, lets two consumers wait for
each other's row lock, and fails when two processes make the same table or queue at once. Here a message is
taken by deleting it, past rows that another consumer holds, and one statement looks into all of a
consumer's queues.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from json import dumps, loads
from queue import Empty
from typing import Any

from kombu.transport import sqlalchemy

from scheduler.broker import SCHEMA

_SETUP_LOCK = 7_020_774_836_219_402_291
"""A PostgreSQL advisory lock of our own; any number that nothing else uses."""

_NEW_QUEUE = """
INSERT INTO kombu_queue (id, name) VALUES (nextval('queue_id_sequence'), %(queue)s) ON CONFLICT (name) DO NOTHING
"""
_PUT = """
INSERT INTO kombu_message (id, visible, timestamp, payload, version, queue_id)
SELECT nextval('message_id_sequence'), true, now(), %(payload)s, 1, id FROM kombu_queue WHERE name = %(queue)s
"""
_TAKE = """
DELETE FROM kombu_message WHERE id = (
    SELECT m.id FROM kombu_message AS m JOIN kombu_queue AS q ON q.id = m.queue_id
    WHERE q.name = ANY(%(queues)s)
    ORDER BY m.id LIMIT 1 FOR UPDATE OF m SKIP LOCKED
) RETURNING payload, (SELECT name FROM kombu_queue WHERE id = queue_id) AS queue
"""
_SIZE = """
SELECT count(*) AS size FROM kombu_message WHERE queue_id = (SELECT id FROM kombu_queue WHERE name = %(queue)s)
"""
_PURGE = """
DELETE FROM kombu_message WHERE queue_id = (SELECT id FROM kombu_queue WHERE name = %(queue)s)
"""

_PATIENCE_S = 0.2


class Channel(sqlalchemy.Channel):
    """A consumer's or a producer's conversation with the message tables."""

    def _open(self) -> Any:
        if self.connection.client.hostname in self._engines:
            return self._engines[self.connection.client.hostname]
        setup = self._engine_from_config()
        try:
            with setup.connect() as connection:
                connection.exec_driver_sql(f"SELECT pg_advisory_lock({_SETUP_LOCK})")
                # asked first: CREATE … IF NOT EXISTS needs the right to create even when there is nothing to do
                if connection.exec_driver_sql(f"SELECT to_regnamespace('{SCHEMA}')").scalar() is None:
                    connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
                return super()._open()
        finally:
            setup.dispose()  # ends the session, and with it the lock

    def _execute(self, statement: str, **parameters: object) -> Any:
        """The first row of a query, or how many rows a change touched."""
        engine, _ = self._open()
        with engine.connect() as connection:
            result = connection.exec_driver_sql(statement, parameters)
            return result.first() if result.returns_rows else result.rowcount

    def _new_queue(self, queue: str, **_: object) -> None:
        self._execute(_NEW_QUEUE, queue=queue)

    def _put(self, queue: str, payload: dict[str, Any], **_: object) -> None:
        if self._execute(_PUT, queue=queue, payload=dumps(payload)) == 0:
            self._new_queue(queue)
            self._execute(_PUT, queue=queue, payload=dumps(payload))

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        return self._take([queue])[0]

    def _poll(self, cycle: Any, callback: Callable[[dict[str, Any], str], None], timeout: float | None = None) -> None:
        message, queue = self._take(list(self._active_queues))
        callback(message, queue)

    def _take(self, queues: list[str]) -> tuple[dict[str, Any], str]:
        row = self._execute(_TAKE, queues=queues)
        if row is None:
            raise Empty
        return loads(row.payload), row.queue

    def _size(self, queue: str) -> int:
        return int(self._execute(_SIZE, queue=queue).size)

    def _purge(self, queue: str) -> int:
        return int(self._execute(_PURGE, queue=queue))


class Transport(sqlalchemy.Transport):
    """What kombu resolves the embedded broker's scheme to."""

    Channel = Channel
    polling_interval = 0.02  # seconds between looks into empty queues; the default of 1 s carries two tasks a second
    busy_polling_interval = 0.002
    """While messages come: a worker takes no more than it can run, so each rest is a pause between tasks."""
    busy_s = 0.1

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        """Deliver one message, resting between looks; raise `TimeoutError` if none came in time."""
        # Celery asks for 2 s and looks for a request to stop only in between
        deadline = time.monotonic() + min(timeout or _PATIENCE_S, _PATIENCE_S)
        while True:
            try:
                self.cycle.get(self._deliver, timeout=timeout)
            except Empty:
                now = time.monotonic()
                if timeout is not None and now >= deadline:
                    raise TimeoutError from None
                busy = now - self._delivered_at < self.busy_s
                time.sleep(self.busy_polling_interval if busy else self.polling_interval)
            else:
                self._delivered_at = time.monotonic()
                return

    _delivered_at = float("-inf")


def forget_connections(*, close: bool) -> None:
    """Drop this process's broker connections, which kombu would keep as long as it lives.

    After a fork they are the parent's, on the same sockets: forgotten without closing.
    """
    for engine, _ in Channel._engines.values():
        engine.dispose(close=close)
    Channel._engines.clear()
