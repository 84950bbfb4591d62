"""Keep the command on one of several nodes: `python -m workers.slurm_node NODES_DIR`, as a task of `srun`.

What the command prints goes on to `srun`, its secrets hidden already. The exit code is 0 whatever became of the
command: the supervisor on the first node reads that from the status here (`workers.backends.slurm.gang`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from workers.backends.slurm.files import refresh
from workers.slurm_job import keep
from workers.supervision.output import STREAMS, Writer
from workers.supervision.status import read_status
from workers.supervision.stopped import Stopped
from workers.supervision.watch import Supervisor


class Relay:
    """Passes a stream on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes, /) -> None:
        """All of it, however little is taken at a time."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        """`srun` lets go of it."""


class OnNode(Supervisor):
    """Hears from the first node through the shared directory, and keeps no output."""

    def _writers(self) -> Mapping[str, Writer]:
        return {name: Relay(number) for number, name in enumerate(STREAMS, start=1)}

    def _asked(self) -> Stopped | None:
        refresh(self._folder)
        return super()._asked()


def main(arguments: list[str]) -> int:
    """Run what was ordered for this task's node."""
    if len(arguments) != 1 or "SLURM_PROCID" not in os.environ:
        print("usage, as a task of srun: python -m workers.slurm_node NODES_DIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0]) / os.environ["SLURM_PROCID"]
    refresh(folder)
    if read_status(folder) is not None or keep(folder, OnNode) is None:
        print(f"nothing was ordered in {folder}, or it was carried out before", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
