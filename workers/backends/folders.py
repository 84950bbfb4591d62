"""What every backend does with an attempt's directory that a supervisor fills: read its output, and clear it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from scheduler.domain.attempt import LogChunk
from workers.backends.output import read_output
from workers.supervision.limits import NAME as LIMITS
from workers.supervision.order import Order, read_order
from workers.supervision.output import STREAMS

SCRATCH = ("tmp", "work")
"""A TMPDIR that goes with the attempt, and where the command runs unless its spec says."""
KEPT_S = 7 * 86400.0
"""How long the statuses of ended attempts, and files that commands left in their scratch space, are kept."""


def prepare(folder: Path, order: Order) -> None:
    """Make an attempt's directory with all that its supervisor and its command expect."""
    for name in SCRATCH:
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    order.write(folder)


def collect_output(folder: Path, since: Mapping[str, int], *, ended: bool) -> Sequence[LogChunk]:
    """New output of both streams, beyond so many bytes of each."""
    order = read_order(folder)
    if order is None:
        return []
    return [
        chunk
        for stream in STREAMS
        for chunk in read_output(folder, stream, since.get(stream, 0), cap_bytes=order.log_cap_bytes, ended=ended)
    ]


def clear_scratch(folder: Path) -> None:
    """Delete temporary files and output. The status stays for a while: it keeps a late start from running."""
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    for stream in STREAMS:
        for segment in folder.glob(f"{stream}.*"):
            segment.unlink(missing_ok=True)
    (folder / LIMITS).unlink(missing_ok=True)
    with suppress(OSError):  # what the command left where it ran is its user's
        (folder / "work").rmdir()
