"""Processes whose parent died and whom the kernel gave to us: reaped when they end, ended when we leave.

A job outlives the worker that started it, so that a worker may be restarted. It must not outlive the
whole installation, and a job that ended must not look alive because no one has collected it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Set as AbstractSet

import psutil

_GRACE_S = 1.0


def reap(services: AbstractSet[int]) -> None:
    """Collect adopted processes that ended; those of `services` are left to whoever started them."""
    if sys.platform != "linux":  # elsewhere orphans go to the first process of the system
        return
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or not _adopted(ended.si_pid, services):
            return
        os.waitpid(ended.si_pid, 0)


def end_all(services: AbstractSet[int]) -> int:
    """Ask adopted processes and their descendants to end, then make them; how many there were."""
    adopted = [child for child in psutil.Process().children() if _adopted(child.pid, services)]
    everyone = [process for child in adopted for process in [child, *_descendants(child)]]
    for process in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(everyone, timeout=_GRACE_S)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=_GRACE_S)
    return len(adopted)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _adopted(pid: int, services: AbstractSet[int]) -> bool:
    """A child in another session that is none of ours: what we start by ourselves shares our session."""
    try:
        return pid not in services and os.getsid(pid) != os.getsid(0)
    except ProcessLookupError:
        return False
