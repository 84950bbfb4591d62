"""What of its host a command may use, and whether that is what it failed for.

The kernel sees to all but memory: what it could limit is address space, of which CUDA reserves far more than there is
memory. That is looked at instead (see `memory`).
"""

from __future__ import annotations

import re
import resource
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from workers.supervision.files import read_json, write_json

NAME = "limits.json"
LINES = {
    "open_files": re.compile(rb"Too many open files(?! in system)"),
    "file_bytes": re.compile(rb"File too large"),
    "processes": re.compile(
        rb"(?:[Ff]ork|clone|[Tt]hread)[^\n]{0,200}Resource temporarily unavailable"  # shells, OpenBLAS, C++
        rb"|[Ff]ork[^\n]*\n(?:[^\n]*\n){0,15}?BlockingIOError: \[Errno 11\]"  # Python, whose sockets say the same
        rb"|can't start new thread|Cannot fork"
    ),
}
"""What is printed by software that has met a limit."""
_KERNELS = {
    "processes": resource.RLIMIT_NPROC, "open_files": resource.RLIMIT_NOFILE, "file_bytes": resource.RLIMIT_FSIZE,
}  # fmt: skip
_WORDS = {
    "processes": "it wanted more processes and threads than the {:,} that its user may have here",
    "open_files": "it wanted more files open at once than the {:,} that a process may have here",
    "file_bytes": "it wanted a file larger than the {:,} bytes that one may have here",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None limits nothing. What its worker may not have, a command may not have either."""

    processes: int | None = None
    open_files: int | None = None
    file_bytes: int | None = None
    memory_gib: float | None = None

    def write(self, folder: Path) -> None:
        """Put them into an attempt's directory, beside its order: versions that know of none read that as well."""
        write_json(folder / NAME, asdict(self), durable=False)

    def setter(self) -> Callable[[], None]:
        """What sets them for the process that calls it, and for all that it starts."""
        effective = {_KERNELS[name]: most for name in _KERNELS if (most := self._most(name)) is not None}
        effective[resource.RLIMIT_CORE] = 0  # a dump of a large job fills the disk

        def set_them() -> None:
            for which, most in effective.items():
                resource.setrlimit(which, (most, most))

        return set_them

    def met(self, said: list[str | None], number: int | None) -> str | None:
        """Which limit a command that failed has met, as one sentence; None where nothing speaks for one."""
        if number == signal.SIGXFSZ:
            said = ["file_bytes"]
        for name in filter(None, said):
            most, ours = self._most(name), getattr(self, name)
            if most is not None:
                whose = f"PYTHIA_LOCAL_{name.upper()}" if most == ours else "its worker's own limit"
                return f"{_WORDS[name].format(most)} ({whose})"
        return None

    @property
    def memory_words(self) -> str:
        """What is said of a command that was killed for its memory."""
        most = f"{self.memory_gib:g} GiB that a job may hold here (PYTHIA_LOCAL_MEMORY_GIB)"
        return f"the host's memory ran out: it held more than the {most}"

    def _most(self, name: str) -> int | None:
        asked: int | None = getattr(self, name)
        hard = resource.getrlimit(_KERNELS[name])[1]
        return asked if asked is None or hard == resource.RLIM_INFINITY else min(asked, hard)


def read_limits(folder: Path) -> Limits | None:
    """The limits in a directory, None where a command has those of its worker."""
    body = read_json(folder / NAME)
    return None if body is None else Limits(**body)
