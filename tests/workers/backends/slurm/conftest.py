"""A backend on a real cluster, in a directory of the test's own; afterwards no job of it may be left."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.states import Outcome
from tests.support.slurm import Cluster
from tests.workers.works import FORECAST, make_machine, make_work
from workers.backends.base import Report
from workers.backends.slurm.backend import Slurm, slurm_backend
from workers.outcomes import result_of


@pytest.fixture
def slurm(slurm_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """The backend."""
    for name, value in slurm_cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHIA_DATABASE_URL", "postgresql://secret")
    backend = slurm_backend(tmp_path / "shared", log_cap_bytes=64 * 1024, window_s=0.0, settle_s=10.0)
    yield backend
    left = backend.list()
    for machine in left:
        backend.release(machine.key)
    assert not left, "jobs were left on the cluster"


def files_that_hold(folder: Path, *words: str) -> list[Path]:
    """Files below a directory with any of the words in them; one that is renamed or deleted meanwhile is no find."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                data = path.read_bytes()
                found += [path for word in words if word.encode() in data]
    return found


def gpu_work(command: list[str], *, count: int = 1, **given: Any) -> AttemptWork:
    """An attempt placed on the cluster's A100s."""
    machine = make_machine(key=f"pythia-{uuid.uuid4()}-{uuid.uuid4()}")
    place = {"region": "gpu", "instance_type": "gpu:a100:4", "gpu_count": count, "forecast": FORECAST}
    return make_work(command, machine=machine, **{**place, **given})


def outcome(report: Report, *, cancel_requested: bool = False) -> tuple[Outcome, str | None]:
    """What becomes of an attempt, and why."""
    result = result_of(report, cancel_requested=cancel_requested, has_device_memory=True)
    return result.outcome, result.reason
