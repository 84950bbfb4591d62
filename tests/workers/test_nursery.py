"""A nursery forks supervisors: many from one, each its own, none lost with it, and no secret left in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.workers.works import until
from workers import nursery as module
from workers.backends.folders import prepare
from workers.nursery import Nursery, NurseryGone, NurserySlow
from workers.supervision.order import Order
from workers.supervision.status import RunState, Status, read_status

SECRET = "correct-horse-battery-staple"
PATIENT = 20.0


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def ordered(tmp_path: Path, name: str, *command: str) -> Path:
    folder = tmp_path / name
    order = Order(attempt_id=name, job_id="job", command=command, env={}, working_dir=None, max_runtime_s=None,
                  grace_s=1.0, log_cap_bytes=4096)  # fmt: skip
    prepare(folder, order)
    return folder


def end_of(folder: Path) -> Status:
    def over() -> Status | None:
        status = read_status(folder)
        return status if status is not None and status.state is RunState.ENDED else None

    found = until(over)
    assert found is not None
    return found


def pid_of(nursery: Nursery) -> int:
    assert nursery._room is not None
    return nursery._room.process.pid


def waiting_for(path: Path) -> tuple[str, ...]:
    return "sh", "-c", f"while [ ! -e {path} ]; do sleep 0.02; done"


def test_many_come_from_one(nursery: Nursery, tmp_path: Path) -> None:
    pids = set()
    for number in range(3):
        folder = ordered(tmp_path, str(number), "sh", "-c", f"exit {number}")
        assert nursery.supervise(folder, None, within_s=PATIENT)
        pids.add(pid_of(nursery))
        assert end_of(folder).exit_code == number
    assert len(pids) == 1


def test_an_attempt_is_owned_once_however_often_it_is_asked_for(nursery: Nursery, tmp_path: Path) -> None:
    folder = ordered(tmp_path, "one", "sh", "-c", f"echo . >> {tmp_path / 'begun'}")
    assert all(nursery.supervise(folder, None, within_s=PATIENT) for _ in range(3))
    end_of(folder)
    assert (tmp_path / "begun").read_text() == ".\n"


def test_a_folder_without_an_order_is_not_owned_and_the_next_order_is(nursery: Nursery, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert not nursery.supervise(tmp_path / "empty", None, within_s=PATIENT)
    assert not nursery.supervise(tmp_path / "nowhere", None, within_s=PATIENT)
    assert nursery.supervise(ordered(tmp_path, "one", "true"), None, within_s=PATIENT)


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_a_supervisor_outlives_its_nursery(nursery: Nursery, tmp_path: Path, how: signal.Signals | None) -> None:
    folder = ordered(tmp_path, "one", *waiting_for(tmp_path / "go"))
    assert nursery.supervise(folder, None, within_s=PATIENT)
    if how is None:
        nursery.close()
    else:
        os.kill(pid_of(nursery), how)
    (tmp_path / "go").touch()
    assert end_of(folder).exit_code == 0


def test_one_that_was_killed_is_begun_again(nursery: Nursery, tmp_path: Path) -> None:
    assert nursery.supervise(ordered(tmp_path, "one", "true"), None, within_s=PATIENT)
    first = psutil.Process(pid_of(nursery))
    first.kill()
    until(lambda: first.status() == psutil.STATUS_ZOMBIE)
    assert nursery.supervise(ordered(tmp_path, "two", "true"), None, within_s=PATIENT)


def test_one_that_dies_with_an_order_in_its_hands_says_so(
    nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nursery.supervise(ordered(tmp_path, "one", "true"), None, within_s=PATIENT)
    os.kill(pid_of(nursery), signal.SIGSTOP)
    send = module._send

    def and_die(*order: Any) -> None:
        send(*order)
        os.kill(pid_of(nursery), signal.SIGKILL)

    monkeypatch.setattr(module, "_send", and_die)
    with pytest.raises(NurseryGone):
        nursery.supervise(ordered(tmp_path, "two", "true"), None, within_s=PATIENT)
    monkeypatch.setattr(module, "_send", send)
    assert nursery.supervise(ordered(tmp_path, "two", "true"), None, within_s=PATIENT)


def test_an_order_whose_secrets_break_off_is_not_owned_and_can_be_given_again(nursery: Nursery, tmp_path: Path) -> None:
    folder = ordered(tmp_path, "one", "sh", "-c", f'[ "$TOKEN" = {SECRET} ]')
    told = json.dumps({"secrets": {"TOKEN": SECRET}}).encode()
    assert not nursery.supervise(folder, told[:-9], within_s=PATIENT)  # as from a worker that died while it wrote
    assert read_status(folder) is None
    assert nursery.supervise(folder, told, within_s=PATIENT)
    assert end_of(folder).exit_code == 0


def test_secrets_that_nobody_reads_are_not_waited_for(nursery: Nursery, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert not nursery.supervise(tmp_path / "nowhere", b"x" * 1_000_000, within_s=PATIENT)
    first = pid_of(nursery)
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(NurserySlow):
        nursery.supervise(tmp_path / "empty", b"x" * 1_000_000, within_s=0.2)


def test_one_that_does_not_answer_is_waited_for_and_left(nursery: Nursery, tmp_path: Path) -> None:
    assert nursery.supervise(ordered(tmp_path, "one", "true"), None, within_s=PATIENT)
    stopped = pid_of(nursery)
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(NurserySlow):
        nursery.supervise(ordered(tmp_path, "two", "true"), None, within_s=0.1)
    assert not psutil.pid_exists(stopped)
    assert nursery.supervise(ordered(tmp_path, "three", "true"), None, within_s=PATIENT)


def test_only_the_supervisor_reads_the_secrets(nursery: Nursery, tmp_path: Path) -> None:
    folder = ordered(tmp_path, "one", "sh", "-c", f'[ "$TOKEN" = {SECRET} ]')
    # more than a pipe holds
    told = json.dumps({"secrets": {"TOKEN": SECRET, "OTHER": "x" * 100_000}}).encode()
    assert nursery.supervise(folder, told, within_s=PATIENT)
    assert end_of(folder).exit_code == 0
    memory = memory_of(pid_of(nursery))
    assert b"pythia" in memory or b"workers.supervision" in memory
    assert SECRET.encode() not in memory


def memory_of(pid: int) -> bytes:
    found = []
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:  # noqa: PTH123
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            region, access = line.split()[:2]
            if access.startswith("rw"):
                first, last = (int(end, 16) for end in region.split("-"))
                memory.seek(first)
                found.append(memory.read(last - first))
    return b"".join(found)


def test_it_ends_with_its_worker_and_what_it_started_does_not(tmp_path: Path) -> None:
    folder = ordered(tmp_path, "one", *waiting_for(tmp_path / "go"))
    code = f"""
import pathlib, time
from workers.nursery import Nursery
nursery = Nursery()
assert nursery.supervise(pathlib.Path({str(folder)!r}), None, within_s={PATIENT})
print(nursery._room.process.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        worker.kill()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    (tmp_path / "go").touch()
    assert end_of(folder).exit_code == 0


def test_a_process_forked_from_its_owner_has_one_of_its_own(nursery: Nursery, tmp_path: Path) -> None:
    assert nursery.supervise(ordered(tmp_path, "one", "true"), None, within_s=PATIENT)
    theirs = ordered(tmp_path, "two", "true")
    if (child := os.fork()) == 0:
        before = pid_of(nursery)
        owned = nursery.supervise(theirs, None, within_s=PATIENT)
        other = pid_of(nursery) != before
        nursery.close()
        os._exit(0 if owned and other else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert nursery.supervise(ordered(tmp_path, "three", "true"), None, within_s=PATIENT)
