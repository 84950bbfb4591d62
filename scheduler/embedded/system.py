"""A whole Pythia on one machine: PostgreSQL, API, relay and worker as one process tree.

`pythia up` keeps one running in a directory of the user's; `pythia demo` runs one for two minutes.
Whoever holds an `EmbeddedSystem` becomes the parent of its jobs too, so that stopping it leaves nothing behind.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from predictor.errors import PythiaError
from scheduler.broker import broker_for, prepare
from scheduler.embedded import orphans
from scheduler.embedded.keys import api_key_of
from scheduler.embedded.lock import DirectoryLock
from scheduler.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresFailed
from scheduler.embedded.process import Child
from scheduler.embedded.supervisor import Supervisor
from scheduler.services.vault import new_key
from scheduler.settings import Settings

_API_START_S = 60.0
_POSTGRES_RESTART_S = 30.0
_LOOK_S = 0.2
_SERVICES = {
    "api": ("scheduler.main", "api"),
    "relay": ("scheduler.main", "relay"),
    "worker": ("workers",),
    "trainer": ("workers", "--queues", "train", "--concurrency", "1", "--name", "trainer@%h"),
}


class PortInUse(PythiaError):
    """Another program listens where the API should."""

    code = "port_in_use"


class SystemFailed(PythiaError):
    """A part of the system did not start."""

    code = "system_failed"


class EmbeddedSystem:
    """Start with `start` or `with`; then `url`, `api_key` and `database_url` say how to reach it."""

    def __init__(self, settings: Settings, report: Callable[[str], None] = lambda _: None) -> None:
        self._given = settings
        self._report = report
        self._directory = settings.data_path
        self._lock = DirectoryLock(self._directory)
        self._postgres: EmbeddedPostgres | None = None
        self._supervisor: Supervisor | None = None
        self.settings = settings
        self.api_key: str | None = None
        """None when the key was made elsewhere and its copy is not here."""
        self.key_is_new = False

    @property
    def url(self) -> str:
        """Where the API answers."""
        host = _reachable(self.settings.host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.settings.port}"

    @property
    def database_url(self) -> str:
        """The database, for SQLAlchemy with psycopg 3."""
        return self.settings.require_database_url()

    def start(self) -> None:
        """Start everything and return when the API answers; on any failure nothing is left running."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        logs = self._directory / "logs"
        logs.mkdir(exist_ok=True, mode=0o700)
        self._lock.acquire()
        changes: dict[str, object] = {
            "port": _free_port(self._given.host, self._given.port),
            "data_dir": self._directory,
        }
        if self._given.database_url is None:
            self._postgres = EmbeddedPostgres.in_directory(self._directory)
            self._postgres.start()
            changes["database_url"] = self._postgres.url()
        self.settings = self._given.model_copy(update=changes)
        self._migrate()
        if self.settings.secrets_key_file is None and not self.settings.secrets_key_path.exists():
            new_key(self.settings.secrets_key_path)
        self.api_key, self.key_is_new = api_key_of(self.database_url, self._directory / "api_key")
        environment = self.settings.environment() | {"PYTHONUNBUFFERED": "1"}
        self._offer_host(environment)
        services = [
            Child(
                name=name,
                command=[sys.executable, "-m", *module],
                log=logs / f"{name}.log",
                environment=environment,
            )
            for name, module in _SERVICES.items()
        ]
        self._supervisor = Supervisor(services, self._report)
        self._supervisor.start()
        self._await_api(services[0])

    def watch(self, stopping: threading.Event) -> None:
        """Restart what ends by itself, PostgreSQL included, until told to stop."""
        while self._supervisor is not None and not stopping.wait(_LOOK_S):
            if self._postgres is not None and not self._postgres.server.running:
                self._report(f"PostgreSQL ended and starts again; its log is {self._postgres.log}")
                self._restart(self._postgres, self._supervisor)
            self._supervisor.look(self._postgres_pids)

    def _restart(self, postgres: EmbeddedPostgres, supervisor: Supervisor) -> None:
        deadline = time.monotonic() + _POSTGRES_RESTART_S
        while True:
            orphans.reap(self._postgres_pids | supervisor.pids)
            try:
                postgres.start_again()
            except EmbeddedPostgresFailed:
                # sessions of the server that died hold its shared memory for a moment longer
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_S)
            else:
                return

    def stop(self) -> None:
        """Stop everything in order, running jobs included; the database last, as the others write to it."""
        if self._supervisor is not None:
            self._supervisor.stop(self._postgres_pids)
            self._supervisor = None
        if self._postgres is not None:
            self._postgres.stop()
            self._postgres = None
        self._lock.release()

    def __enter__(self) -> EmbeddedSystem:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _postgres_pids(self) -> set[int]:
        process = self._postgres.server.process if self._postgres is not None else None
        return set() if process is None else {process.pid}

    def _migrate(self) -> None:
        from scheduler.storage.migrate import upgrade  # noqa: PLC0415  (Alembic takes 0.3 s to import)

        upgrade(self.database_url)
        prepare(broker_for(self.settings))

    def _offer_host(self, environment: dict[str, str]) -> None:
        """Put the shipped prices and this host into an empty inventory; only workers can see which GPUs are here."""
        command = [sys.executable, "-m", "workers.offer_host"]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
        for line in done.stderr.splitlines():
            self._report(line.removeprefix("pythia: "))
        if done.returncode:
            raise SystemFailed("the inventory could not be filled")

    def _await_api(self, api: Child) -> None:
        deadline = time.monotonic() + _API_START_S
        while time.monotonic() < deadline:
            if not api.running:
                reason = api.last_words().removeprefix("pythia: ")
                raise SystemFailed(f"the API did not start ({reason}); its log is {api.log}")
            if _answers(self.settings.host, self.settings.port):
                return
            time.sleep(0.05)
        raise SystemFailed(f"the API did not answer within {_API_START_S:.0f} s; its log is {api.log}")


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(_reachable(host), port, timeout=2)
    try:
        connection.request("GET", "/v1/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (an address to recognise, not to bind)


def _free_port(host: str, port: int) -> int:
    """The port asked for if it is free, any free one for 0."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will: not held up by old peers
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
        raise PortInUse(
            f"cannot listen on {host} port {port} ({reason}): stop what listens there, or name another with --port"
        ) from error
