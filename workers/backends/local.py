"""Run an attempt as a process of this host: the command is real, and so is every figure."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.sharing import preallocates
from workers.backends.base import StartFailed
from workers.backends.book import Entry, MachineBook
from workers.backends.handed_over import HandedOver
from workers.backends.supervised import Supervised, nothing
from workers.backends.this_host import this_host
from workers.supervision.limits import Limits
from workers.supervision.order import Order

GRACE_S = 10.0
"""Between SIGTERM and SIGKILL: time to write a checkpoint."""
CORE_ALONE = Limits()


def local_backend(
    data_path: Path,
    *,
    log_cap_bytes: int,
    host: str | None = None,
    limits: Limits = CORE_ALONE,
    hand_over: Callable[[AttemptWork], HandedOver] = nothing,
) -> Supervised:
    """Real runs on this host, with its GPUs where the placement has any."""
    this = this_host(data_path, host or socket.gethostname())

    def order(work: AttemptWork, _: Entry | None) -> Order:
        base = basic_order(work, log_cap_bytes=log_cap_bytes)
        usable = work.usable_vram_gib
        if usable is None:  # placed on the CPU
            return base
        return replace(
            base,
            gpu_count=work.gpu_count,
            gpu_usable_gib=usable,
            devices_dir=str(data_path / "gpus"),
            preallocates=preallocates(work.spec.workload),
        )

    directory = _directory(data_path)
    return Supervised(
        directory=directory,
        make_order=order,
        book=MachineBook(directory=data_path / "machines" / "local"),
        account=this.account(directory),
        host=this.name,
        host_id=this.id,
        limits=limits,
        hand_over=hand_over,
    )


def registration(data_path: Path, host: str) -> tuple[str, str]:
    """What this host registers as, and what it registered as before hosts had ids."""
    this, directory = this_host(data_path, host), _directory(data_path)
    return this.registers_as(directory), this.once_registered_as(directory)


def _directory(data_path: Path) -> Path:
    return data_path / "attempts" / "local"


def basic_order(work: AttemptWork, *, log_cap_bytes: int) -> Order:
    """The command as its user wrote it, on no GPU."""
    run = work.spec.run
    if run is None:
        raise StartFailed("the job spec has no run.command")
    limit = work.runtime_limit
    return Order(
        attempt_id=str(work.attempt_id),
        job_id=str(work.job_id),
        command=tuple(run.command),
        env=dict(run.env),
        working_dir=run.working_dir,
        max_runtime_s=None if limit is None else limit.seconds,
        grace_s=GRACE_S,
        log_cap_bytes=log_cap_bytes,
        machine_key=None if work.machine is None else work.machine.key,
        shares_card=work.card_id is not None,
    )
