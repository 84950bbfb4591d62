"""Attempts from placed to ended, on a real database with real processes, step by step and through every crash."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import workers.reconciler
import workers.runner
import workers.step
from scheduler.dispatch import LAUNCH, POLL
from scheduler.domain.states import AttemptState, JobState, Outcome
from scheduler.services import attempts, pools
from scheduler.services.cancel import cancel_job
from scheduler.storage.tables import DEFAULT_TENANT
from tests.workers.conftest import leave_nothing
from tests.workers.works import python, until
from tests.workers.workshop import LEASE_S, Died, Workshop
from workers.backends.base import Phase
from workers.backends.supervised import Supervised
from workers.supervision.status import read_status


@pytest.fixture
def workshop(engine: sa.Engine, tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(engine, tmp_path)
    yield made
    for name in ("local", "simulated"):
        backend = made.backends[name]
        assert isinstance(backend, Supervised)
        leave_nothing(backend)


IN_ORDER = [
    "job_submitted", "job_placed", "attempt_claimed", "attempt_starting", "attempt_running", "attempt_ended",
    "job_completed",
]  # fmt: skip


def test_a_job_goes_from_submission_to_completion(workshop: Workshop) -> None:
    job_id = workshop.submit(["sh", "-c", "echo out; echo err >&2; sleep 0.3"])
    job = workshop.turn_until_over(job_id)
    assert job.state is JobState.COMPLETED, job.reason
    assert workshop.events(job_id) == IN_ORDER
    assert (workshop.printed(job_id), workshop.printed(job_id, "stderr")) == ("out\n", "err\n")
    (attempt,) = workshop.attempts(job_id)
    assert (attempt.outcome, attempt.exit_code, attempt.simulated) == (Outcome.COMPLETED, 0, False)
    assert attempt.runtime_s is not None
    assert 0.3 <= attempt.runtime_s < 5
    assert attempt.peak_rss_gib is not None
    assert workshop.reserved() == 0


def test_a_message_that_comes_again_changes_nothing(workshop: Workshop, tmp_path: Path) -> None:
    job_id = workshop.submit(["sh", "-c", f"echo $$ >> {tmp_path}/started; sleep 0.3"])
    (attempt,) = workshop.attempts(job_id)
    for _ in range(5):
        workshop.answer(workshop.worker(), LAUNCH, {"attempt_id": str(attempt.id)})
    workshop.turn_until_over(job_id)
    workshop.answer(workshop.worker(), LAUNCH, {"attempt_id": str(attempt.id)})
    assert len((tmp_path / "started").read_text().splitlines()) == 1
    assert workshop.events(job_id) == IN_ORDER


def test_a_running_job_is_stopped_when_its_user_asks(workshop: Workshop) -> None:
    job_id = workshop.submit(["sh", "-c", "trap 'echo saving; exit 0' TERM; while :; do sleep 0.02; done"])
    workshop.turn_until(lambda: workshop.job(job_id).state is JobState.RUNNING)
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    job = workshop.turn_until_over(job_id)
    assert job.state is JobState.CANCELLED
    assert [attempt.outcome for attempt in workshop.attempts(job_id)] == [Outcome.CANCELLED]
    assert workshop.printed(job_id) == "saving\n"
    assert workshop.reserved() == 0


def test_a_job_that_ended_before_it_could_be_stopped_is_completed(workshop: Workshop) -> None:
    job_id = workshop.submit(["true"])
    workshop.turn()
    (attempt,) = workshop.attempts(job_id)
    backend = workshop.backends["local"]
    until(lambda: backend.poll(backend.locate(attempt.id)).exit_code == 0)
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    assert workshop.turn_until_over(job_id).state is JobState.COMPLETED


def test_a_job_cancelled_between_claim_and_start_never_starts(workshop: Workshop, tmp_path: Path) -> None:
    job_id = workshop.submit(["touch", str(tmp_path / "started")])
    (attempt,) = workshop.attempts(job_id)
    assert attempts.claim(workshop.engine, attempt.id, now=workshop.clock(), lease_s=LEASE_S)
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    assert workshop.turn_until_over(job_id, step_s=1).state is JobState.CANCELLED
    assert not (tmp_path / "started").exists()


def test_a_run_beyond_its_limit_is_a_timeout(workshop: Workshop) -> None:
    limited = {"providers": ["local"], "max_runtime_s": 0.3}
    job_id = workshop.submit(["sleep", "60"], runtime_s=0.1, constraints=limited)
    job = workshop.turn_until_over(job_id)
    assert (job.state, workshop.attempts(job_id)[0].outcome) == (JobState.FAILED, Outcome.TIMEOUT)


def test_a_run_beyond_a_multiple_of_its_forecast_is_a_timeout_where_its_user_said_so(workshop: Workshop) -> None:
    where = {"providers": ["local"]}
    job_id = workshop.submit(["sleep", "60"], runtime_s=0.05, constraints=where | {"max_runtime_over_p90": 2})
    job = workshop.turn_until_over(job_id)
    assert (job.state, workshop.attempts(job_id)[0].outcome) == (JobState.FAILED, Outcome.TIMEOUT)
    assert job.reason is not None
    assert re.fullmatch(r"ran longer than it may: 2 times the \d+ s that were forecast at p90", job.reason)
    patient = workshop.submit(["sleep", "0.5"], runtime_s=0.05, constraints=where)
    assert workshop.turn_until_over(patient).state is JobState.COMPLETED


def test_a_command_that_cannot_start_fails_with_one_sentence(workshop: Workshop) -> None:
    job = workshop.turn_until_over(workshop.submit(["no-such-program"]))
    assert job.state is JobState.FAILED
    assert job.reason == "the command failed: the program 'no-such-program' or its interpreter was not found"


def test_a_killed_supervisor_means_lost_and_the_job_is_placed_again(workshop: Workshop, tmp_path: Path) -> None:
    flag = tmp_path / "second"
    job_id = workshop.submit(["sh", "-c", f"test -e {flag} && exit 0; touch {flag}; sleep 60"])
    workshop.turn_until(lambda: workshop.job(job_id).state is JobState.RUNNING and flag.exists())
    (attempt,) = workshop.attempts(job_id)
    status = read_status(Path(workshop.backends["local"].locate(attempt.id)["folder"]))
    assert status is not None
    assert status.supervisor is not None
    os.kill(status.supervisor.pid, signal.SIGKILL)
    assert workshop.turn_until_over(job_id).state is JobState.COMPLETED
    assert [attempt.outcome for attempt in workshop.attempts(job_id)] == [Outcome.LOST, Outcome.COMPLETED]
    assert workshop.reserved() == 0


def test_out_of_memory_on_a_simulated_card_goes_on_to_a_larger_one_and_stays_marked(workshop: Workshop) -> None:
    workshop.predictor.need_gib = 30.0
    where = {"providers": ["acme"], "min_fit_probability": 0.9}
    truth = {"peak_vram_gib": 60.0, "runtime_s": 3000.0}
    job_id = workshop.submit(["true"], vram_gib=30.0, constraints=where, simulation=truth)
    job = workshop.turn_until_over(job_id)
    assert job.state is JobState.COMPLETED, job.reason
    first, second = workshop.attempts(job_id)
    assert (first.gpu_type, first.outcome, first.peak_vram_gib) == ("L40S", Outcome.OUT_OF_MEMORY, None)
    assert (second.gpu_type, second.outcome, second.peak_vram_gib) == ("H100-SXM", Outcome.COMPLETED, 60.0)
    assert second.runtime_s == 3000.0
    assert second.billed_s == 3001  # the 0.1 s of start-up are the machine's time too, and seconds are begun
    assert first.simulated
    assert second.simulated
    assert job.simulated
    with workshop.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM observations")).scalar() == 0


def test_an_attempt_of_a_backend_that_this_worker_lacks_is_given_back(workshop: Workshop) -> None:
    job_id = workshop.submit(["true"], max_attempts=1)
    del workshop.backends["local"]
    workshop.turn()
    job = workshop.job(job_id)
    assert job.state is JobState.FAILED
    assert job.reason is not None
    assert "this worker has no backend 'local'" in job.reason
    workshop.__post_init__()


def test_workers_away_for_a_day_find_the_job_as_it_ended(workshop: Workshop) -> None:
    job_id = workshop.submit(["sh", "-c", "echo done"])
    workshop.turn()
    workshop.ahead += timedelta(days=1)
    assert workshop.turn_until_over(job_id).state is JobState.COMPLETED
    assert workshop.events(job_id) == IN_ORDER
    assert workshop.printed(job_id) == "done\n"


def test_a_broker_that_loses_every_doorbell_of_a_start_delays_it_and_no_more(workshop: Workshop) -> None:
    job_id = workshop.submit(["echo", "said"])
    workshop.relay.step(workshop.clock())
    assert [task for task, _ in workshop.messages if task == LAUNCH] == [LAUNCH]
    workshop.messages.clear()
    assert workshop.turn_until_over(job_id, step_s=5).state is JobState.COMPLETED
    assert workshop.events(job_id) == IN_ORDER


def test_a_job_ends_though_no_poll_ever_arrives(workshop: Workshop) -> None:
    workshop.lost = {POLL}
    job_id = workshop.submit(["echo", "said"])
    assert workshop.turn_until_over(job_id, step_s=1).state is JobState.COMPLETED
    assert workshop.printed(job_id) == "said\n"


def test_what_a_worker_could_not_release_any_more_is_tidied_up(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = workshop.submit(["true"])
    monkeypatch.setattr(Supervised, "clear", _die)
    workshop.turn_until_over(job_id)
    monkeypatch.undo()
    handle = workshop.backends["local"].locate(workshop.attempts(job_id)[0].id)
    assert (Path(handle["folder"]) / "tmp").exists()
    workshop.worker().sweep()
    assert not (Path(handle["folder"]) / "tmp").exists()


def test_a_run_that_nobody_saw_still_tells_its_story_in_order(workshop: Workshop) -> None:
    backend = workshop.backends["local"]
    job_id = workshop.submit(["true"])
    (attempt,) = workshop.attempts(job_id)
    workshop.backends["local"] = Mortal(backend, [("after", "start")])
    workshop.turn()
    workshop.backends["local"] = backend
    until(lambda: backend.poll(backend.locate(attempt.id)).phase is Phase.ENDED)
    assert workshop.turn_until_over(job_id, step_s=1).state is JobState.COMPLETED
    assert workshop.events(job_id) == IN_ORDER


def test_output_of_a_long_run_is_kept_while_it_runs(workshop: Workshop) -> None:
    job_id = workshop.submit(python("import time; print('early', flush=True); time.sleep(30)"))
    workshop.turn_until(lambda: workshop.printed(job_id) == "early\n")
    assert workshop.job(job_id).state is JobState.RUNNING
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    workshop.turn_until_over(job_id)


def _die(*_: object) -> None:
    raise Died


@dataclass
class Mortal:
    """Passes calls on, and dies just before or just after the first one of a name; only once."""

    target: Any
    moment: list[tuple[str, str]]
    """Emptied by dying, and shared by all that may be what a worker dies of."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.target, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._come("before", name)
            result = value(*args, **kwargs)
            self._come("after", name)
            return result

        return call if callable(value) else value

    def _come(self, side: str, name: str) -> None:
        if (side, name) in self.moment:
            self.moment.clear()
            raise Died


