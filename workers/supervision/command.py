"""Start a command in a session of its own, keep what it prints, and end it with everything it started."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from workers.supervision.gpus import GIB
from workers.supervision.limits import LINES, Limits
from workers.supervision.oom import LineWatch, OutputWatch
from workers.supervision.order import Order
from workers.supervision.output import STREAMS, OutputWriter, Writer
from workers.supervision.processes import descendants, signal_all, signal_group
from workers.supervision.redaction import Redactor
from workers.supervision.report_file import NAME as REPORT
from workers.supervision.stopped import OutOfMemory

_CHUNK_BYTES = 256 * 1024
_CLEARING_S = 5.0
"""How long to wait for killed processes to be gone; one stuck in the kernel is left to it."""
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "SSL_CERT_FILE", "LD_LIBRARY_PATH")
"""What of the worker's environment a command sees. Everything else may hold the worker's secrets."""
_BATCH_SYSTEM, _ITS_SECRETS = "SLURM", frozenset({"SLURM_JWT"})
"""Variables with which Slurm tells a job where it is; `srun` and launchers of training read them."""


class CannotStart(Exception):
    """A command could not be started; the message is one sentence, the code is what a shell would say."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


NO_SECRETS: Mapping[str, str] = {}


def environment(
    order: Order,
    folder: Path,
    devices: Mapping[str, str],
    inherited: Mapping[str, str],
    secrets: Mapping[str, str] = NO_SECRETS,
) -> dict[str, str]:
    """The command's whole environment: a few of the worker's variables, the spec's, its secrets, and ours: they win."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        **{name: inherited[name] for name in KEPT_VARIABLES if name in inherited},
        **{name: value for name, value in inherited.items() if is_of_batch_system(name)},
        "TMPDIR": str(folder / "tmp"),
        **order.env,
        **secrets,
        "PYTHIA_JOB_ID": order.job_id,
        "PYTHIA_ATTEMPT_ID": order.attempt_id,
        "PYTHIA_REPORT_FILE": str(folder / REPORT),
        # none where none was handed out: a job placed on the CPU must not touch another's card
        "CUDA_VISIBLE_DEVICES": "",
        **devices,
    }


def working_dir(order: Order, folder: Path) -> Path:
    """Where the command runs: what the spec says, or a place of the attempt's own."""
    return Path(order.working_dir) if order.working_dir is not None else folder / "work"


def is_of_batch_system(name: str) -> bool:
    """Whether a batch system says something of a job with a variable, and nothing that is secret."""
    return name.startswith(_BATCH_SYSTEM) and name not in _ITS_SECRETS


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended, by the kernel's word."""

    code: int
    """128 + signal where a signal ended it."""
    signal: int | None
    largest_rss_gib: float
    """Peak of its largest single process, or of ours when we forked it: between fork and exec a child counts its
    parent's pages as its own."""
    rss_is_its_own: bool
    """Whether that figure is above anything we ever held."""


