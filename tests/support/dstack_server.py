"""A dstack server of the tests' own: its real code, in the environment of `make engines`, with a home of its own.

It has no cloud, so a run ends with no machine; everything else is as anywhere: names, states, refusals, events.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-engines" / "bin" / "python"
MISSING = "dstack is not here: run `make engines`"
_PATIENCE_S = 120.0
_PORTS = 3
"""A port that was free may be somebody else's by the time that the server takes it."""


@dataclass(frozen=True, slots=True)
class DstackServer:
    """Where it answers, and to whom."""

    url: str
    token: str
    folder: Path
    """Its database and what jobs printed."""

    def ask(self, path: str, body: object) -> httpx.Response:
        """A request of somebody else's."""
        return httpx.post(self.url + path, json=body, headers={"Authorization": f"Bearer {self.token}"}, timeout=30)


@contextmanager
def dstack_server(folder: Path, **more: str) -> Iterator[DstackServer]:
    """Start one and wait until it answers; at the end it is gone with all its processes. `more` are its settings."""
    token = str(uuid.uuid4())
    environment = {
        "PATH": os.defpath, "HOME": str(folder), "DSTACK_SERVER_DIR": str(folder / "server"),
        "DSTACK_SERVER_ADMIN_TOKEN": token, "DSTACK_SERVER_LOG_LEVEL": "ERROR", **more,
    }  # fmt: skip
    said = folder / "said"
    for left in reversed(range(_PORTS)):
        server = DstackServer(f"http://127.0.0.1:{_free_port()}", token, folder / "server")
        with said.open("ab") as stream:
            process = subprocess.Popen(
                [PYTHON.with_name("dstack"), "server", *_address(server), "--yes"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        try:
            if _answers(server, process, said):
                yield server
                return
        finally:
            _end(process)
        assert left, f"the dstack server did not stay: {_last_of(said)}"


def _answers(server: DstackServer, process: subprocess.Popen[bytes], said: Path) -> bool:
    """Whether it came to answer; False where it has ended, as it does when somebody else was given its port."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        try:
            if server.ask("/api/projects/list", {}).status_code == 200:  # it lets nobody else's token in
                return True
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the dstack server did not come: {_last_of(said)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all its processes, those included that it has left behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _address(server: DstackServer) -> tuple[str, ...]:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return "--host", host, "--port", port


def _last_of(said: Path) -> str:
    return said.read_text(errors="replace")[-2000:]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
