"""Run an attempt as a process of this host: the command is real, and so is every figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scheduler.domain.attempt import AttemptWork
from workers.backends.base import StartFailed
from workers.backends.supervised import Supervised
from workers.supervision.order import Order

GRACE_S = 10.0
"""Between SIGTERM and SIGKILL: time to write a checkpoint."""
_PREALLOCATING = frozenset({"vllm", "sglang", "tensorrt-llm", "trtllm", "jax"})
"""Engines that take most of the card at start, whatever the job needs: their peak is an upper bound."""


def local_backend(data_path: Path, *, log_cap_bytes: int) -> Supervised:
    """Real runs on this host, with its GPUs where the placement has any."""

    def order(work: AttemptWork) -> Order:
        base = basic_order(work, log_cap_bytes=log_cap_bytes)
        usable = work.usable_vram_gib
        if usable is None:  # placed on the CPU
            return base
        return replace(
            base,
            gpu_count=work.gpu_count,
            gpu_usable_gib=usable,
            devices_dir=str(data_path / "gpus"),
            preallocates=_preallocates(work),
        )

    return Supervised(directory=data_path / "attempts" / "local", make_order=order)


def basic_order(work: AttemptWork, *, log_cap_bytes: int) -> Order:
    """The command as its user wrote it, on no GPU."""
    run = work.spec.run
    if run is None:
        raise StartFailed("the job spec has no run.command")
    return Order(
        attempt_id=str(work.attempt_id),
        job_id=str(work.job_id),
        command=tuple(run.command),
        env=dict(run.env),
        working_dir=run.working_dir,
        max_runtime_s=work.spec.constraints.max_runtime_s,
        grace_s=GRACE_S,
        log_cap_bytes=log_cap_bytes,
    )


def _preallocates(work: AttemptWork) -> bool:
    """Whether the engine grabs the card. Inference that names no engine may: better no lesson than a wrong one."""
    engine = getattr(work.spec.workload, "engine", None)
    return engine.casefold() in _PREALLOCATING if engine else work.spec.workload.type == "inference"
