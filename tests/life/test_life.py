"""The life of a job through the real parts: PostgreSQL, relay, broker, Celery workers, supervisors, commands."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scheduler.broker import broker_for
from scheduler.dispatch import LAUNCH, POLL, CeleryDispatcher
from scheduler.domain.states import JobState, Outcome
from scheduler.services.cancel import cancel_job
from scheduler.storage.tables import DEFAULT_TENANT
from tests.life.conftest import Life, kill
from workers.supervision.status import read_status
from workers.wiring import utc_now

IN_ORDER = [
    "job_submitted", "job_placed", "attempt_claimed", "attempt_starting", "attempt_running", "attempt_ended",
    "job_completed",
]  # fmt: skip


def test_jobs_go_from_submission_to_completion(life_anywhere: Life, tmp_path: Path) -> None:
    life = life_anywhere
    life.start_worker()
    job_ids = [life.submit(["sh", "-c", f"echo job {number}; sleep 0.2"]) for number in range(2)]
    for number, job_id in enumerate(job_ids):
        job = life.over(job_id)
        assert job.state is JobState.COMPLETED, job.reason
        assert life.events(job_id) == IN_ORDER
        assert life.printed(job_id) == f"job {number}\n"
        (attempt,) = life.attempts(job_id)
        assert attempt.outcome is Outcome.COMPLETED
        assert attempt.runtime_s is not None
        assert 0.2 <= attempt.runtime_s < 10
        assert attempt.cost_micros == 0
    assert life.scalar("SELECT sum(reserved_gpus) FROM offers") == 0
    assert life.scalar("SELECT count(*) FROM observations WHERE NOT simulated") == 2


def test_a_job_outlives_the_worker_that_started_it_and_ends_once(life_anywhere: Life, tmp_path: Path) -> None:
    life = life_anywhere
    worker = life.start_worker()
    started, go_on = tmp_path / "started", tmp_path / "go_on"
    script = f"echo $$ >> {started}; while ! test -e {go_on}; do sleep 0.05; done; echo through"
    job_id = life.submit(["sh", "-c", script])
    life.until(started.exists)
    kill(worker)
    go_on.touch()
    life.start_worker()
    job = life.over(job_id)
    assert job.state is JobState.COMPLETED, job.reason
    assert len(started.read_text().splitlines()) == 1
    assert [attempt.outcome for attempt in life.attempts(job_id)] == [Outcome.COMPLETED]
    assert life.events(job_id).count("attempt_ended") == 1
    assert life.printed(job_id) == "through\n"
    assert life.scalar("SELECT sum(reserved_gpus) FROM offers") == 0


def test_a_worker_that_is_told_to_stop_drains_and_its_jobs_run_on(life: Life, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    life.start_relay()
    first = life.start_worker()
    job_id = life.submit(["sh", "-c", f"until test -e {flag}; do sleep 0.05; done; echo done"])
    life.until(lambda: life.job(job_id).state is JobState.RUNNING)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0  # the tasks at hand were finished, nothing was cut off
    assert life.job(job_id).state is JobState.RUNNING
    flag.touch()
    life.start_worker()
    assert life.over(job_id).state is JobState.COMPLETED
    assert len(life.attempts(job_id)) == 1
    assert life.printed(job_id) == "done\n"


def test_doorbells_that_ring_twice_start_one_process(life: Life, tmp_path: Path) -> None:
    started = tmp_path / "started"
    job_id = life.submit(["sh", "-c", f"echo $$ >> {started}; sleep 0.5"])
    attempt_id = {"attempt_id": str(life.attempts(job_id)[0].id)}
    sender = CeleryDispatcher(broker_for(life.settings))
    for _ in range(5):
        sender.send(LAUNCH, "dispatch", attempt_id)
        sender.send(POLL, "poll", attempt_id)
    life.start_worker()
    life.start_worker()
    assert life.over(job_id).state is JobState.COMPLETED
    sender.send(LAUNCH, "dispatch", attempt_id)
    sender.send(POLL, "poll", attempt_id)
    after = life.submit(["true"])
    assert life.over(after).state is JobState.COMPLETED
    assert len(started.read_text().splitlines()) == 1
    assert life.events(job_id) == IN_ORDER
    sender.close()


def test_a_killed_supervisor_means_lost_and_another_attempt(life: Life, tmp_path: Path) -> None:
    life.start_worker()
    flag = tmp_path / "second"
    job_id = life.submit(["sh", "-c", f"test -e {flag} && exit 0; touch {flag}; sleep 60"])
    life.until(lambda: life.job(job_id).state is JobState.RUNNING and flag.exists())
    (first,) = life.attempts(job_id)
    status = read_status(life.settings.data_path / "attempts" / "local" / str(first.id))
    assert status is not None
    assert status.supervisor is not None
    os.kill(status.supervisor.pid, signal.SIGKILL)
    job = life.over(job_id)
    assert job.state is JobState.COMPLETED, job.reason
    assert [attempt.outcome for attempt in life.attempts(job_id)] == [Outcome.LOST, Outcome.COMPLETED]


def test_a_running_job_is_cancelled(life: Life, tmp_path: Path) -> None:
    life.start_worker()
    job_id = life.submit(["sleep", "60"])
    life.until(lambda: life.job(job_id).state is JobState.RUNNING)
    cancel_job(life.engine, DEFAULT_TENANT, job_id, now=utc_now())
    assert life.over(job_id).state is JobState.CANCELLED
    assert [attempt.outcome for attempt in life.attempts(job_id)] == [Outcome.CANCELLED]
    assert life.scalar("SELECT sum(reserved_gpus) FROM offers") == 0


def test_out_of_memory_on_a_simulated_card_goes_on_to_a_larger_one(life: Life) -> None:
    life.start_worker()
    job_id = life.submit(
        ["true"],
        vram_gib=30.0,
        constraints={"providers": ["acme"], "min_fit_probability": 0.8},
        simulation={"peak_vram_gib": 60.0, "runtime_s": 3000.0},
    )
    job = life.over(job_id)
    assert job.state is JobState.COMPLETED, job.reason
    made = [(attempt.gpu_type, attempt.outcome, attempt.simulated) for attempt in life.attempts(job_id)]
    assert made == [("L40S", Outcome.OUT_OF_MEMORY, True), ("H100-SXM", Outcome.COMPLETED, True)]
    assert life.scalar("SELECT count(*) FROM observations") == 0
    assert life.scalar("SELECT sum(reserved_gpus) FROM offers") == 0


def test_a_job_waits_in_postgresql_until_capacity_returns(life: Life, tmp_path: Path) -> None:
    """Two slots, three jobs: the third is placed when one of the first has ended."""
    life.start_worker()
    go_on = tmp_path / "go_on"
    waiting = ["sh", "-c", f"while ! test -e {go_on}; do sleep 0.05; done"]
    first = [life.submit(waiting) for _ in range(2)]
    third = life.submit(["true"], expected=JobState.QUEUED)
    life.until(lambda: all(life.job(job_id).state is JobState.RUNNING for job_id in first))
    assert life.job(third).state is JobState.QUEUED
    assert life.scalar("SELECT sum(reserved_gpus) FROM offers") == 2
    go_on.touch()
    assert [life.over(job_id).state for job_id in (*first, third)] == [JobState.COMPLETED] * 3
    assert life.scalar("SELECT sum(reserved_gpus) FROM offers") == 0


@contextmanager
def listener() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A web server of the user's."""
    heard: list[dict[str, object]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/done", heard
    finally:
        server.shutdown()
        server.server_close()


def test_a_webhook_hears_of_the_end(life: Life) -> None:
    life.start_worker()
    with listener() as (url, heard):
        job_id = life.submit(["true"], webhook_url=url)
        life.until(lambda: heard)
        assert (heard[0]["id"], heard[0]["state"]) == (str(job_id), "completed")
