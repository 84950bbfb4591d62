"""Who belongs to a process, however its family was made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.workers.works import until
from workers.supervision import processes
from workers.supervision.processes import descendants

FAMILY = """
import subprocess, sys, threading
children = []
def start(): children.append(subprocess.Popen([sys.executable, "-c",
    "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True); import time; time.sleep(600)"]))
threads = [threading.Thread(target=start) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
dead = subprocess.Popen(["true"])  # nobody waits for it
import time; time.sleep(600)
"""
"""Three children, each started by a thread that has ended, each with a child of its own, and one that is dead."""


@contextmanager
def family() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE) as process:
        found = psutil.Process(process.pid)
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        until(lambda: any(one.status() == psutil.STATUS_ZOMBIE for one in found.children()))
        try:
            yield found
        finally:
            for one in [*found.children(recursive=True), found]:
                one.kill()


@pytest.mark.parametrize("listed", [True, False])
def test_all_who_live_are_found(monkeypatch: pytest.MonkeyPatch, listed: bool) -> None:
    if not listed:  # as on a kernel that does not say
        monkeypatch.setattr(processes, "_lists_children", lambda: False)
    with family() as parent:
        living = {one.pid for one in parent.children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE}
        assert len(living) == 6
        assert set(descendants(parent.pid)) == living


def test_one_that_is_gone_has_none() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert descendants(gone.pid) == []
