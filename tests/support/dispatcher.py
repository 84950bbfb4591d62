"""Dispatchers that publish nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.broker import QueueKind
from scheduler.dispatch import Arguments


@dataclass(slots=True)
class RecordingDispatcher:
    """Keeps what was sent."""

    sent: list[tuple[str, QueueKind, Arguments]] = field(default_factory=list)
    hosts: list[str | None] = field(default_factory=list)
    """Whose workers each was for."""
    expiries: list[float | None] = field(default_factory=list)
    """After how many seconds each is of no use."""

    def send(
        self,
        task: str,
        queue: QueueKind,
        arguments: Arguments,
        *,
        host: str | None = None,
        expires_s: float | None = None,
    ) -> None:
        """Keep one message."""
        self.sent.append((task, queue, arguments))
        self.hosts.append(host)
        self.expiries.append(expires_s)


class BrokenDispatcher(RecordingDispatcher):
    """A broker that is away."""

    def send(
        self,
        task: str,
        queue: QueueKind,
        arguments: Arguments,
        *,
        host: str | None = None,
        expires_s: float | None = None,
    ) -> None:
        """Fail as a broker's client does."""
        raise ConnectionError("nobody listens")
