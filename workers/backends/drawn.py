"""Runs whose command is left: a status file that time alone moves on, without any process.

They lie where supervised runs lie and look like them from outside, so that whoever collects, stops or clears them need
not know the difference. Every figure of theirs is drawn, the exit code included.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from workers.supervision.order import Order
from workers.supervision.status import RunState, Status, ownership, read_status
from workers.supervision.stopped import OutOfMemory, Stopped
from workers.supervision.truth import Truth
from workers.supervision.watch import TAKEN_SILENTLY


def begin(folder: Path, order: Order) -> None:
    """Begin a run, once: the folder's owner is whoever writes the first status."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ownership(folder):
        if read_status(folder) is None:
            order.write(folder)
            running = Status(
                state=RunState.RUNNING, supervisor=None, heartbeat_at=time.time(), runtime_s=0.0, simulated=True
            )
            running.write(folder, durable=False)


def look(folder: Path, order: Order, status: Status, *, stopped: Stopped | None = None) -> Status:
    """The run as it is now; it is over when its time has come, or when somebody stops it, and then stays so."""
    if status.state is RunState.ENDED or order.truth is None:
        return status
    over_s, verdict = order.truth.verdict(order.max_runtime_s)
    elapsed_s = time.time() - status.heartbeat_at
    if elapsed_s >= over_s * order.truth.time_scale:
        stopped, command_s = verdict, over_s
    else:
        command_s = order.truth.command_so_far_s(elapsed_s)
        if stopped is None:
            return replace(status, runtime_s=order.truth.work_s(command_s), held_s=command_s)
    with ownership(folder):
        said = read_status(folder)
        if said is not None and said.state is RunState.ENDED:
            return said
        ended = _ended(order.truth, status, command_s, stopped)
        ended.write(folder, durable=False)
        return ended


def _ended(truth: Truth, status: Status, command_s: float, stopped: Stopped | None) -> Status:
    ended = replace(
        status, state=RunState.ENDED, stopped=stopped, runtime_s=truth.work_s(command_s), held_s=command_s,
        heartbeat_at=status.heartbeat_at + command_s * truth.time_scale,
    )  # fmt: skip
    if stopped is None:
        return replace(ended, exit_code=0, peak_vram_gib=truth.peak_vram_gib, vram_metric="driver")
    if stopped is Stopped.OUT_OF_MEMORY:
        return replace(ended, exit_code=1, out_of_memory=OutOfMemory.GPU, failure=truth.out_of_memory_words)
    if stopped is Stopped.HOST and truth.taken_silently:
        return replace(ended, failure=TAKEN_SILENTLY)
    return ended
