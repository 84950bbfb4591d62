"""Attempts to hand to a backend, and a fixture's worth of patience."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from predictor.layout import Layout
from scheduler.domain.attempt import AttemptWork
from scheduler.domain.machines import Machine, MachineState, Tariff
from scheduler.domain.spec import parse_job_spec
from scheduler.domain.states import AttemptState
from workers.backends.base import Backend, Handle, Phase, Report

T = TypeVar("T")

FORECAST: dict[str, Any] = {
    "peak_vram_gib": {"p50": 40.0, "p95": 50.0},
    "usable_vram_gib": 79.65,
    "fit_probability": 0.99,
    "runtime_s": {"p10": 900.0, "p50": 1000.0, "p90": 1300.0},
    "startup_s": 45.0,
}
ON_CPU: dict[str, Any] = {**FORECAST, "peak_vram_gib": None, "usable_vram_gib": None, "fit_probability": None}


def python(code: str) -> list[str]:
    """A command that runs a piece of Python."""
    return [sys.executable, "-c", code]


def make_machine(*, spot: bool = False, provision_s: float = 0.0, key: str | None = None) -> Machine:
    """A machine of one H100 for $3.00 an hour, written down and not ordered yet."""
    machine_id = uuid.uuid4()
    return Machine(
        id=machine_id,
        tenant_id=uuid.uuid4(),
        key=key or f"pythia-test-{machine_id}",
        state=MachineState.REQUESTED,
        backend="simulated",
        account="test",
        offer_id=uuid.uuid4(),
        provider="acme",
        region="eu-1",
        gpu_type="H100-SXM",
        spot=spot,
        provision_s=provision_s,
        tariff=Tariff(gpu_count=1, micros_per_gpu_hour=3_000_000, billing_increment_s=1, minimum_s=0),
        attempt_id=None,
        metered_s=0.0,
        billed_micros=0,
    )


def make_work(
    command: Sequence[str],
    *,
    forecast: Mapping[str, Any] = ON_CPU,
    simulation: Mapping[str, Any] | None = None,
    max_runtime_s: float | None = None,
    machine: Machine | None = None,
    card_id: uuid.UUID | None = None,
    number: int = 1,
    job_id: uuid.UUID | None = None,
    workload: Mapping[str, Any] | None = None,
    region: str = "",
    instance_type: str = "",
    gpu_count: int = 1,
    **run: Any,
) -> AttemptWork:
    """An attempt at running a command, claimed a moment ago."""
    spec = {
        "workload": workload or {"type": "custom", "kind": "test", "runtime_s": 1},
        "run": {"command": list(command), **run},
        "constraints": {"max_runtime_s": max_runtime_s},
        "simulation": simulation,
    }
    return AttemptWork(
        attempt_id=uuid.uuid4(),
        job_id=job_id or uuid.uuid4(),
        tenant_id=uuid.uuid4(),
        number=number,
        state=AttemptState.CLAIMED,
        lease_token=uuid.uuid4(),
        spec=parse_job_spec(spec),
        backend="local",
        offer_id=uuid.uuid4(),
        provider="local",
        region=region,
        instance_type=instance_type,
        gpu_type="CPU",
        gpu_count=gpu_count,
        layout=Layout(),
        spot=False,
        provision_s=0.0,
        forecast=forecast,
        handle=None,
        machine=machine,
        collected={},
        cancel_requested=False,
        claimed_at=datetime.now(UTC),
        running_at=None,
        seen_at=None,
        card_id=card_id,
    )


def until(happened: Callable[[], T], *, within_s: float = 20.0) -> T:
    """Wait for something to be true, and give it; fail after a generous time, as this machine may be busy."""
    deadline = time.monotonic() + within_s
    while not (seen := happened()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return seen


def ended(backend: Backend, handle: Handle, *, within_s: float = 20.0) -> Report:
    """Wait for an attempt to be over."""

    def look() -> Report | None:
        report = backend.poll(handle)
        return report if report.phase in (Phase.ENDED, Phase.VANISHED) else None

    report = until(look, within_s=within_s)
    assert report is not None
    return report


def printed(backend: Backend, handle: Handle, stream: str = "stdout") -> str:
    """All that an ended attempt printed on a stream."""
    return "".join(chunk.text for chunk in backend.collect(handle, {}, ended=True) if chunk.stream == stream)
