"""The life of jobs on a real Slurm cluster through the real parts: sinfo, PostgreSQL, relay, Celery workers, sbatch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.states import JobState, Outcome
from scheduler.services.cancel import cancel_job
from scheduler.storage.tables import DEFAULT_TENANT
from tests.life.conftest import Life, kill
from tests.support.slurm import Cluster
from workers import offer_slurm
from workers.wiring import utc_now

ON_SLURM: dict[str, Any] = {"constraints": {"providers": ["campus"], "gpu_types": ["A100"]}, "vram_gib": 20.0}


def test_jobs_live_and_end_on_the_cluster(
    life_on_slurm: Life, slurm_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = life_on_slurm
    for name, value in life.settings.environment().items():
        monkeypatch.setenv(name, value)
    assert offer_slurm.main(["--cluster=campus", "--partition=gpu", "--usd-per-gpu-hour=1.80"]) == 0
    worker = life.start_worker()
    go_on = tmp_path / "go_on"
    waits = f"echo up; until test -e {go_on}; do sleep 0.1; done; echo through"
    commands = (["sh", "-c", waits], ["sh", "-c", "echo broken >&2; exit 3"], ["sleep", "60"])
    outlives, fails, stopped = (life.submit(command, **ON_SLURM) for command in commands)
    life.until(lambda: all(life.job(job_id).state is JobState.RUNNING for job_id in (outlives, stopped)))
    life.until(lambda: life.printed(outlives) == "up\n")
    kill(worker)
    go_on.touch()
    cancel_job(life.engine, DEFAULT_TENANT, stopped, now=utc_now())
    life.start_worker()
    states = [life.over(job_id).state for job_id in (outlives, fails, stopped)]
    assert states == [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED]
    outcomes = [[attempt.outcome for attempt in life.attempts(job_id)] for job_id in (outlives, fails, stopped)]
    assert outcomes == [[Outcome.COMPLETED], [Outcome.FAILED], [Outcome.CANCELLED]]
    assert life.printed(outlives) == "up\nthrough\n"
    assert life.printed(fails) == "broken\n"
    (attempt,) = life.attempts(outlives)
    assert not attempt.simulated
    assert attempt.billed_s
    assert attempt.cost_micros == attempt.billed_s * 500  # $1.80 an hour
    life.until(lambda: life.scalar("SELECT count(*) FROM machines WHERE state <> 'gone'") == 0)
    assert life.scalar("SELECT sum(reserved_gpus) FROM offers") == 0
    assert life.scalar("SELECT sum(micros) FROM ledger") == life.scalar("SELECT sum(bill_micros) FROM machines")
    assert not slurm_cluster.command("squeue", "--noheader", "--me").strip()


def test_a_job_on_two_nodes_is_one_attempt_billed_for_all_its_gpus(
    life_on_slurm: Life, slurm_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = life_on_slurm
    for name, value in life.settings.environment().items():
        monkeypatch.setenv(name, value)
    wide = ["--cluster=campus", "--partition=wide", "--max-nodes=2", "--usd-per-gpu-hour=1.80"]
    assert offer_slurm.main(wide) == 0
    life.start_worker()
    constraints = {"providers": ["campus"], "gpu_count": 4}
    command = ["sh", "-c", "echo node $NODE_RANK of $NNODES; sleep 1.5"]  # Slurm counts whole seconds
    job_id = life.submit(command, constraints=constraints, vram_gib=20.0)
    assert life.over(job_id).state is JobState.COMPLETED
    said = [line for line in life.printed(job_id).splitlines() if not line.startswith("srun: ")]
    assert sorted(said) == ["0: node 0 of 2", "1: node 1 of 2"]
    (attempt,) = life.attempts(job_id)
    assert attempt.outcome is Outcome.COMPLETED
    assert attempt.billed_s
    assert attempt.cost_micros == attempt.billed_s * 4 * 500  # $1.80 an hour of each
    life.until(lambda: life.scalar("SELECT count(*) FROM machines WHERE state <> 'gone'") == 0)
    assert life.scalar("SELECT sum(micros) FROM ledger") == life.scalar("SELECT sum(bill_micros) FROM machines")
    assert life.scalar("SELECT sum(reserved_gpus) FROM offers") == 0
