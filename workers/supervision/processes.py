"""Name a process so that it is never mistaken for another, and end a whole family of them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """A pid with the moment its process began: the kernel gives a pid to another process some day, never both."""

    pid: int
    began: str
    """The boot and the clock ticks since it."""

    @property
    def alive(self) -> bool:
        """Whether that very process still runs; one that only waits to be reaped does not."""
        return _began(self.pid) == self.began


def identify(pid: int) -> ProcessId | None:
    """The identity of a running process, None if there is none."""
    began = _began(pid)
    return None if began is None else ProcessId(pid=pid, began=began)


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "boot"


def _began(pid: int) -> str | None:
    if sys.platform != "linux":
        return _began_by_psutil(pid)
    fields = _stat(pid)
    return None if fields is None else f"{_boot()}:{int(fields[19])}"


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the third on (state, parent, …); None for a process that is gone or only
    waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # the second field is the program's name in parentheses and may itself hold spaces and parentheses
    fields = stat.rpartition(b")")[2].split()
    return None if not fields or fields[0] in b"ZX" else fields


def _began_by_psutil(pid: int) -> str | None:
    import psutil  # noqa: PLC0415 - 30 ms that a supervisor on Linux can do without

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{_boot()}:{process.create_time():.2f}"
    except psutil.Error:
        return None


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that a daemon cannot leave the tree (Linux)."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


_PR_SET_CHILD_SUBREAPER = 36
"""From linux/prctl.h."""


def descendants(pid: int) -> list[int]:
    """Pids of all living descendants of a process."""
    children = _children if _lists_children() else _families().get
    found = list(children(pid) or ())
    for one in found:  # grows as it is walked
        found.extend(children(one) or ())
    return [one for one in found if _stat(one)] if sys.platform == "linux" else found


@cache
def _lists_children() -> bool:
    """Whether the kernel says which children a process has (Linux, as most distributions build it)."""
    return Path(f"/proc/self/task/{os.getpid()}/children").exists()


def _children(pid: int) -> list[int]:
    """Of one process, by the thread that made or adopted them. A host may have thousands of processes, and every
    supervisor on it looks at its own few twice a second."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found.extend(map(int, (thread / "children").read_bytes().split()))
    return found


def _families() -> dict[int, list[int]]:
    """The children of every living process."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    return children


def _parents() -> Iterator[tuple[int, int]]:
    """Every living process with its parent."""
    if sys.platform != "linux":
        import psutil  # noqa: PLC0415 - as above

        yield from ((process.pid, process.info["ppid"]) for process in psutil.process_iter(["ppid"]))
        return
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit() and (fields := _stat(int(entry.name))):
                yield int(entry.name), int(fields[1])


def marked(name: str, value: str) -> list[int]:
    """Pids of this user's processes whose environment holds `name=value`: what an attempt's tree left behind."""
    import psutil  # noqa: PLC0415 - needed only after a supervisor vanished

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(name) == value:
                found.append(process.pid)
    return found


def signal_name(number: int) -> str:
    """What a signal is called; those for real time have no names."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group, if it still has members."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
