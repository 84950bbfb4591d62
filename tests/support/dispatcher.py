"""Dispatchers that publish nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.broker import QueueKind
from scheduler.dispatch import Arguments


@dataclass(slots=True)
class RecordingDispatcher:
    """Keeps what was sent."""

    sent: list[tuple[str, QueueKind, Arguments]] = field(default_factory=list)

    def send(self, task: str, queue: QueueKind, arguments: Arguments) -> None:
        """Keep one message."""
        self.sent.append((task, queue, arguments))


class BrokenDispatcher(RecordingDispatcher):
    """A broker that is away."""

    def send(self, task: str, queue: QueueKind, arguments: Arguments) -> None:
        """Fail as a broker's client does."""
        raise ConnectionError("nobody listens")
