"""`pythia up`: one process tree, kept data, one sentence for what is in its way, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.brokers import BROKERS, broker_settings
from tests.support.postgres import SERVERS, PostgresServer
from tests.support.scratch import scratch_directory

PYTHIA = [sys.executable, "-c", "from scheduler.cli.main import run; run()"]


@dataclass(slots=True)
class Installation:
    """A data directory and a home of its own, in which `pythia` commands run."""

    directory: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHIA_")}
        return ours | {"HOME": str(self.directory / "home"), "PYTHIA_DATA_DIR": str(self.directory / "data")}

    @property
    def config(self) -> Path:
        return self.directory / "home" / ".config" / "pythia" / "config.toml"

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | variables
        return subprocess.run(
            [*PYTHIA, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def up(self, **variables: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """Start it and read the line it prints when ready."""
        process = subprocess.Popen(
            [*PYTHIA, "up", "--port", "0", "--json"],
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"it ended instead: {process.communicate()[1]}"
        return process, json.loads(line)

    def processes(self) -> list[str]:
        """What of this installation runs now, found by its data directory."""
        found = []
        for process in psutil.process_iter():
            try:
                known_by = [*process.cmdline(), process.environ().get("PYTHIA_DATA_DIR", "")]
                if process.status() != psutil.STATUS_ZOMBIE and any(str(self.directory) in word for word in known_by):
                    found.append(" ".join(process.cmdline()[:4]))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


@pytest.fixture
def installation() -> Iterator[Installation]:
    with scratch_directory("up") as directory:
        (directory / "home").mkdir()
        made = Installation(directory)
        yield made
        for process in made.running:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=60)  # a database that was killed is recovered before it is stopped


def until(holds: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def answers(url: str, path: str = "healthz") -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v1/{path}", timeout=5) as response:  # noqa: S310
            return bool(response.status == 200)
    except OSError:
        return False


def test_it_answers_keeps_its_key_and_leaves_nothing_behind_on_ctrl_c(installation: Installation) -> None:
    process, ready = installation.up()
    assert answers(ready["url"])
    assert ready["api_key"] in installation.config.read_text()
    assert installation.config.stat().st_mode & 0o777 == 0o600
    assert (installation.directory / "data" / "secrets.key").stat().st_mode & 0o777 == 0o600

    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0
    assert time.monotonic() - started < 10
    assert installation.processes() == []


def test_a_second_start_finds_the_same_key_and_data(installation: Installation) -> None:
    first, ready = installation.up()
    first.terminate()
    first.wait(timeout=10)
    _, again = installation.up()
    assert (ready["api_key_new"], again["api_key_new"]) == (True, False)
    assert "api_key" not in again, "a key is shown once"
    kept = installation.config.read_text()
    assert ready["api_key"] in kept
    assert again["url"] in kept, "the command line must find the port of today"


def test_a_second_one_on_the_same_directory_says_so(installation: Installation) -> None:
    process, ready = installation.up()
    second = installation.run("up", "--port", "0")
    assert (second.returncode, second.stdout) == (2, "")
    assert f"is in use by another Pythia (process {process.pid})" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert answers(ready["url"]), "the first must not notice"


def test_a_port_in_use_is_one_sentence(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = installation.run("up", "--port", str(port))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"cannot listen on 127.0.0.1 port {port}" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert installation.processes() == []


def test_a_part_that_dies_is_started_again(installation: Installation) -> None:
    process, ready = installation.up()
    parts = len(psutil.Process(process.pid).children())
    for word in ("scheduler.main", "postgres"):
        victim = next(
            child for child in psutil.Process(process.pid).children() if any(word in part for part in child.cmdline())
        )
        victim.kill()
        assert until(
            lambda: answers(ready["url"]) and len(psutil.Process(process.pid).children()) == parts, within_s=15
        )


def test_nothing_outlives_a_supervisor_that_was_killed_and_the_next_start_recovers(installation: Installation) -> None:
    process, ready = installation.up()
    process.kill()
    assert until(lambda: installation.processes() == [], within_s=5), installation.processes()
    _, again = installation.up()
    assert answers(again["url"])
    assert not again["api_key_new"], "the database of before must still be there"
    assert ready["api_key"] in installation.config.read_text()


def test_a_server_of_someone_else_stays_configured(installation: Installation) -> None:
    installation.config.parent.mkdir(parents=True)
    installation.config.write_text('url = "https://pythia.example.com"\napi_key = "theirs"\n')
    installation.up()
    assert installation.config.read_text() == 'url = "https://pythia.example.com"\napi_key = "theirs"\n'


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("postgres_server", SERVERS[-1:], indirect=True)
def test_services_of_the_users_are_used_in_place_of_ours(
    installation: Installation, broker: str, postgres_server: PostgresServer
) -> None:
    with postgres_server.empty_database() as url, broker_settings(broker, url) as settings:
        process, ready = installation.up(
            PYTHIA_DATABASE_URL=url,
            PYTHIA_BROKER_URL=settings.broker_url or "",
            PYTHIA_QUEUE_PREFIX=settings.queue_prefix,
        )
        assert answers(ready["url"], "readyz"), "database and broker must both answer"
        assert not (installation.directory / "data" / "postgres").exists()
        process.terminate()
        assert process.wait(timeout=10) == 0


def test_a_database_that_is_not_there_is_one_sentence(installation: Installation) -> None:
    refused = installation.run("up", "--port", "0", PYTHIA_DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/x")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no database answers at" in refused.stderr
    assert "hunter2" not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
