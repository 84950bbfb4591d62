"""What the first of several nodes makes of what it sees of the others, without any cluster."""

from __future__ import annotations

import errno
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from workers.backends.slurm import nodes as module
from workers.backends.slurm.nodes import Nodes
from workers.supervision.order import STOP, Order
from workers.supervision.status import RunState, Status
from workers.supervision.watch import GRACEFUL


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    made = Nodes(tmp_path, 2, {})
    order = Order(attempt_id="a", job_id="j", command=("true",), env={}, working_dir=None, max_runtime_s=None,
                  grace_s=1.0, log_cap_bytes=1)  # fmt: skip
    made.prepare([order, order], ["n1", "n2"])
    return made


def write(folder: Path, state: RunState, **facts: Any) -> None:
    Status(state=state, supervisor=None, heartbeat_at=time.time(), vram_metric="driver", **facts).write(folder)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic() + seconds
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))


def test_others_that_do_not_hear_of_a_failure_are_overdue(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "0", RunState.RUNNING)
    nodes.sample()
    later(monkeypatch, 100)
    assert not nodes.overdue(20)
    write(tmp_path / "1", RunState.ENDED, exit_code=3)
    nodes.sample()
    assert [(tmp_path / rank / STOP).read_text() for rank in "01"] == [GRACEFUL, GRACEFUL]
    assert not nodes.overdue(20)
    later(monkeypatch, 121)
    assert nodes.overdue(20)


def test_a_file_system_that_has_a_bad_moment_is_looked_at_again(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "0", RunState.RUNNING)
    write(tmp_path / "1", RunState.ENDED, exit_code=3)

    def stale(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    for name in ("read_status", "leave_word"):
        with monkeypatch.context() as broken:
            broken.setattr(module, name, stale)
            nodes.sample()
        later(monkeypatch, 1 if name == "read_status" else 2)
    assert not (tmp_path / "0" / STOP).exists()
    nodes.sample()
    assert (tmp_path / "0" / STOP).read_text() == GRACEFUL


def test_a_signal_without_a_name_is_named_by_its_number(nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path / "1", RunState.ENDED, exit_code=128 + 40, signal=40)
    nodes.sample()
    first = nodes.first_failure()
    assert first is not None
    assert first.why == "ended by signal 40 on the node n2"
    assert signal.SIGRTMIN < 40 < signal.SIGRTMAX
