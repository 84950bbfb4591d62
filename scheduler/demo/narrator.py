"""Say what happens while it happens."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Narrator:
    """Prints lines with the seconds since the beginning; flushed, since a pipe would keep them to itself."""

    began: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def chapter(self, title: str) -> None:
        """A new part of the demo."""
        print(f"\n── {title} " + "─" * max(0, 96 - len(title)), flush=True)

    def say(self, line: str) -> None:
        """One step, with its time."""
        print(f"{self.elapsed_s:6.1f}s  {line}", flush=True)

    def show(self, lines: Iterable[str]) -> None:
        """A table or a paragraph."""
        print("\n".join(lines), flush=True)
