"""Two attempts on one GPU of this host, handed out by real supervisors against a driver that the test wrote."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.conftest import leave_nothing
from tests.workers.works import FORECAST, ended, make_machine, make_work, printed, python
from workers.backends import supervised
from workers.backends.local import local_backend
from workers.backends.supervised import Supervised
from workers.nursery import Nursery

DRIVER = """
from types import SimpleNamespace
class NVMLError(Exception): pass
def nvmlInit(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetUUID(handle): return f"GPU-{handle}"
def nvmlDeviceGetName(handle): return "NVIDIA H100 80GB HBM3"
def nvmlDeviceGetMemoryInfo(handle):
    return SimpleNamespace(total=round(79.65 * 2**30), used=20 * 2**30, free=59 * 2**30)
def nvmlDeviceGetComputeRunningProcesses(handle): raise NVMLError
"""


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    """The local backend of a host with two H100s whose driver cannot tell processes apart."""
    driver = tmp_path / "driver"
    driver.mkdir()
    (driver / "pynvml.py").write_text(DRIVER)
    nursery = Nursery()
    nursery.packages = f"{driver}:{nursery.packages}"
    monkeypatch.setattr(supervised, "_NURSERY", nursery)
    backend = local_backend(tmp_path, log_cap_bytes=64 * 1024)
    yield backend
    leave_nothing(backend)
    nursery.close()


def meet(folder: Path, mine: str, theirs: str) -> list[str]:
    return python(
        "import os, pathlib, time\n"
        f"here = pathlib.Path({str(folder)!r})\n"
        f"(here / {mine!r}).touch()\n"
        f"while not (here / {theirs!r}).exists(): time.sleep(0.02)\n"
        "print(os.environ['CUDA_VISIBLE_DEVICES'])"
    )


def test_two_of_one_card_see_the_same_gpu_and_a_third_another(local: Supervised, tmp_path: Path) -> None:
    card_id, machine, other = uuid.uuid4(), make_machine(), make_machine()
    local.provision(machine)
    local.provision(other)
    works = [
        make_work(meet(tmp_path, "one", "three"), machine=machine, card_id=card_id, forecast=FORECAST),
        make_work(meet(tmp_path, "two", "one"), machine=machine, card_id=card_id, forecast=FORECAST),
        make_work(meet(tmp_path, "three", "two"), machine=other, forecast=FORECAST),
    ]
    handles = [local.start(work) for work in works]
    reports = [ended(local, handle) for handle in handles]
    assert [report.exit_code for report in reports] == [0, 0, 0]
    seen = [printed(local, handle).strip() for handle in handles]
    assert seen[0] == seen[1] != seen[2]
    # where the driver cannot tell whose memory it is, nothing is said of those who share a card
    assert [report.peak_vram_gib for report in reports] == [None, None, 0.0]
    meters = [report.meter for report in reports]
    assert all(meter is not None for meter in meters)
