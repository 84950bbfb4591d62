"""Standing in for a cloud: the command is real, memory and time are drawn, and everything says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.states import Outcome
from tests.workers.conftest import leave_nothing
from tests.workers.works import FORECAST, ended, make_machine, make_work, printed, until
from workers.backends.base import MachinePhase, Phase, Report
from workers.backends.simulated import simulated_backend
from workers.backends.supervised import Supervised
from workers.outcomes import result_of

MakeSimulated = Callable[[float], Supervised]
TOLD = {"peak_vram_gib": 60.0, "runtime_s": 10_000.0}


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[MakeSimulated]:
    made: list[Supervised] = []

    def make(time_scale: float) -> Supervised:
        made.append(simulated_backend(tmp_path, log_cap_bytes=4096, seed=1, time_scale=time_scale))
        return made[-1]

    yield make
    for backend in made:
        leave_nothing(backend)


def outcome_of(report: Report, *, cancel_requested: bool = False) -> Outcome:
    return result_of(report, cancel_requested=cancel_requested, has_device_memory=True).outcome


def run(backend: Supervised, *command: str, **changes: Any) -> Report:
    return ended(backend, backend.start(make_work(command, **{"forecast": FORECAST, "simulation": TOLD, **changes})))


def test_a_run_lasts_and_is_metered_as_drawn_though_the_command_is_short(simulated: MakeSimulated) -> None:
    backend = simulated(0)
    machine = make_machine(provision_s=120.0)
    assert backend.provision(machine).phase is MachinePhase.READY
    handle = backend.start(make_work(["echo", "hi"], forecast=FORECAST, simulation=TOLD, machine=machine))
    report = ended(backend, handle)
    assert outcome_of(report) is Outcome.COMPLETED
    assert printed(backend, handle) == "hi\n"
    assert (report.runtime_s, report.peak_vram_gib, report.vram_metric) == (10_000.0, 60.0, "driver")
    assert report.meter is not None
    # machine ordered, command loading, work; between order and start a moment of ours may pass
    assert report.meter.from_s == 0.0
    assert report.meter.to_s == pytest.approx(120.0 + 45.0 + 10_000.0, abs=20)
    assert report.simulated
    assert report.command_ran


def test_real_time_is_virtual_time_scaled(simulated: MakeSimulated) -> None:
    backend = simulated(1e-4)
    handle = backend.start(make_work(["true"], forecast=FORECAST, simulation=TOLD))
    began = until(lambda: backend.poll(handle).phase is Phase.RUNNING) and time.monotonic()
    ended(backend, handle)
    # (45 + 10,000) s at 1e-4; the start of the measurement is seen a little late, the end too
    assert 0.8 <= time.monotonic() - began <= 5


def test_a_run_is_no_shorter_than_its_command(simulated: MakeSimulated) -> None:
    backend = simulated(0)
    before = time.monotonic()
    report = run(backend, "sleep", "0.5")
    assert time.monotonic() - before >= 0.5
    assert report.runtime_s == 10_000.0


def test_a_need_beyond_the_card_runs_out_of_memory_partway_and_says_that_it_was_simulated(
    simulated: MakeSimulated,
) -> None:
    backend = simulated(1e-5)
    tight = {**FORECAST, "usable_vram_gib": 45.0}
    handle = backend.start(make_work(["sleep", "60"], forecast=tight, simulation=TOLD))
    report = ended(backend, handle)
    result = result_of(report, cancel_requested=False, has_device_memory=True)
    assert result.outcome is Outcome.OUT_OF_MEMORY
    assert result.reason == "simulated: CUDA out of memory on a card with 45.0 GiB"
    assert "simulated: CUDA out of memory" in printed(backend, handle, "stderr")
    assert report.runtime_s is not None
    assert 0 <= report.runtime_s <= 2000.0
    assert report.peak_vram_gib is None
    assert result.simulated


def test_memory_runs_out_even_if_the_command_was_done_before(simulated: MakeSimulated) -> None:
    assert outcome_of(run(simulated(1e-4), "true", forecast={**FORECAST, "usable_vram_gib": 45.0})) is (
        Outcome.OUT_OF_MEMORY
    )


def test_a_larger_card_then_holds_it(simulated: MakeSimulated) -> None:
    backend = simulated(0)
    seeded = {**TOLD, "seed": 4}
    first = run(backend, "true", forecast={**FORECAST, "usable_vram_gib": 45.0}, simulation=seeded)
    second = run(backend, "true", simulation=seeded, number=2)
    assert [outcome_of(first), outcome_of(second)] == [Outcome.OUT_OF_MEMORY, Outcome.COMPLETED]


def test_a_failing_command_fails_whatever_was_drawn(simulated: MakeSimulated) -> None:
    report = run(simulated(1.0), "sh", "-c", "exit 4")
    assert (outcome_of(report), report.exit_code) == (Outcome.FAILED, 4)
    # it failed at once: at scale 1 virtual seconds are real ones, and those were spent loading
    assert report.runtime_s == 0.0
    assert report.used_s is not None
    assert report.used_s < 10


def test_the_limit_on_run_time_binds_virtual_time(simulated: MakeSimulated) -> None:
    report = run(simulated(1e-4), "sleep", "60", max_runtime_s=5000.0)
    assert outcome_of(report) is Outcome.TIMEOUT
    assert report.used_s == pytest.approx(5000.0)


def test_the_stand_in_itself_may_not_run_longer_than_the_limit(simulated: MakeSimulated) -> None:
    brief = {"peak_vram_gib": 60.0, "runtime_s": 0.01}
    quick = {**FORECAST, "startup_s": 0.0}
    report = run(simulated(0), "sleep", "60", max_runtime_s=0.3, simulation=brief, forecast=quick)
    assert outcome_of(report) is Outcome.TIMEOUT


def test_a_cancelled_run_is_billed_for_what_it_used(simulated: MakeSimulated) -> None:
    backend = simulated(1e-3)
    handle = backend.start(make_work(["sleep", "60"], forecast=FORECAST, simulation=TOLD))
    until(lambda: backend.poll(handle).phase is Phase.RUNNING)
    backend.stop(handle, hard=False)
    report = ended(backend, handle)
    assert outcome_of(report, cancel_requested=True) is Outcome.CANCELLED
    assert report.used_s is not None
    assert 0 < report.used_s < 10_000.0


def test_the_command_sees_no_gpu_of_the_host(simulated: MakeSimulated) -> None:
    backend = simulated(0)
    handle = backend.start(make_work(["sh", "-c", "echo [$CUDA_VISIBLE_DEVICES]"], forecast=FORECAST, simulation=TOLD))
    ended(backend, handle)
    assert printed(backend, handle) == "[]\n"
