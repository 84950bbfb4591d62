"""What every way of running an attempt can do, and what it reports.

`provision`, `start`, `poll`, `stop`, `release` and `list` are calls to a provider. Each may be repeated, by another
worker and after any crash: a machine is named by its key and an attempt by its id, both given before the first call.
Where a machine and the attempt on it are one thing to a provider (a batch job of a cluster), `provision` only answers
that it is ready, and `start` does both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from scheduler.domain.attempt import AttemptWork, LogChunk
from scheduler.domain.machines import Machine, Meter
from workers.supervision.stopped import OutOfMemory, Stopped

Handle = Mapping[str, Any]
"""Where the running thing is; kept in PostgreSQL, so that any worker finds it again."""


class Phase(StrEnum):
    """How far a backend says that an attempt has come."""

    ABSENT = "absent"
    """Never started, as far as can be seen from here."""
    STARTING = "starting"
    """The machine, or the command on it, is on its way."""
    ASKS = "asks"
    """It is on its machine, and its command waits for what `start`, called once more, hands over to it."""
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
    """How long the command and what came with it held the machine."""
    meter: Meter | None = None
    """The machine's meter at both ends of that, by the provider's clock; None before the end."""
    machine_gone: bool = False
    """The provider took the machine away with it."""
    began_s: float | None = None
    """The machine's meter when it began, of one that runs and may share its card: its time is cut there."""
    peak_vram_gib: float | None = None
    vram_metric: str | None = None
    peak_allocated_gib: float | None = None
    peak_rss_gib: float | None = None
    simulated: bool
    command_ran: bool = True


class MachinePhase(StrEnum):
    """How far a provider says that a machine has come."""

    COMING = "coming"
    READY = "ready"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReport:
    """What a provider knows of a machine now."""

    key: str
    phase: MachinePhase
    metered_s: float | None
    """Seconds since the provider opened it, until now or until it was closed: what is billed. None: it never was."""


class StartFailed(Exception):
    """Nothing was started, and nothing will be; the message is one sentence."""


class JobRefused(StartFailed):
    """Nothing was started, and nowhere else will be: it is the job that cannot be run as it is."""


class ProviderUnavailable(Exception):
    """The provider did not answer, or not with anything that can be used; the same call may succeed later."""


class Backend(Protocol):
    """A way to run attempts."""

    @property
    def account(self) -> str:
        """Where its machines are: workers of the same account see the same machines."""
        ...

    @property
    def host_bound(self) -> bool:
        """Whether its machines are places on the worker's own host, and end with it."""
        ...

    @property
    def hands_over(self) -> bool:
        """Whether its commands are given the secrets and files that their jobs ask for."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether what it reports is drawn."""
        ...

    def provision(self, machine: Machine) -> MachineReport:
        """Order a machine unless its key was ordered before, and say how far it has come; StartFailed where the
        provider will not give it."""
        ...

    def start(self, work: AttemptWork) -> Handle:
        """Start an attempt on its machine unless it was started before; StartFailed where that is impossible."""
        ...

    def locate(self, attempt_id: UUID) -> Handle:
        """The handle that `start` gives an attempt, known without starting it."""
        ...

    def poll(self, handle: Handle) -> Report:
        """Look at an attempt. What a vanished one left running is ended on the way."""
        ...

    def stop(self, handle: Handle, *, hard: bool) -> None:
        """Ask an attempt to end, or make it end; what was never started never will be."""
        ...

    def release(self, key: str) -> MachineReport:
        """Give a machine back with whatever runs on it, and say what it was metered at; one that never came never
        will."""
        ...

    def list(self) -> Sequence[MachineReport]:
        """Every machine of the account that is not gone, whoever ordered it."""
        ...

    def collect(self, handle: Handle, since: Mapping[str, int], *, ended: bool) -> Sequence[LogChunk]:
        """What an attempt printed beyond so many bytes of each stream."""
        ...

    def clear(self, handle: Handle) -> None:
        """Let go of what an ended attempt no longer needs, and make sure that nothing of it runs."""
        ...

    def tidy(self, has_ended: Callable[[UUID], bool]) -> None:
        """Clear what ended attempts still hold, as those do whose worker died before it could."""
        ...