ON_THE_WAY = (
    "claim", "locate", "mark_starting", "provision", "start", "poll", "take_poll", "collect", "still_running",
    "mark_running", "finish", "clear", "is_releasing", "release", "close",
)  # fmt: skip
"""Every call to the database or a backend between a job's placement and its end."""


def test_a_worker_may_die_before_and_after_everything_it_does(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it dies of, others go on, and the job runs once, ends once and leaves nothing."""
    backend = workshop.backends["local"]
    for name, side in itertools.product(ON_THE_WAY, ("before", "after")):
        moment = [(side, name)]
        for module in (workers.runner, workers.step):
            monkeypatch.setattr(module, "attempts", Mortal(attempts, moment))
        for module in (workers.reconciler, workers.step):
            monkeypatch.setattr(module, "pools", Mortal(pools, moment))
        monkeypatch.setitem(workshop.backends, "local", Mortal(backend, moment))
        started, go = tmp_path / f"{side}-{name}", tmp_path / f"{side}-{name}-go"
        wait = f"until test -e {go}; do sleep 0.02; done"
        job_id = workshop.submit(["sh", "-c", f"echo $$ >> {started}; echo said; {wait}; sleep 0.1"])
        if name == "still_running":  # however slow the machine is, it runs until somebody has seen it running
            workshop.turn_until(lambda moment=moment: moment == [], step_s=1)  # type: ignore[misc]
        go.touch()
        job = workshop.turn_until_over(job_id, step_s=1)
        workshop.turn_until(lambda: not workshop.rented(), step_s=1)
        context = f"a worker died {side} {name}: {workshop.events(job_id)}"
        assert moment == [], f"no worker came to die {side} {name}"
        assert job.state is JobState.COMPLETED, context
        assert len(started.read_text().splitlines()) == 1, context
        (attempt,) = workshop.attempts(job_id)
        assert (attempt.state, attempt.outcome) == (AttemptState.ENDED, Outcome.COMPLETED), context
        assert workshop.events(job_id).count("attempt_ended") == 1, context
        assert workshop.printed(job_id) == "said\n", context
        assert workshop.reserved() == 0, context


def run_until_told(workshop: Workshop, tmp_path: Path, name: str, **changes: Any) -> tuple[Any, Path]:
    """A job that runs until it is told to end, and the folder of its attempt."""
    wait = f"echo said; until test -e {tmp_path}/{name}; do sleep 0.02; done"
    job_id = workshop.submit(["sh", "-c", wait], **changes)
    workshop.turn_until(lambda: workshop.printed(job_id) == "said\n")
    return job_id, Path(workshop.backends["local"].locate(workshop.attempts(job_id)[0].id)["folder"])


def kill(folder: Path) -> None:
    """End an attempt's processes as a power cut does."""
    status = read_status(folder)
    assert status is not None
    assert status.supervisor is not None
    for process in (status.supervisor, status.command):
        if process is not None:
            os.kill(process.pid, signal.SIGKILL)
    until(lambda: not status.attended)


@pytest.mark.parametrize(
    "left", [b"", b'{"state": "runn', b"\0" * 64, b"[]"], ids=["empty", "half", "zeroes", "a list"]
)
def test_an_attempt_whose_status_a_power_cut_has_left_unreadable_is_lost(
    workshop: Workshop, tmp_path: Path, left: bytes
) -> None:
    job_id, folder = run_until_told(workshop, tmp_path, "never", max_attempts=1)
    kill(folder)
    (folder / "status.json").write_bytes(left)
    assert workshop.turn_until_over(job_id).state is JobState.FAILED
    (attempt,) = workshop.attempts(job_id)
    assert attempt.outcome is Outcome.LOST
    assert workshop.reserved() == 0
    workshop.turn_until(lambda: not workshop.rented(), step_s=1)


def break_looks(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, broken: Any) -> None:
    """Let every look at one attempt fail as no backend foresees."""
    poll = Supervised.poll

    def look(backend: Supervised, handle: Any) -> Any:
        if handle["folder"] == str(broken):
            raise RuntimeError("the disk says nothing sensible")
        return poll(backend, handle)

    monkeypatch.setattr(Supervised, "poll", look)


def test_an_attempt_that_nobody_can_look_at_is_given_up_and_keeps_no_other_from_being_looked_at(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, folder = run_until_told(workshop, tmp_path, "never", max_attempts=1)
    other, _ = run_until_told(workshop, tmp_path, "go")
    break_looks(workshop, monkeypatch, folder)
    workshop.lost = {POLL}  # all looks are those of the sweep, the one that fails first
    (tmp_path / "go").touch()
    workshop.ahead += timedelta(seconds=2 * LEASE_S)
    workshop.worker().sweep()

    def swept() -> bool:
        workshop.worker().sweep()
        return workshop.job(other).state is JobState.COMPLETED

    until(swept)
    assert workshop.job(job_id).state is JobState.RUNNING
    assert workshop.turn_until_over(job_id, step_s=LEASE_S).state is JobState.FAILED
    (attempt,) = workshop.attempts(job_id)
    assert attempt.outcome is Outcome.LOST
    assert workshop.reserved() == 0
    until(lambda: not (status := read_status(folder)) or not status.attended)  # and was stopped


def test_an_attempt_that_nobody_can_look_at_can_be_cancelled(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, folder = run_until_told(workshop, tmp_path, "never")
    break_looks(workshop, monkeypatch, folder)
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    workshop.ahead += timedelta(seconds=LEASE_S)
    assert workshop.turn_until_over(job_id, step_s=0.1).state is JobState.CANCELLED
    assert workshop.reserved() == 0
    until(lambda: not (status := read_status(folder)) or not status.attended)


def test_an_attempt_whose_folder_cannot_be_written_is_given_up(workshop: Workshop) -> None:
    backend = workshop.backends["local"]
    assert isinstance(backend, Supervised)
    backend.directory.parent.mkdir(parents=True, exist_ok=True)
    backend.directory.write_text("a file where a folder should be")
    job_id = workshop.submit(["true"], max_attempts=1)
    assert workshop.turn_until_over(job_id, step_s=LEASE_S).state is JobState.FAILED
    assert [attempt.outcome for attempt in workshop.attempts(job_id)] == [Outcome.LOST]
    assert workshop.reserved() == 0


def test_output_that_cannot_be_read_does_not_end_what_runs(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, _ = run_until_told(workshop, tmp_path, "go")
    monkeypatch.setattr(Supervised, "collect", _not_to_be_read)
    for _ in range(12):
        workshop.ahead += timedelta(seconds=LEASE_S)
        workshop.turn()
    assert workshop.job(job_id).state is JobState.RUNNING
    (tmp_path / "go").touch()
    job = workshop.turn_until_over(job_id, step_s=1)
    assert (job.state, workshop.attempts(job_id)[0].outcome) == (JobState.COMPLETED, Outcome.COMPLETED)


def _not_to_be_read(*_: object, **__: object) -> None:
    raise OSError("the disk says nothing sensible")
