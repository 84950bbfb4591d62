"""Runs that ran, as a real dstack server tells of them: its own code reads what a cloud would have had it write down.

Nothing is rented from here, so the server's background work is switched off, and its database and logs are written by
the test in its place.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.domain.states import Outcome
from scheduler.settings import Settings
from tests.support.dstack_server import MISSING, PYTHON, DstackServer, dstack_server
from tests.support.fake_dstack import machine
from tests.workers.backends.dstack.test_real_server import run_without_image
from tests.workers.backends.dstack.works import make_cloud_work
from workers.backends.base import Phase
from workers.backends.dstack import backend as module
from workers.backends.dstack.backend import Dstack
from workers.backends.dstack.task import run_name
from workers.outcomes import result_of

pytestmark = pytest.mark.skipif(not PYTHON.is_file(), reason=MISSING)

BEGAN = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DstackServer]:
    folder = tmp_path_factory.mktemp("dstack")
    with dstack_server(folder, DSTACK_SERVER_BACKGROUND_PROCESSING_DISABLED="1") as made:
        yield made


@pytest.fixture
def backend(server: DstackServer, monkeypatch: pytest.MonkeyPatch) -> Dstack:
    monkeypatch.setattr(module, "run_of", run_without_image)
    settings = Settings(dstack_url=server.url, dstack_token=server.token, log_cap_bytes=100_000)
    return Dstack(settings=settings, clock=lambda: datetime.now(UTC))


@dataclass
class Written:
    """What a server's background work writes down of one run."""

    server: DstackServer
    name: str
    status: str = "SUBMITTED"

    def _database(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.server.folder / "data" / "sqlite.db", timeout=30))

    def _job(self, database: sqlite3.Connection) -> tuple[str, str]:
        query = "SELECT id, run_id FROM jobs WHERE run_name = ?"
        ((job, run),) = database.execute(query, [self.name]).fetchall()
        return job, run

    def job(self, status: str, after_s: float, **more: Any) -> None:
        """Its job has come to a state, with the event that says so."""
        at = _stamp(after_s)
        with self._database() as database, database:
            job, run = self._job(database)
            changed = {"status": status, "last_processed_at": at, **more}
            columns = ", ".join(f"{column} = ?" for column in changed)
            database.execute(f"UPDATE jobs SET {columns} WHERE id = ?", [*changed.values(), job])  # noqa: S608 - names
            event = uuid.uuid4().hex
            message = f"Job status changed {self.status} -> {status}"
            database.execute("INSERT INTO events (id, message, recorded_at) VALUES (?, ?, ?)", [event, message, at])
            database.execute(
                "INSERT INTO event_targets (id, event_id, entity_project_id, entity_type, entity_id, entity_name, "
                "entity_run_id) SELECT ?, ?, project_id, 'JOB', ?, 'job', ? FROM runs WHERE id = ?",
                [uuid.uuid4().hex, event, job, run, run],
            )
        self.status = status

    def run(self, status: str, reason: str | None = None) -> None:
        with self._database() as database, database:
            _, run = self._job(database)
            database.execute("UPDATE runs SET status = ?, termination_reason = ? WHERE id = ?", [status, reason, run])

    def ran(self, reason: str, code: int | None) -> None:
        """From its machine to its end: rented after 20 s, running after 60, ended after 160, gone after 170."""
        self.job("PROVISIONING", 20, job_provisioning_data=json.dumps(machine(2.5, spot=True)))
        self.job("PULLING", 30)
        self.job("RUNNING", 60)
        self.run("RUNNING")
        self.job("TERMINATING", 160, termination_reason=reason, exit_status=code)
        self.job("DONE" if reason == "DONE_BY_RUNNER" else "FAILED", 170)
        self.run(*(("DONE", "ALL_JOBS_DONE") if reason == "DONE_BY_RUNNER" else ("FAILED", "JOB_FAILED")))

    def prints(self, *pieces: str, each_ms: int = 1) -> None:
        with self._database() as database:
            job = uuid.UUID(self._job(database)[0])
        log = self.server.folder / "projects" / "main" / "logs" / self.name / str(job) / "job.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        before = len(log.read_text().splitlines()) if log.exists() else 0
        with log.open("a") as stream:
            for number, piece in enumerate(pieces, start=before):
                at = BEGAN + timedelta(seconds=61, milliseconds=number * each_ms)
                event = {"timestamp": at.isoformat(), "log_source": "stdout", "message": piece}
                stream.write(json.dumps(event) + "\n")


def _stamp(after_s: float) -> str:
    return (BEGAN + timedelta(seconds=after_s)).strftime("%Y-%m-%d %H:%M:%S.%f")


def started(backend: Dstack, server: DstackServer) -> tuple[Any, Written]:
    work = make_cloud_work()
    return backend.start(work), Written(server, run_name(work.attempt_id))


@pytest.mark.parametrize(
    ("reason", "code", "printed", "expected"),
    [
        ("DONE_BY_RUNNER", 0, "done\n", Outcome.COMPLETED),
        ("CONTAINER_EXITED_WITH_ERROR", 3, "no\n", Outcome.FAILED),
        ("CONTAINER_EXITED_WITH_ERROR", 1, "torch.OutOfMemoryError: CUDA out of memory.\n", Outcome.OUT_OF_MEMORY),
        ("INTERRUPTED_BY_NO_CAPACITY", None, "step 7\n", Outcome.PREEMPTED),
        ("MAX_DURATION_EXCEEDED", None, "step 7\n", Outcome.TIMEOUT),
        ("INSTANCE_UNREACHABLE", None, "step 7\n", Outcome.LOST),
    ],
)
def test_an_end_has_its_name_and_its_bill(
    backend: Dstack, server: DstackServer, reason: str, code: int | None, printed: str, expected: Outcome
) -> None:
    handle, written = started(backend, server)
    written.prints("step 1\n", printed)
    written.ran(reason, code)
    report = backend.poll(handle)
    assert result_of(report, cancel_requested=False, has_device_memory=True).outcome is expected
    assert (report.runtime_s, report.used_s) == (100.0, 150.0)
    (chunk,) = backend.collect(handle, {}, ended=True)
    assert chunk.text == f"step 1\n{printed}"


def test_it_runs_while_the_server_says_so(backend: Dstack, server: DstackServer) -> None:
    handle, written = started(backend, server)
    written.job("PROVISIONING", 20, job_provisioning_data=json.dumps(machine(2.5, spot=False)))
    written.run("PROVISIONING")
    assert backend.poll(handle).phase is Phase.STARTING
    written.job("RUNNING", 60)
    written.run("RUNNING")
    assert backend.poll(handle).phase is Phase.RUNNING


@pytest.mark.parametrize("each_ms", [0, 1], ids=["all in one moment", "one each millisecond"])
def test_much_output_is_read_page_by_page_and_once(backend: Dstack, server: DstackServer, each_ms: int) -> None:
    handle, written = started(backend, server)
    lines = [f"line {number}\n" for number in range(2500)]  # a page holds a thousand
    written.prints(*lines[:1200], each_ms=each_ms)
    written.run("RUNNING")
    first = "".join(chunk.text for chunk in backend.collect(handle, {}, ended=False))
    written.prints(*lines[1200:], each_ms=each_ms)
    since = {"stdout": len(first.encode())}
    rest = "".join(chunk.text for chunk in backend.collect(handle, since, ended=True))
    assert first == "".join(lines[:1200])
    assert rest == "".join(lines[1200:])
