"""Start supervisors without starting Python each time: `python -m workers.nursery` forks one for every order.

It has loaded what a supervisor needs and nothing else, so that a supervisor costs a fork instead of 60 ms of a
processor, and shares its memory with all others. It sits at the other end of a socket, its stdin. An order is a line
with a folder; where that has secrets, the end of a pipe comes with it, which the supervisor alone reads. The answer is
a byte: `1` once the attempt is owned. It ends with the socket, that is with its worker; the supervisors do not.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.supervise import LOADED, detach
from workers.supervision.command import KEPT_VARIABLES

_PACKAGES = Path(__file__).resolve().parents[1]
"""Where `workers` is imported from, installed or not."""
_OWNED, _NOT_OWNED = b"1", b"0"
_END_S = 1.0


class NurseryGone(Exception):
    """It ended, or never came up: nothing is known of the order that it was given."""


class NurserySlow(Exception):
    """It has not answered in time; the supervisor may yet come."""


@dataclass(frozen=True, slots=True)
class _Room:
    process: subprocess.Popen[bytes]
    talk: socket.socket
    owner: int
    """The process that it belongs to."""
    environment: dict[str, str]


@dataclass(slots=True)
class Nursery:
    """The nursery of this process, begun with its first order and again where it has ended. Threads share it."""

    packages: str = str(_PACKAGES)
    """Where supervisors import from."""
    _room: _Room | None = field(default=None, init=False)
    _lock: Any = field(default_factory=threading.Lock, init=False)

    def supervise(self, folder: Path, told: bytes | None, *, within_s: float) -> bool:
        """Have a supervisor started for the order in a folder; whether the attempt is owned."""
        with self._lock:
            talk = self._begun().talk
            talk.settimeout(within_s)
            try:
                _send(talk, folder, told, time.monotonic() + within_s)
                answer = talk.recv(1)
            except TimeoutError as error:
                self._end()  # its answer may yet come, and would be taken for that to another order
                raise NurserySlow from error
            except OSError as error:
                self._end()
                raise NurseryGone(str(error)) from error
            if not answer:
                self._end()
                raise NurseryGone("the process that starts them ended")
            return answer == _OWNED

    def close(self) -> None:
        """Let it end; what it started goes on."""
        with self._lock:
            self._end()

    def _begun(self) -> _Room:
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        environment["PYTHONPATH"] = self.packages
        room = self._room
        # a process that was forked from the one it belongs to has a nursery of its own
        if (
            room is None
            or room.owner != os.getpid()
            or room.environment != environment
            or room.process.poll() is not None
        ):
            self._end()
            room = self._room = _begin(environment)
        return room

    def _end(self) -> None:
        room, self._room = self._room, None
        if room is None:
            return
        room.talk.close()
        if room.owner == os.getpid():
            with suppress(subprocess.TimeoutExpired):
                room.process.wait(_END_S)
                return
            room.process.kill()
            room.process.wait()


def _begin(environment: dict[str, str]) -> _Room:
    ours, its = socket.socketpair()
    try:
        process = subprocess.Popen(
            # -P: a file of the current directory must not be taken for a module of ours
            [sys.executable, "-P", "-m", "workers.nursery"],
            env=environment,
            cwd="/",
            stdin=its.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what a terminal says to its worker is not meant for it
        )
    except OSError as error:
        ours.close()
        raise NurseryGone(str(error)) from error
    finally:
        its.close()
    return _Room(process, ours, os.getpid(), environment)


def _send(talk: socket.socket, folder: Path, told: bytes | None, until: float) -> None:
    line = [os.fsencode(folder) + b"\n"]
    if told is None:
        socket.send_fds(talk, line, [])
        return
    reader, writer = os.pipe()
    try:
        try:
            socket.send_fds(talk, line, [reader])
        finally:
            os.close(reader)
        os.set_blocking(writer, False)
        with suppress(BrokenPipeError):  # nobody reads it: the answer says whether that is well
            _write(writer, memoryview(told), until)
    finally:
        os.close(writer)


def _write(pipe: int, left: memoryview, until: float) -> None:
    while left:
        if not select.select([], [pipe], [], max(0.0, until - time.monotonic()))[1]:
            raise TimeoutError
        left = left[os.write(pipe, left) :]


def main() -> int:
    """Serve orders until the socket ends."""
    for name in LOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection in each supervisor would copy every page
    talk = socket.socket(fileno=os.dup(0))
    os.register_at_fork(after_in_child=talk.close)  # or its worker would not hear the end of it from those it forked
    while order := _order(talk):
        folder, told = order
        owned = detach(folder, told)
        if told is not None:
            os.close(told)
        talk.sendall(_OWNED if owned else _NOT_OWNED)
    return 0


def _order(talk: socket.socket) -> tuple[Path, int | None] | None:
    line = b""
    pipes: list[int] = []
    while not line.endswith(b"\n"):
        more, ends, _, _ = socket.recv_fds(talk, 65536, 1)
        if not more:
            return None
        line, pipes = line + more, [*pipes, *ends]
    return Path(os.fsdecode(line[:-1])), pipes[0] if pipes else None


if __name__ == "__main__":
    sys.exit(main())
