"""Files are moved by a process that knows nothing but what its pod's manifest tells it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.support.store import BUCKET, Store, serve_store
from tests.workers.works import until
from workers.staging.plan import FilesPlan, Transfer

_PACKAGES = Path(__file__).resolve().parents[3]
IN = Transfer(source=f"s3://{BUCKET}/a.txt", to="in/deep/")
OUT = Transfer(source="out.txt", to=f"s3://{BUCKET}/done/")


@pytest.fixture
def store() -> Iterator[Store]:
    """A store with one file."""
    with serve_store() as store:
        store.put("a.txt", b"hello")
        yield store


class Pod:
    """The folders of a pod, and the process that moves its files."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        (folder / "work").mkdir()
        self.word, self.listens = folder / "word", folder / "listens"

    def begin(self, direction: str, plan: FilesPlan, *before: str) -> subprocess.Popen[bytes]:
        told = self.folder / "staging.json"
        access = asdict(self.store.access) | {"endpoint_url": self.store.line.url}
        told.write_text(json.dumps({"plan": asdict(plan), "access": access}))
        more = ["0", str(self.listens)] if direction == "out" else []
        move = ["-P", "-m", "workers.staging.pod", direction, str(told), str(self.folder / "work"), str(self.word)]
        return subprocess.Popen([*before, sys.executable, *move, *more], env={"PYTHONPATH": str(_PACKAGES)})

    def said(self) -> Any:
        return json.loads(self.word.read_text())


@pytest.fixture
def pod(tmp_path: Path, store: Store) -> Pod:
    return Pod(tmp_path, store)


def plan(*inputs: Transfer, outputs: tuple[Transfer, ...] = ()) -> FilesPlan:
    return FilesPlan(inputs=inputs, outputs=outputs, most_bytes=10**6)


def test_inputs_come_and_are_the_commands_whoever_it_runs_as(pod: Pod) -> None:
    assert pod.begin("in", plan(IN)).wait(30) == 0
    file = pod.folder / "work" / "in" / "deep" / "a.txt"
    assert file.read_text() == "hello"
    assert file.stat().st_mode & 0o777 == 0o666
    assert file.parent.stat().st_mode & 0o777 == 0o777
    assert pod.said() == {"failure": None, "may_pass": False}


def test_an_input_that_cannot_come_is_the_last_word(pod: Pod) -> None:
    assert pod.begin("in", plan(Transfer(source=f"s3://{BUCKET}/b", to="b"))).wait(30) == 1
    assert pod.said() == {"failure": "s3://files/b: there is no such file", "may_pass": False}


def test_a_long_sentence_fits_into_a_last_word(pod: Pod) -> None:
    key = "é\u2028" * 300
    assert pod.begin("in", plan(Transfer(source=f"s3://{BUCKET}/{key}", to="b"))).wait(30) == 1
    assert pod.word.stat().st_size <= 4096
    assert pod.said()["failure"].startswith("s3://files/é")


def test_bringing_in_ends_when_it_is_asked_to(pod: Pod, store: Store) -> None:
    store.line.open.clear()
    process = pod.begin("in", plan(IN))
    until(lambda: any(head.startswith(b"GET") for head in store.line.requests))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert not pod.word.exists()


def test_outputs_are_sent_once_the_command_has_ended_and_not_before(pod: Pod, store: Store) -> None:
    process = pod.begin("out", plan(outputs=(OUT,)))
    until(pod.listens.exists)
    (pod.folder / "work" / "out.txt").write_text("late")
    assert store.keys() == ["a.txt"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert store.get("done/out.txt") == b"late"
    assert pod.said() == {"failure": None, "missing": None}


def test_what_is_missing_is_said_and_judged_by_others(pod: Pod, store: Store) -> None:
    (pod.folder / "work" / "out.txt").write_text("there")
    never = Transfer(source="never/*", to=f"s3://{BUCKET}/")
    nowhere = Transfer(source="out.txt", to="s3://no-such-bucket/x")
    process = pod.begin("out", plan(outputs=(never, nowhere, OUT)))
    until(pod.listens.exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 1
    assert pod.said() == {"failure": "s3://no-such-bucket/x: there is no such bucket", "missing": "never/*"}
    assert store.get("done/out.txt") == b"there", "one that cannot be sent keeps no other from it"


OWN_PROCESSES = ("unshare", "--pid", "--fork", "--mount-proc")


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*OWN_PROCESSES, "true"], check=False).returncode != 0,
    reason="a name space of processes takes root",
)
def test_process_1_of_a_container_hears_that_the_command_has_ended(pod: Pod, store: Store) -> None:
    """The kernel keeps from it every signal that it neither handles nor has blocked."""
    (pod.folder / "work" / "out.txt").write_text("there")
    outside = pod.begin("out", plan(outputs=(OUT,)), *OWN_PROCESSES)
    until(pod.listens.exists)
    (first,) = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGTERM)
    assert outside.wait(30) == 0
    assert store.get("done/out.txt") == b"there"
