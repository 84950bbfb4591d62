"""A supervisor in a Slurm job that is not given what its attempt needs says so, and starts nothing."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from workers import slurm_job
from workers.backends.slurm import sealed
from workers.backends.slurm.files import GIVEN, MEMBERS, Shared
from workers.backends.slurm.judge import judge_end
from workers.backends.slurm.words import JobEnd
from workers.supervision.files import write_json
from workers.supervision.order import Order
from workers.supervision.status import RunState, read_status
from workers.supervision.stopped import Stopped


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """The submission, the attempt's folder, and the file that its command would make."""
    shared, never = Shared(root=tmp_path), tmp_path / "never"
    folder, submission = shared.attempt("an-attempt"), shared.submission("pythia-a")
    submission.mkdir(parents=True)
    (folder / "work").mkdir(parents=True)
    write_json(submission / MEMBERS, {"members": [("an-attempt", "pythia-a")]}, durable=False)
    order = Order(
        attempt_id="an-attempt", job_id="a-job", command=("touch", str(never)), env={}, working_dir=None,
        max_runtime_s=None, grace_s=1.0, log_cap_bytes=1000,
    )  # fmt: skip
    order.write(folder)
    (folder / GIVEN).touch()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    monkeypatch.setattr(slurm_job, "adopt_orphans", lambda: None)
    return submission, folder, never


def test_where_nobody_answers_the_attempt_is_lost(
    attempt: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    submission, folder, never = attempt
    monkeypatch.setattr(sealed, "ask", lambda *_: None)
    assert slurm_job.main([str(submission)]) == 1
    status = read_status(folder)
    assert status is not None
    assert (status.state, status.stopped) == (RunState.ENDED, Stopped.HOST)
    assert "no worker has handed over" in str(status.failure)
    assert not never.exists()
    end = JobEnd(name="pythia-a", state="FAILED", exit_code=1, signal=0, elapsed_s=600.0, ended_at=time.time())
    report = judge_end(end, status, asked=False, said="")
    assert (report.stopped, report.failure) == (Stopped.HOST, status.failure)


def test_a_node_that_cannot_receive_secrets_says_so(
    attempt: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    submission, folder, never = attempt
    monkeypatch.setitem(sys.modules, "workers.backends.slurm.sealed", None)
    assert slurm_job.main([str(submission)]) == 1
    status = read_status(folder)
    assert status is not None
    assert "cannot be received on this node" in str(status.failure)
    assert not never.exists()
