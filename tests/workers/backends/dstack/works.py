"""Attempts that were placed in a cloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.states import Outcome
from scheduler.storage.ids import new_id
from tests.workers.works import FORECAST, make_machine, make_work
from workers.backends.base import Report
from workers.backends.dstack.backend import Dstack
from workers.backends.dstack.task import run_name
from workers.outcomes import result_of


def make_cloud_work(command: Sequence[str] = ("python", "train.py"), **changes: Any) -> AttemptWork:
    """An attempt on one H100 at Nebius, on a machine that is written down; what an attempt has can be given."""
    own = {name: changes.pop(name) for name in list(changes) if name in AttemptWork.__slots__}
    work = make_work(
        command,
        forecast={**FORECAST, "gpu_type": "H100-SXM"},
        machine=make_machine(key=f"pythia-{new_id()}-{new_id()}"),
        **{"image": "acme/train:1", "region": "eu-north1", **changes},
    )
    placed: dict[str, Any] = {"backend": "dstack", "provider": "nebius", "gpu_type": "H100-SXM", "node_gpus": 8}
    return replace(work, **placed | own)


def start(live: Dstack, **changes: Any) -> tuple[AttemptWork, str, Any]:
    """Start one: the attempt, its run's name, and its handle."""
    work = make_cloud_work(**changes)
    return work, run_name(work.attempt_id), live.start(work)


def outcome(report: Report, *, cancelled: bool = False) -> tuple[Outcome, str | None]:
    """What comes of a report."""
    result = result_of(report, cancel_requested=cancelled, has_device_memory=True)
    return result.outcome, result.reason


def key_of(work: AttemptWork) -> str:
    """Of its machine."""
    assert work.machine is not None
    return work.machine.key