class Command:
    """A running command. Nothing but `close` reaps it, so its process group's number stays its own until then."""

    def __init__(
        self,
        order: Order,
        folder: Path,
        env: dict[str, str],
        *,
        hide: Iterable[str] = (),
        writers: Mapping[str, Writer] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Start it. What is to be hidden does not come into its output, which files of the directory take unless
        `writers` do."""
        hidden = list(hide)
        self._redactors = {name: Redactor(hidden) for name in STREAMS}
        # read first: a command that lives for a moment may be well under way when its start is reported
        self.began = time.monotonic()
        self._process = _spawn(order, folder, env, limits)
        self.pid = self._process.pid
        self._exited = False
        self._writers = writers or {name: OutputWriter(folder, name, order.log_cap_bytes) for name in STREAMS}
        self._watches = {name: OutputWatch() for name in STREAMS}
        self._limits = limits
        self._limit_watches = {name: LineWatch(LINES) for name in STREAMS if limits is not None}
        self.selector = selectors.DefaultSelector()
        for name, pipe in zip(STREAMS, (self._process.stdout, self._process.stderr), strict=True):
            assert pipe is not None  # noqa: S101 - both were asked for
            os.set_blocking(pipe.fileno(), False)
            self.selector.register(pipe, selectors.EVENT_READ, name)

    def wait(self, seconds: float) -> None:
        """Wait for output or a signal, at most so long, and keep the output."""
        for key, _ in self.selector.select(seconds):
            if isinstance(key.data, str):
                self._pump(key.fileobj, key.data)  # type: ignore[arg-type]

    def has_ended(self) -> bool:
        """Whether the command itself has ended; descendants that were left to us are buried on the way."""
        while not self._exited and (dead := _look_for_dead()):
            if dead == self.pid:
                self._exited = True
            else:
                os.waitpid(dead, 0)
        return self._exited

    def ask_to_end(self) -> None:
        """SIGTERM to its process group."""
        signal_group(self.pid, signal.SIGTERM)

    def make_end(self) -> None:
        """SIGKILL to its process group and to whatever left that group."""
        signal_group(self.pid, signal.SIGKILL)
        signal_all(descendants(os.getpid()), signal.SIGKILL)

    def close(self) -> Exit:
        """Once it has ended: end what it left running, read the rest of its output, and say how it ended."""
        # its zombie still holds the number, so this cannot meet another group
        signal_group(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code  # so that Popen does not look for it
        _clear_descendants()
        self._drain()
        for name in STREAMS:
            self._keep(name, self._redactors[name].flush())
        ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        unit = 1 if sys.platform == "darwin" else 1024
        return Exit(
            code=128 - code if code < 0 else code,
            signal=-code if code < 0 else None,
            largest_rss_gib=usage.ru_maxrss * unit / GIB,
            rss_is_its_own=usage.ru_maxrss > ours,
        )

    def said(self) -> list[OutOfMemory | None]:
        """Which memory each stream's last lines say ran out."""
        return [watch.verdict() for watch in self._watches.values()]

    def limit_met(self, exited: Exit) -> str | None:
        """Which of its limits it failed for, as one sentence."""
        if self._limits is None or exited.code == 0:
            return None
        return self._limits.met([watch.verdict() for watch in self._limit_watches.values()], exited.signal)

    def say(self, line: str) -> None:
        """Add a line of our own to the command's stderr."""
        self._writers["stderr"].write(line.encode() + b"\n")

    def close_output(self) -> None:
        """Let go of the log files."""
        for writer in self._writers.values():
            writer.close()

    def _pump(self, pipe: BinaryIO, stream: str) -> None:
        try:
            data = os.read(pipe.fileno(), _CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.selector.unregister(pipe)
            pipe.close()
            return
        self._watches[stream].feed(data)
        if stream in self._limit_watches:
            self._limit_watches[stream].feed(data)
        self._keep(stream, self._redactors[stream].feed(data))

    def _keep(self, stream: str, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the log, never the job
            self._writers[stream].write(data)

    def _drain(self) -> None:
        until = time.monotonic() + _CLEARING_S
        while any(isinstance(key.data, str) for key in self.selector.get_map().values()) and time.monotonic() < until:
            self.wait(0.1)


def _spawn(order: Order, folder: Path, env: dict[str, str], limits: Limits | None) -> subprocess.Popen[bytes]:
    where = working_dir(order, folder)
    if not where.is_dir():
        what = "is not a directory" if where.exists() else "does not exist on this machine"
        raise CannotStart(f"the working directory {where} {what}", 1)
    program = order.command[0]
    try:
        return subprocess.Popen(
            list(order.command),
            env=env,
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a process group of its own, and no terminal to hang up
            # a supervisor has one thread, so what is forked can run this; set from outside it might come too late
            preexec_fn=None if limits is None else limits.setter(),  # noqa: PLW1509
        )
    except FileNotFoundError:
        raise CannotStart(f"the program {program!r} or its interpreter was not found", 127) from None
    except PermissionError:
        raise CannotStart(f"the program {program!r} may not be executed", 126) from None
    except OSError as error:
        if error.errno == errno.ENOEXEC:
            raise CannotStart(f"the program {program!r} is no executable of this machine", 126) from None
        raise CannotStart(f"starting {program!r} fails: {error.strerror}", 126) from None
    except subprocess.SubprocessError:
        raise CannotStart(f"starting {program!r} fails: the limits of this host cannot be set for it", 126) from None
    except ValueError as error:  # a NUL in the environment
        raise CannotStart(f"starting {program!r} fails: {error}", 126) from None


def _look_for_dead() -> int | None:
    """The pid of a child that has ended, left as it is; None if there is none."""
    try:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return dead.si_pid if dead else None


def _clear_descendants() -> None:
    until = time.monotonic() + _CLEARING_S
    while time.monotonic() < until:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:  # what its children left behind would be ours by now
            return
        signal_all(descendants(os.getpid()), signal.SIGKILL)
        time.sleep(0.01)
