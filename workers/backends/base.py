"""What every way of running an attempt can do, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from scheduler.domain.attempt import AttemptWork, LogChunk
from workers.supervision.stopped import OutOfMemory, Stopped

Handle = Mapping[str, Any]
"""Where the running thing is; kept in PostgreSQL, so that any worker finds it again."""


class Phase(StrEnum):
    """How far a backend says that an attempt has come."""

    ABSENT = "absent"
    """Never started, as far as can be seen from here."""
    STARTING = "starting"
    """The machine, or the command on it, is on its way."""
    RUNNING = "running"
    ENDED = "ended"
    VANISHED = "vanished"
    """It ran, and nobody is left who could say how it ended."""
    ELSEWHERE = "elsewhere"
    """Only a worker on another host can see it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a backend knows of an attempt now. Memory is GiB, durations seconds."""

    phase: Phase
    exit_code: int | None = None
    signal: int | None = None
    stopped: Stopped | None = None
    """Why the command was ended, where it did not end by itself."""
    out_of_memory: OutOfMemory | None = None
    failure: str | None = None
    """One sentence from the backend itself."""
    runtime_s: float | None = None
    used_s: float | None = None
    """How long the machine was held: what a provider bills."""
    peak_vram_gib: float | None = None
    vram_metric: str | None = None
    peak_allocated_gib: float | None = None
    peak_rss_gib: float | None = None
    simulated: bool


class StartFailed(Exception):
    """Nothing was started, and nothing will be; the message is one sentence."""


class Backend(Protocol):
    """A way to run attempts. Every call may be repeated, by another worker and after any crash."""

    def start(self, work: AttemptWork) -> Handle:
        """Start an attempt unless it was started before; StartFailed where that is impossible."""
        ...

    def locate(self, attempt_id: UUID) -> Handle:
        """The handle that `start` gives an attempt, known without starting it."""
        ...

    def poll(self, handle: Handle) -> Report:
        """Look at it. What a vanished one left running is ended on the way."""
        ...

    def stop(self, handle: Handle, *, hard: bool) -> None:
        """Ask it to end, or make it end; what was never started never will be."""
        ...

    def collect(self, handle: Handle, since: Mapping[str, int], *, ended: bool) -> list[LogChunk]:
        """What it printed beyond so many bytes of each stream."""
        ...

    def release(self, handle: Handle) -> None:
        """Let go of what an ended attempt no longer needs, and make sure that nothing of it runs."""
        ...

    def tidy(self, has_ended: Callable[[UUID], bool]) -> None:
        """Release what ended attempts still hold, as those do whose worker died before it could."""
        ...
