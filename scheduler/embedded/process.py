"""One process of the tree: started in its own session, stopped politely and then not, dead when we are."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOG_KEPT_BYTES = 10 * 2**20

# loaded before any fork: between fork and exec nothing may take the import lock
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def dies_with_parent(with_signal: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` after which the kernel signals the process when its parent is gone, however it went.

    Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere an orphan is found and stopped at the next start.
    """
    if _libc is None:
        return None
    prctl, value = _libc.prctl, int(with_signal)
    return lambda: prctl(_PR_SET_PDEATHSIG, value)


def adopt_orphans(wanted: bool) -> None:
    """Become, or stop being, the parent of descendants whose own parent dies (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


@dataclass(slots=True, kw_only=True)
class Child:
    """A process that is meant to run until it is stopped."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] | None = None
    user: int | None = None
    """The user and group to become; None stays who we are."""
    parent_death: signal.Signals = signal.SIGKILL
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the process with its output appended to its log."""
        if self.log.exists() and self.log.stat().st_size > _LOG_KEPT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment) if self.environment is not None else None,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user is not None else None,
                cwd="/" if self.user is not None else None,
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops its children in order
                # the hook is one system call bound beforehand: safe although other threads may run
                preexec_fn=dies_with_parent(self.parent_death),  # noqa: PLW1509
            )

    @property
    def running(self) -> bool:
        """Whether the process is there now."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Signal the process alone; its own children are its business while it lives."""
        if self.process is not None:
            self.process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within so many seconds."""
        if self.process is None:
            return True
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End the process and whatever is left in its session's first group."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def last_words(self, lines: int = 1) -> str:
        """The end of the log, for the sentence that reports its failure."""
        try:
            text = self.log.read_bytes()[-4096:].decode(errors="replace").strip()
        except FileNotFoundError:
            return ""
        return " | ".join(text.splitlines()[-lines:])
