"""Handing out a host's GPUs, against a driver that says what the test tells it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.workers.works import until
from workers.supervision.gpus import GIB, HostGpu, NoGpus, Nvml, given_gpus, take_gpus
from workers.supervision.memory import MemoryProbe

TWO_H100_AND_A_T4 = [
    HostGpu(0, "GPU-a", "NVIDIA H100 80GB HBM3", 79.6),
    HostGpu(1, "GPU-b", "NVIDIA H100 80GB HBM3", 79.6),
    HostGpu(2, "GPU-c", "Tesla T4", 15.0),
]


class FixedReader:
    def gpus(self) -> list[HostGpu]:
        return TWO_H100_AND_A_T4


def test_a_gpu_is_handed_to_one_attempt_at_a_time(tmp_path: Path) -> None:
    first = take_gpus(FixedReader(), 1, 79.65, tmp_path)
    second = take_gpus(FixedReader(), 1, 79.65, tmp_path)
    assert {*first.uuids, *second.uuids} == {"GPU-a", "GPU-b"}
    first.close()
    second.close()
    both = take_gpus(FixedReader(), 2, 79.65, tmp_path)
    assert both.uuids == ("GPU-a", "GPU-b")
    assert both.environment == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0,1"}
    both.close()


def test_a_card_of_another_type_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(NoGpus, match=r"3 GPU\(s\) were placed on this host, but it has 2 of that type"):
        take_gpus(FixedReader(), 3, 79.65, tmp_path)


def test_gpus_that_stay_taken_are_waited_for_and_then_missed(tmp_path: Path) -> None:
    held = take_gpus(FixedReader(), 1, 79.65, tmp_path)
    waits: list[float] = []
    with pytest.raises(NoGpus, match="1 of that type are free"):
        take_gpus(FixedReader(), 2, 79.65, tmp_path, sleep=waits.append)
    assert sum(waits) == pytest.approx(10)
    held.close()
    # the one that was free meanwhile is not kept by the failed try
    take_gpus(FixedReader(), 2, 79.65, tmp_path).close()


def test_without_a_driver_there_is_nothing_to_hand_out(tmp_path: Path) -> None:
    with pytest.raises(NoGpus, match="no NVIDIA driver"):
        take_gpus(None, 1, 79.65, tmp_path)


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.workers.supervision.test_gpus import FixedReader;"
        "from workers.supervision.gpus import take_gpus;"
        f"held = take_gpus(FixedReader(), 2, 79.65, Path({str(tmp_path)!r})); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        os.kill(holder.pid, signal.SIGKILL)
    until(lambda: take_gpus(FixedReader(), 2, 79.65, tmp_path, sleep=lambda _: None)).close()


class FixedVram:
    def __init__(self) -> None:
        self.used: dict[str, float | None] = {"GPU-a": 1.0, "GPU-b": 1.0}
        self.held: dict[str, float | None] = {"GPU-a": None, "GPU-b": None}
        self.free: dict[str, float | None] = {"GPU-a": 79.0, "GPU-b": 79.0}

    def used_gib(self, uuid: str) -> float | None:
        return self.used[uuid]

    def free_gib(self, uuid: str) -> float | None:
        return self.free[uuid]

    def held_gib(self, uuid: str, pids: Sequence[int]) -> float | None:
        return self.held[uuid]


def test_the_peak_is_that_of_the_fullest_gpu_over_time() -> None:
    driver = FixedVram()
    probe = MemoryProbe(driver, ["GPU-a", "GPU-b"])
    for a, b in ((10.0, 30.0), (40.0, 20.0), (5.0, 5.0)):
        driver.held = {"GPU-a": a, "GPU-b": b}
        probe.sample()
    assert probe.peak_vram_gib == 40.0


def test_a_card_is_full_as_it_was_last_seen() -> None:
    driver = FixedVram()
    probe = MemoryProbe(driver, ["GPU-a", "GPU-b"])
    seen = []
    for free in (79.0, 0.2, None, 3.0):
        driver.free["GPU-b"] = free
        probe.sample()
        seen.append(probe.card_is_full)
    assert seen == [False, True, False, False]


def test_where_the_driver_does_not_know_our_processes_what_came_to_our_card_is_ours() -> None:
    driver = FixedVram()
    probe = MemoryProbe(driver, ["GPU-a"])
    driver.used["GPU-a"] = 21.5
    probe.sample()
    assert probe.peak_vram_gib == 20.5


def test_only_the_memory_of_the_given_processes_is_counted() -> None:
    def process(pid: int, gib: float | None) -> SimpleNamespace:
        return SimpleNamespace(pid=pid, usedGpuMemory=None if gib is None else round(gib * GIB))

    running = [process(1, 2.0), process(2, 3.0), process(9, 50.0)]
    library = SimpleNamespace(
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda handle: b"GPU-a",
        NVMLError=OSError,
        nvmlDeviceGetName=lambda handle: "Tesla T4",
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=15 * GIB, used=GIB, free=14 * GIB),
        nvmlDeviceGetComputeRunningProcesses=lambda handle: running,
    )
    driver = Nvml(library)
    assert driver.gpus() == [HostGpu(0, "GPU-a", "Tesla T4", 15.0)]
    assert (driver.used_gib("GPU-a"), driver.free_gib("GPU-a")) == (1.0, 14.0)
    assert driver.held_gib("GPU-a", [1, 2]) == 5.0
    assert driver.held_gib("GPU-a", [3]) is None
    running.append(process(3, None))
    assert driver.held_gib("GPU-a", [3]) is None


def test_a_driver_that_fails_in_the_middle_costs_the_figure_and_nothing_else() -> None:
    driver = FixedVram()
    probe = MemoryProbe(driver, ["GPU-a"])
    driver.held["GPU-a"] = 10.0
    probe.sample()
    driver.held["GPU-a"] = driver.used["GPU-a"] = driver.free["GPU-a"] = None
    probe.sample()
    assert probe.peak_vram_gib == 10.0


def test_attempts_of_one_machine_share_its_card_and_nobody_elses(tmp_path: Path) -> None:
    first = take_gpus(FixedReader(), 1, 79.65, tmp_path, shared_by="machine-1")
    second = take_gpus(FixedReader(), 1, 79.65, tmp_path, shared_by="machine-1")
    assert first.uuids == second.uuids == ("GPU-a",)
    assert take_gpus(FixedReader(), 1, 79.65, tmp_path, shared_by="machine-2").uuids == ("GPU-b",)


def test_a_card_that_is_shared_is_free_when_the_last_has_gone(tmp_path: Path) -> None:
    first = take_gpus(FixedReader(), 1, 79.65, tmp_path, shared_by="machine-1")
    second = take_gpus(FixedReader(), 1, 79.65, tmp_path, shared_by="machine-1")
    first.close()
    with pytest.raises(NoGpus, match="1 of that type are free"):
        take_gpus(FixedReader(), 2, 79.65, tmp_path, sleep=lambda _: None)
    second.close()
    alone = take_gpus(FixedReader(), 2, 79.65, tmp_path)
    with pytest.raises(NoGpus, match="0 of that type are free"):  # what was written there before counts no more
        take_gpus(FixedReader(), 1, 79.65, tmp_path, shared_by="machine-1", sleep=lambda _: None)
    alone.close()


def test_on_a_card_that_is_shared_only_what_the_driver_says_of_our_processes_is_ours() -> None:
    driver = FixedVram()
    probe = MemoryProbe(driver, ["GPU-a"], shared=True)
    driver.used["GPU-a"] = 21.5
    probe.sample()
    assert probe.peak_vram_gib is None
    driver.held["GPU-a"] = 7.0
    probe.sample()
    assert probe.peak_vram_gib == 7.0


class Numbered:
    """A driver that shows two cards."""

    def gpus(self) -> list[HostGpu]:
        return [HostGpu(index, f"GPU-{index}", "NVIDIA H100 80GB HBM3", 79.6) for index in (0, 1)]


def test_gpus_that_a_batch_system_has_handed_out_are_passed_on_and_known_by_number_or_name() -> None:
    given = given_gpus(Numbered(), 2, "1, GPU-0")
    assert given.uuids == ("GPU-1", "GPU-0")
    assert given.environment == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1,GPU-0"}


def test_without_a_driver_what_was_handed_out_is_passed_on_unseen() -> None:
    assert given_gpus(None, 1, "3").uuids == ()
    assert given_gpus(Numbered(), 1, "MIG-7").uuids == ()


@pytest.mark.parametrize("visible", [None, "", "0", "0,1,2"])
def test_another_number_of_gpus_than_was_placed_starts_nothing(visible: str | None) -> None:
    with pytest.raises(NoGpus, match="the batch system has handed out"):
        given_gpus(Numbered(), 2, visible)
