"""Backends in a directory of the test's own; whatever a test leaves running fails it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.store import Store, serve_store
from tests.workers.works import until
from workers.backends.local import local_backend
from workers.backends.supervised import Supervised
from workers.supervision.processes import marked, signal_all
from workers.supervision.status import read_status


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Supervised]:
    """The local backend; afterwards every supervisor it started, and every process of theirs, must be gone."""
    backend = local_backend(tmp_path, log_cap_bytes=64 * 1024)
    yield backend
    leave_nothing(backend)


@pytest.fixture
def store() -> Iterator[Store]:
    """A store with one file."""
    with serve_store() as store:
        store.put("a.txt", b"hello")
        yield store


def leave_nothing(backend: Supervised) -> None:
    """End what an attempt left running, and fail for it."""
    left: list[int] = []
    for folder in backend.directory.iterdir() if backend.directory.is_dir() else ():
        status = read_status(folder)
        if status is not None and status.supervisor is not None:
            with contextlib.suppress(AssertionError):
                until(lambda supervisor=status.supervisor: not supervisor.alive, within_s=5)  # type: ignore[misc]
            if status.supervisor.alive:
                left.append(status.supervisor.pid)
        left += marked("PYTHIA_ATTEMPT_ID", folder.name)
    signal_all(left, signal.SIGKILL)
    assert not left, f"processes {left} were left running"
