"""Attempts as directories on this host, each with a detached supervisor that outlives its worker.

`DIR/work.json` says what to run, `DIR/status.json` what became of it. Whoever reads them needs no memory
of having started anything.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from scheduler.domain.attempt import AttemptWork, LogChunk
from workers.backends.base import Handle, Phase, Report, StartFailed
from workers.backends.output import read_output
from workers.supervision.command import KEPT_VARIABLES
from workers.supervision.order import STOP, Order, read_order
from workers.supervision.output import STREAMS
from workers.supervision.processes import marked, signal_all, signal_group
from workers.supervision.status import RunState, Status, ownership, read_status
from workers.supervision.stopped import Stopped
from workers.supervision.watch import HARD

_START_LIMIT_S = 30.0
_KEPT_S = 7 * 86400.0
"""How long the statuses of ended attempts, and files that commands left in their scratch space, are kept."""
_PACKAGES = Path(__file__).resolve().parents[2]
"""Where `workers` is imported from, installed or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """A backend on this host; `make_order` says what a supervisor shall do with an attempt."""

    directory: Path
    make_order: Callable[[AttemptWork], Order]
    simulated: bool = False

    def start(self, work: AttemptWork) -> Handle:
        """Write the order and start a supervisor; it alone decides whether it is the first."""
        folder = self._folder(work.attempt_id)
        if read_status(folder) is None:
            # the command's scratch space, and a TMPDIR that goes with the attempt
            for name in ("tmp", "work"):
                (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            self.make_order(work).write(folder)
            _supervise(folder)
        return self.locate(work.attempt_id)

    def locate(self, attempt_id: UUID) -> Handle:
        """A directory follows from the attempt's id."""
        return {"host": socket.gethostname(), "folder": str(self._folder(attempt_id))}

    def poll(self, handle: Handle) -> Report:
        """What the supervisor last wrote, unless it is gone."""
        if handle["host"] != socket.gethostname():
            return Report(phase=Phase.ELSEWHERE, simulated=self.simulated)
        folder = Path(handle["folder"])
        status = read_status(folder)
        if status is None:
            return Report(phase=Phase.ABSENT, simulated=self.simulated)
        if status.state is not RunState.ENDED and not status.attended:
            # it may have ended between the two looks, its last word written
            status = read_status(folder) or status
            if status.state is not RunState.ENDED:
                _end_remains(folder, status)
                return _report(status, Phase.VANISHED)
        return _report(status, Phase(status.state))

    def stop(self, handle: Handle, *, hard: bool) -> None:
        """Leave word for the supervisor; where there has been none yet, forbid the start for good."""
        folder = Path(handle["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{STOP}"
        draft.write_text(HARD if hard else "graceful")
        draft.replace(folder / STOP)
        with ownership(folder):
            status = read_status(folder)
            if status is None:
                forbidden = Status(
                    state=RunState.ENDED,
                    supervisor=None,
                    heartbeat_at=time.time(),
                    stopped=Stopped.ASKED,
                    simulated=self.simulated,
                )
                forbidden.write(folder)
        if status is not None and status.supervisor is not None and status.supervisor.alive:
            with suppress(ProcessLookupError):
                os.kill(status.supervisor.pid, signal.SIGCHLD)  # wakes it; it looks for the word by itself as well

    def collect(self, handle: Handle, since: Mapping[str, int], *, ended: bool) -> list[LogChunk]:
        """New output of both streams."""
        folder = Path(handle["folder"])
        order = read_order(folder)
        if order is None:
            return []
        return [
            chunk
            for stream in STREAMS
            for chunk in read_output(folder, stream, since.get(stream, 0), cap_bytes=order.log_cap_bytes, ended=ended)
        ]

    def release(self, handle: Handle) -> None:
        """Delete temporary files and output. The status stays for a while: it keeps a late start from running."""
        folder = Path(handle["folder"])
        if not folder.is_dir():
            return
        if self.poll(handle).phase in (Phase.ABSENT, Phase.STARTING, Phase.RUNNING):
            self.stop(handle, hard=True)
            return
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        for stream in STREAMS:
            for segment in folder.glob(f"{stream}.*"):
                segment.unlink(missing_ok=True)
        with suppress(OSError):  # what the command left where it ran is its user's
            (folder / "work").rmdir()

    def tidy(self, has_ended: Callable[[UUID], bool]) -> None:
        """Release ended attempts that were not, and forget those that were long ago."""
        now = time.time()
        for folder in self.directory.iterdir() if self.directory.is_dir() else ():
            with suppress(ValueError, FileNotFoundError):
                attempt_id, quiet_s = UUID(folder.name), now - folder.stat().st_mtime
                if quiet_s > _KEPT_S:
                    if not (status := read_status(folder)) or not status.attended:
                        shutil.rmtree(folder, ignore_errors=True)
                elif (folder / "tmp").exists() and has_ended(attempt_id):  # what is released has no tmp any more
                    self.release(self.locate(attempt_id))

    def _folder(self, attempt_id: UUID) -> Path:
        return self.directory / str(attempt_id)


def _supervise(folder: Path) -> None:
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    try:
        done = subprocess.run(
            # -P: a file of the current directory must not be taken for a module of ours
            [sys.executable, "-P", "-m", "workers.supervise", str(folder)],
            env={**environment, "PYTHONPATH": str(_PACKAGES)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_START_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return  # a slow host: the supervisor may yet come, and the next poll sees whether it did
    except OSError as error:
        raise StartFailed(f"no supervisor could be started: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise StartFailed(f"no supervisor could be started: {said[-1] if said else f'exit code {done.returncode}'}")


def _end_remains(folder: Path, status: Status) -> None:
    """Nobody watches the command any more, and its attempt is about to be tried again elsewhere: end it."""
    if status.command is not None and status.command.alive:
        signal_group(status.command.pid, signal.SIGKILL)
    signal_all(marked("PYTHIA_ATTEMPT_ID", folder.name), signal.SIGKILL)


def _report(status: Status, phase: Phase) -> Report:
    return Report(
        phase=phase,
        exit_code=status.exit_code,
        signal=status.signal,
        stopped=status.stopped,
        out_of_memory=status.out_of_memory,
        failure=status.failure,
        runtime_s=status.runtime_s,
        used_s=status.held_s,
        peak_vram_gib=status.peak_vram_gib,
        vram_metric=status.vram_metric if status.peak_vram_gib is not None else None,
        peak_allocated_gib=status.peak_allocated_gib,
        peak_rss_gib=status.peak_rss_gib,
        simulated=status.simulated,
    )
