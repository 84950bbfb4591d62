"""Several hosts that run jobs themselves, each a worker with a name and a data directory of its own."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

import pytest

from scheduler.domain.states import JobState, Outcome
from tests.life.conftest import Life, kill
from workers.supervision.processes import marked

DRIVER = '''
"""A driver with two H100s."""
from types import SimpleNamespace
class NVMLError(Exception): ...
def nvmlInit(): ...
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetUUID(handle): return f"GPU-{handle}"
def nvmlDeviceGetName(handle): return "NVIDIA H100 80GB HBM3"
def nvmlDeviceGetMemoryInfo(handle): return SimpleNamespace(total=int(79.65 * 2**30), used=0, free=int(79.65 * 2**30))
'''


def folder_of(life: Life, host: str, job_id: UUID, number: int = 0) -> Path:
    return life.folder / host / "attempts" / "local" / str(life.attempts(job_id)[number].id)


def offered(life: Life, host: str) -> int:
    return int(life.scalar(f"SELECT count(*) FROM offers WHERE region = '{host}' AND NOT away"))  # noqa: S608


def test_hosts_register_do_their_own_work_and_are_done_without(
    life_of_hosts: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life, driver = life_of_hosts, tmp_path / "driver"
    driver.mkdir()
    (driver / "pynvml.py").write_text(DRIVER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(driver), *filter(None, [os.environ.get("PYTHONPATH")])]))
    life.start_worker()
    beta = life.start_host("beta")
    life.until(lambda: offered(life, "beta") == 2)
    assert life.scalar("SELECT capacity_gpus FROM offers WHERE region = 'beta' AND gpu_type = 'H100-SXM'") == 2
    life.start_host("alpha")
    life.until(lambda: offered(life, "alpha") == 2)

    on_each = {host: life.submit(["echo", host], constraints={"regions": [host]}) for host in ("alpha", "beta")}
    for host, job_id in on_each.items():
        assert life.over(job_id).state is JobState.COMPLETED, life.job(job_id).reason
        assert life.printed(job_id) == f"{host}\n"
        assert folder_of(life, host, job_id).is_dir()

    go_on = tmp_path / "go_on"
    waits = life.submit(
        ["sh", "-c", f"echo up; until test -e {go_on}; do sleep 0.1; done"],
        constraints={"regions": ["beta"]}, max_attempts=5,
    )  # fmt: skip
    life.until(lambda: life.job(waits).state is JobState.RUNNING)
    kill(beta)
    life.until(lambda: offered(life, "beta") == 0)
    life.until(lambda: life.attempts(waits)[0].outcome is Outcome.LOST)
    assert "silent" in str(life.attempts(waits)[0].reason)
    assert offered(life, "alpha") == 2
    left = str(life.attempts(waits)[0].id)
    assert marked("PYTHIA_ATTEMPT_ID", left)  # nobody is there who could end it

    life.start_host("beta")
    life.until(lambda: offered(life, "beta") == 2)
    life.until(lambda: not marked("PYTHIA_ATTEMPT_ID", left))  # what is over is ended by its own host
    go_on.touch()
    assert life.over(waits).state is JobState.COMPLETED, life.job(waits).reason
    assert life.attempts(waits)[-1].outcome is Outcome.COMPLETED
    assert life.scalar("SELECT sum(reserved_gpus) FROM offers") == 0
