"""Say what happens while it happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(slots=True)
class Narrator:
    """Prints lines with the seconds since the beginning; flushed, since a pipe would keep them to itself."""

    stream: TextIO = sys.stdout
    began: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def chapter(self, title: str) -> None:
        """A new part of the demo."""
        print(f"\n── {title} " + "─" * max(0, 96 - len(title)), file=self.stream, flush=True)

    def say(self, line: str) -> None:
        """One step, with its time."""
        print(f"{self.elapsed_s:6.1f}s  {line}", file=self.stream, flush=True)

    def show(self, lines: Iterable[str]) -> None:
        """A table or a paragraph."""
        print("\n".join(lines), file=self.stream, flush=True)
