"""What a supervisor saw: `status.json` in an attempt's directory, and who may write it.

Whoever holds the directory's lock and finds no status yet owns the attempt. A supervisor writes
`starting` before it starts anything, so a second one, whoever sent it, finds that and leaves.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from workers.supervision.files import read_json, write_json
from workers.supervision.order import LOCK, STATUS, WORK, read_order
from workers.supervision.processes import ProcessId
from workers.supervision.stopped import OutOfMemory, Stopped


class RunState(StrEnum):
    """How far a supervisor has come."""

    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The latest word on one attempt. Memory is GiB, durations seconds, moments Unix time."""

    state: RunState
    supervisor: ProcessId | None
    """None where the start was forbidden before there was one."""
    command: ProcessId | None = None
    """Its pid is also its process group."""
    heartbeat_at: float
    runtime_s: float | None = None
    """Of the command, by the monotonic clock; virtual on a simulated provider."""
    held_s: float = 0.0
    """How long the machine was held, from the supervisor's start or, where simulated, from its ordering."""
    peak_rss_gib: float | None = None
    peak_vram_gib: float | None = None
    vram_metric: str | None = None
    peak_allocated_gib: float | None = None
    """As the job itself reported."""
    peak_reserved_gib: float | None = None
    exit_code: int | None = None
    """128 + the signal's number for a command that a signal ended, as shells count."""
    signal: int | None = None
    stopped: Stopped | None = None
    out_of_memory: OutOfMemory | None = None
    failure: str | None = None
    """One sentence, where the command could not even be started or memory ran out."""
    simulated: bool = False

    @property
    def attended(self) -> bool:
        """Whether the supervisor that writes this still lives."""
        return self.supervisor is not None and self.supervisor.alive

    def write(self, folder: Path, *, durable: bool = True) -> None:
        """Put the status into an attempt's directory."""
        write_json(folder / STATUS, asdict(self), durable=durable)


def read_status(folder: Path) -> Status | None:
    """The status in a directory, None if no supervisor has begun there."""
    try:
        body = read_json(folder / STATUS)
    except ValueError:
        return _of_unreadable(folder)
    if body is None:
        return None
    read: dict[str, Any] = {
        "state": RunState(body.pop("state")),
        "supervisor": _maybe(body.pop("supervisor"), lambda value: ProcessId(**value)),
        "command": _maybe(body.pop("command"), lambda value: ProcessId(**value)),
        "stopped": _maybe(body.pop("stopped"), Stopped),
        "out_of_memory": _maybe(body.pop("out_of_memory"), OutOfMemory),
    }
    return Status(**read, **body)


def _of_unreadable(folder: Path) -> Status:
    """A power cut took what was written last, and whoever wrote it: a supervisor that is gone, last heard of then."""
    heard_at, order = (folder / STATUS).stat().st_mtime, read_order(folder)
    simulated = order is not None and order.truth is not None
    held_s = 0.0 if order is None or simulated else max(0.0, heard_at - (folder / WORK).stat().st_mtime)
    return Status(
        state=RunState.RUNNING, supervisor=None, heartbeat_at=heard_at, held_s=held_s, simulated=simulated,
        failure="what was last written of it cannot be read",
    )  # fmt: skip


def _maybe(value: Any, make: Any) -> Any:
    return None if value is None else make(value)


@contextmanager
def ownership(folder: Path) -> Iterator[None]:
    """Hold an attempt's directory while looking whether it has a status and writing the first one."""
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
