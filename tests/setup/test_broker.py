"""Messages reach workers over each broker, once each, and nothing of the embedded broker shows in our schema."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from kombu import Connection
from kombu.exceptions import OperationalError

from scheduler.broker import BrokerUnreachable, broker_for, prepare
from scheduler.dispatch import CeleryDispatcher
from scheduler.settings import Settings
from tests.support.brokers import BROKERS, broker_settings
from tests.support.proxy import CuttableProxy


@pytest.fixture(params=BROKERS)
def settings(request: pytest.FixtureRequest, empty_database_url: str) -> Iterator[Settings]:
    with broker_settings(request.param, empty_database_url) as settings:
        yield settings


@contextmanager
def noting_worker(
    settings: Settings, notes: Path, name: str, concurrency: int = 1
) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "NOTES": str(notes),
        "PYTHIA_DATABASE_URL": settings.require_database_url(),
        "PYTHIA_BROKER_URL": settings.broker_url or "",
        "PYTHIA_QUEUE_PREFIX": settings.queue_prefix,
    }
    command = [sys.executable, "-m", "tests.support.noting_worker", str(concurrency), name]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def words_in(notes: Path, expected: int, within_s: float = 30.0) -> list[str]:
    """What was noted so far, waiting for the expected number of lines and then a little for one too many."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and (not notes.exists() or len(notes.read_text().splitlines()) < expected):
        time.sleep(0.05)
    time.sleep(0.3)
    return notes.read_text().splitlines() if notes.exists() else []


def waiting(connection: Connection, queue: str) -> str | None:
    """The name of the next task in a queue, None if it is empty."""
    message = connection.default_channel.basic_get(queue, no_ack=True)
    return None if message is None else str(message.headers["task"])


def test_two_workers_answer_each_message_once(settings: Settings, tmp_path: Path) -> None:
    notes, sender = tmp_path / "notes", CeleryDispatcher(broker_for(settings))
    with noting_worker(settings, notes, "one@test"), noting_worker(settings, notes, "two@test"):
        for number in range(100):
            sender.send("note", "dispatch", {"word": f"word-{number}"})
        lines = words_in(notes, expected=100)
    assert Counter(line.split()[0] for line in lines) == {f"word-{number}": 1 for number in range(100)}
    assert len({line.split()[1] for line in lines}) == 2, "one of two idle workers got nothing"


def test_a_message_waits_for_a_worker_that_is_not_there_yet(settings: Settings, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    CeleryDispatcher(broker_for(settings)).send("note", "dispatch", {"word": "early"})
    with noting_worker(settings, notes, "late@test"):
        assert [line.split()[0] for line in words_in(notes, expected=1)] == ["early"]


def test_a_message_that_nobody_took_in_time_is_dropped_by_whoever_takes_it(settings: Settings, tmp_path: Path) -> None:
    notes, broker = tmp_path / "notes", broker_for(settings)
    sender = CeleryDispatcher(broker)
    for number in range(20):
        sender.send("note", "maintenance", {"word": f"late-{number}"}, expires_s=0.001)
    sender.send("note", "maintenance", {"word": "fresh"}, expires_s=600.0)
    sender.send("note", "maintenance", {"word": "forever"})
    with noting_worker(settings, notes, "late@test"):
        assert [line.split()[0] for line in words_in(notes, expected=2)] == ["fresh", "forever"]
    with Connection(broker.url, transport_options=broker.transport_options) as connection:
        assert waiting(connection, broker.queue("maintenance")) is None


def test_a_message_lies_in_the_queue_of_its_kind_of_work(settings: Settings) -> None:
    broker = broker_for(settings)
    CeleryDispatcher(broker).send("note", "poll", {"word": "x"})
    with Connection(broker.url, transport_options=broker.transport_options) as connection:
        assert waiting(connection, broker.queue("poll")) == "note"
        assert waiting(connection, broker.queue("dispatch")) is None
        assert waiting(connection, broker.queue("maintenance")) is None


def test_a_connection_that_was_cut_while_it_idled_loses_no_message(settings: Settings) -> None:
    if settings.broker_url is None:
        pytest.skip("the embedded broker is PostgreSQL, whose connections are checked before use")
    with CuttableProxy(settings.broker_url) as proxy:
        broker = broker_for(settings.model_copy(update={"broker_url": proxy.url}))
        sender = CeleryDispatcher(broker)
        for number in range(3):
            sender.send("note", "poll", {"word": f"word-{number}"})
            proxy.cut()
        sender.close()
    with Connection(settings.broker_url, transport_options=broker.transport_options) as connection:
        assert [waiting(connection, broker.queue("poll")) for _ in range(4)] == ["note", "note", "note", None]


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"])
def test_a_broker_that_is_gone_is_an_error_within_seconds(url: str) -> None:
    broker = broker_for(Settings(broker_url=url))
    started = time.monotonic()
    with pytest.raises(OperationalError, match="refused"):
        CeleryDispatcher(broker).send("note", "dispatch", {"word": "lost"})
    with pytest.raises(BrokerUnreachable, match=rf"no broker answers at {url.partition(':')[0]}://.*refused"):
        prepare(broker)
    assert time.monotonic() - started < 10


def test_many_processes_may_open_an_untouched_embedded_broker_at_once(empty_database_url: str) -> None:
    code = "from scheduler.broker import *; from scheduler.settings import *; prepare(broker_for(load_settings()))"
    environment = os.environ | {"PYTHIA_DATABASE_URL": empty_database_url, "PYTHIA_BROKER_URL": ""}

    def open_broker(_: int) -> int:
        return subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(open_broker, range(4))) == [0, 0, 0, 0]


def test_the_embedded_broker_stays_in_its_own_schema_and_leaves_no_row_behind(empty_database_url: str) -> None:
    broker = broker_for(Settings(database_url=empty_database_url, broker_url=None))
    prepare(broker)
    with Connection(broker.url, transport_options=broker.transport_options) as connection:
        queue = connection.SimpleQueue(broker.queue("dispatch"))
        queue.put({"id": 1})
        queue.get(timeout=2).ack()
    with psycopg.connect(empty_database_url.replace("+psycopg", "")) as database:
        schemas = database.execute("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'kombu%'").fetchall()
        left = database.execute("SELECT count(*) FROM kombu.kombu_message").fetchone()
    assert (schemas, left) == ([("kombu",)], (0,))
