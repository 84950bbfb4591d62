"""What Slurm's commands, and commands inside Slurm's jobs, get to see of a worker's environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.backends.slurm.commands import environment_for_commands
from workers.supervision.command import environment
from workers.supervision.order import Order


def test_slurms_commands_are_called_without_secrets_and_without_what_would_change_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHIA_DATABASE_URL", "postgresql://user:secret@host/db")
    monkeypatch.setenv("SBATCH_PARTITION", "other")
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    monkeypatch.setenv("SLURM_JWT", "secret")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    seen = environment_for_commands()
    assert seen["SLURM_CONF"] == "/etc/slurm/slurm.conf"
    assert "secret" not in str(seen)
    assert not [name for name in seen if name.startswith(("SBATCH", "SQUEUE", "PYTHIA"))]


def test_a_command_sees_where_slurm_has_put_it_and_no_token() -> None:
    order = Order(
        attempt_id="a", job_id="j", command=("true",), env={}, working_dir=None, max_runtime_s=None, grace_s=1.0,
        log_cap_bytes=1024,
    )  # fmt: skip
    inherited = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "SLURM_JWT": "secret", "PYTHIA_DATABASE_URL": "secret"}
    seen = environment(order, Path("/shared"), {"CUDA_VISIBLE_DEVICES": "2"}, inherited)
    assert (seen["SLURM_JOB_ID"], seen["SLURMD_NODENAME"], seen["CUDA_VISIBLE_DEVICES"]) == ("7", "n1", "2")
    assert "secret" not in seen.values()
