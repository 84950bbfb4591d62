"""Keeps the processes of an installation running, and stops them in order."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence

from scheduler.embedded import orphans
from scheduler.embedded.process import Child, adopt_orphans

Report = Callable[[str], None]

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
"""A process that lasted this long is forgiven its earlier ends."""
_STOP_S = 5.0
"""A worker finishes the tasks at hand (each takes seconds); what takes longer is told again by the sweeper."""


class Supervisor:
    """Some children, started in order and restarted with growing pauses when they end by themselves."""

    def __init__(self, children: Sequence[Child], report: Report) -> None:
        self.children = children
        self._report = report
        self._started_at: dict[str, float] = {}
        self._pause_s: dict[str, float] = {}
        self._due_at: dict[str, float] = {}

    @property
    def pids(self) -> set[int]:
        """The processes that are ours by birth."""
        return {child.process.pid for child in self.children if child.process is not None}

    def start(self) -> None:
        """Start every child; none is waited for."""
        adopt_orphans(True)
        for child in self.children:
            self._start(child)

    def look(self, also_ours: set[int]) -> None:
        """Look once: notice ends, restart what is due, collect adopted processes that ended."""
        now = time.monotonic()
        for child in self.children:
            if child.running:
                continue
            if child.name not in self._due_at:
                self._schedule(child, now)
            if now >= self._due_at[child.name]:
                del self._due_at[child.name]
                self._start(child)
        orphans.reap(self.pids | also_ours)

    def stop(self, also_ours: set[int]) -> None:
        """Ask all children at once, give them a few seconds, and leave nothing of theirs running."""
        for child in self.children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_S
        for child in self.children:
            child.wait(deadline - time.monotonic())
            child.kill()
        ended = orphans.end_all(self.pids | also_ours)
        if ended:
            self._report(f"ended {ended} running job{'s' if ended > 1 else ''}")
        adopt_orphans(False)

    def _start(self, child: Child) -> None:
        child.start()
        self._started_at[child.name] = time.monotonic()

    def _schedule(self, child: Child, now: float) -> None:
        lasted = now - self._started_at[child.name] > _STEADY_S
        pause = _FIRST_PAUSE_S if lasted else self._pause_s.get(child.name, _FIRST_PAUSE_S)
        self._pause_s[child.name] = min(2 * pause, _LONGEST_PAUSE_S)
        self._due_at[child.name] = now + pause
        code = child.process.returncode if child.process is not None else None
        self._report(f"{child.name} ended with code {code} and starts again in {pause:g} s; its log is {child.log}")
