"""Keep one command inside a Slurm job: `python -m workers.slurm_job SUBMISSION_DIR`, in the foreground.

The same supervisor as on a worker's own host (`workers.supervision`), since Slurm's accounting knows neither the
memory of a GPU nor what ran out of it. It needs the standard library, and the driver's where there are GPUs; what a job
with secrets or files needs besides is loaded for it alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from workers.backends.slurm.files import GIVEN, Shared, claim, numbered_in_slurm, read_request, refresh
from workers.supervision.order import STOP, Order, read_order
from workers.supervision.processes import adopt_orphans, identify
from workers.supervision.status import RunState, Status, read_status
from workers.supervision.stopped import Stopped
from workers.supervision.watch import Supervisor

NOT_OURS = 0
"""Another job runs the attempt, or none may: this one has nothing to do and has not failed."""
_HEARTBEAT_S = 2.0
MakeSupervisor = Callable[[Path, Order, Status, Mapping[str, Any]], Supervisor]


class _Unheard(Exception):
    """What the attempt is given has not come; the message is one sentence."""


def main(arguments: list[str]) -> int:
    """Run the attempt of this job, or of this element of a job array; the exit code is that of its command."""
    if len(arguments) != 1 or "SLURM_JOB_ID" not in os.environ:
        print("usage, inside a Slurm job: python -m workers.slurm_job SUBMISSION_DIR", file=sys.stderr)
        return 2
    submission = Path(arguments[0])
    shared = Shared(root=submission.parent.parent)
    index = os.environ.get("SLURM_ARRAY_TASK_ID")
    job = numbered_in_slurm(
        os.environ.get("SLURM_ARRAY_JOB_ID", os.environ["SLURM_JOB_ID"]), int(index) if index else None
    )
    attempt_id, _ = shared.members(submission.name)[int(index or 0)]
    folder = shared.attempt(attempt_id)
    refresh(folder)
    if claim(folder, job) != job or read_status(folder) is not None:  # an admin may have requeued it
        return NOT_OURS
    status = keep(folder, _supervisor_of(folder))
    if status is None:
        print(f"nothing was ordered in {folder}", file=sys.stderr)
        return 2
    return 1 if status.exit_code is None else status.exit_code


def keep(folder: Path, make: MakeSupervisor) -> Status | None:
    """Carry out the order in a directory, with what it is given; how it ended, None where nothing was ordered."""
    order, ourselves = read_order(folder), identify(os.getpid())
    if order is None or ourselves is None:
        return None
    status = Status(
        state=RunState.STARTING,
        supervisor=ourselves,
        heartbeat_at=time.time(),
        vram_metric="preallocated" if order.preallocates else "driver",
    )
    status.write(folder)
    adopt_orphans()
    try:
        told = _told(folder, status)
    except _Unheard as problem:
        status = replace(status, state=RunState.ENDED, stopped=Stopped.HOST, failure=str(problem))
        status.write(folder)
        return status
    status = make(folder, order, status, told).run()
    _told_is_gone(folder)
    return status


def _supervisor_of(folder: Path) -> MakeSupervisor:
    request = read_request(folder)
    if request is None or request.nodes == 1:
        return Supervisor
    from workers.backends.slurm.gang import Gang  # noqa: PLC0415 - most attempts run on one node

    return partial(Gang, request=request)


def _told(folder: Path, status: Status) -> Mapping[str, Any]:
    """What the attempt is given, from whichever worker answers; nothing where it is given nothing, or is to be ended
    before it began."""
    if not (folder / GIVEN).exists():
        return {}
    try:
        from workers.backends.slurm.sealed import ask  # noqa: PLC0415 - most attempts are given nothing
    except ImportError as error:
        raise _Unheard(f"secrets cannot be received on this node: its Python has no {error.name}") from None

    beaten = time.monotonic()

    def shall_go_on() -> bool:
        nonlocal beaten
        if time.monotonic() - beaten >= _HEARTBEAT_S:
            beaten = time.monotonic()
            replace(status, heartbeat_at=time.time()).write(folder, durable=False)
        return not (folder / STOP).exists()

    told = ask(folder, shall_go_on)
    if told is None and not (folder / STOP).exists():
        raise _Unheard("no worker has handed over its secrets or the keys to its files, though it waited on its node")
    return told or {}


def _told_is_gone(folder: Path) -> None:
    """An answer that a second worker gave while the first was read opens for nobody, and goes as well."""
    if (folder / GIVEN).exists():
        from workers.backends.slurm.sealed import clear  # noqa: PLC0415 - as above

        clear(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
