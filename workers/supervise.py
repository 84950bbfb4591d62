"""Keep one command, in a process that belongs to nobody: it outlives the worker that had it started.

Its order is in DIR/work.json, and it leaves its findings in DIR/status.json. The command's secrets and the keys to the
store of its files come through a pipe, as JSON: they are in the memory of this process, the former in the command's
environment, and on no disk. `detach` returns as soon as the attempt is owned, by this supervisor or an earlier one:
however often it is repeated, the command is started at most once.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

SUPERVISOR_LOG = "supervisor.log"
LOADED = ("ctypes", "json", "workers.supervision.order", "workers.supervision.processes", "workers.supervision.status",
          "workers.supervision.watch")  # fmt: skip
"""What a supervisor imports."""


def detach(folder: Path, told: int | None) -> bool:
    """Fork a process that keeps the command in a folder; whether the attempt is owned. `told` is a pipe's end."""
    owned, owner = os.pipe()
    if child := os.fork():
        os.close(owner)
        answer = os.read(owned, 1)
        os.close(owned)
        os.waitpid(child, 0)  # or it would be left to init, which a container may not have
        return bool(answer)
    try:
        os.close(owned)
        # a session without the worker's terminal and process group, and, since only its leader could take
        # another terminal, a process that is not the leader; its parent's end makes it init's child
        os.setsid()
        if not os.fork():
            os.chdir(folder)
            _replace_standard_files(folder)
            _keep(folder, owner, told)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # what whoever forked us would do at its end is not ours to do


def _keep(folder: Path, owner: int, told: int | None) -> None:
    # imported here: who has them loaded already forks a supervisor for next to nothing
    import json  # noqa: PLC0415

    from workers.supervision.order import read_order  # noqa: PLC0415
    from workers.supervision.processes import adopt_orphans, identify  # noqa: PLC0415
    from workers.supervision.status import RunState, Status, ownership, read_status  # noqa: PLC0415
    from workers.supervision.watch import Supervisor  # noqa: PLC0415

    said = b"{}"
    if told is not None:
        with os.fdopen(told, "rb") as pipe:
            said = pipe.read()
    given = json.loads(said)  # not whole where its worker died on the way: then it is not owned, and begun again
    order, ourselves = read_order(folder), identify(os.getpid())
    if order is None or ourselves is None:
        raise RuntimeError(f"nothing was ordered in {folder}")
    with ownership(folder):
        first = read_status(folder) is None
        status = Status(
            state=RunState.STARTING,
            supervisor=ourselves,
            heartbeat_at=time.time(),
            simulated=order.truth is not None,
            vram_metric="preallocated" if order.preallocates else "driver",
        )
        if first:
            status.write(folder)
    os.write(owner, b"1")
    os.close(owner)
    if first:
        adopt_orphans()
        # should it fail, the poller finds a status without a living supervisor and clears up; its log says why
        Supervisor(folder, order, status, given).run()


def _replace_standard_files(folder: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(folder / SUPERVISOR_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(descriptor, target)
