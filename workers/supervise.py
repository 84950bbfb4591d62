"""Keep one command: `python -m workers.supervise DIR`, with its order in DIR/work.json.

The process detaches itself, so it outlives the worker that started it, and leaves its findings in
DIR/status.json. The call returns as soon as the attempt is owned, by this supervisor or an earlier one:
however often it is repeated, the command is started at most once.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Detach, then keep the command; the exit code says whether the attempt is owned."""
    if len(arguments) != 1:
        print("usage: python -m workers.supervise DIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    owned, owner = os.pipe()
    if child := os.fork():
        os.close(owner)
        answer = os.read(owned, 1)
        os.waitpid(child, 0)  # or it would be left to init, which a container may not have
        return 0 if answer else 1
    os.close(owned)
    # a session without the worker's terminal and process group, and, since only its leader could take
    # another terminal, a process that is not the leader; its parent's end makes it init's child
    os.setsid()
    if os.fork():
        os._exit(0)
    _keep(folder, owner)
    os._exit(0)


def _keep(folder: Path, owner: int) -> None:
    _replace_standard_files(folder)
    try:
        # imported here, in the background as far as the caller is concerned
        from workers.supervision.order import read_order  # noqa: PLC0415
        from workers.supervision.processes import adopt_orphans, identify  # noqa: PLC0415
        from workers.supervision.status import RunState, Status, ownership, read_status  # noqa: PLC0415
        from workers.supervision.watch import Supervisor  # noqa: PLC0415

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
            Supervisor(folder, order, status).run()
    except BaseException:
        # the poller finds a status without a living supervisor and clears up; this says why
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _replace_standard_files(folder: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(folder / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(descriptor, target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
