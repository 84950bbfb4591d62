"""Submissions through HTTP and PostgreSQL: an API process as production runs it, and a client of four connections."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import update

from scheduler.embedded.keys import api_key_of
from scheduler.embedded.postgres import EmbeddedPostgres
from scheduler.embedded.process import Child
from scheduler.services.seed import seed_inventory
from scheduler.settings import Settings
from scheduler.storage.engine import make_engine
from scheduler.storage.migrate import upgrade
from scheduler.storage.tables import Offer

CONNECTIONS = 4
_KIND = re.compile(rb'"decision":\{.*?"kind":"(\w+)"', re.DOTALL)
PLENTY = 10_000_000
"""GPUs of each offer here: nothing is ever given back in this benchmark, and a full inventory would be another one."""


class Failed(Exception):
    """Something does not run, or answered what it should not."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A database with the shipped inventory and an API before it."""

    port: int
    key: str
    database_url: str
    processes: dict[str, psutil.Process]

    def request(self, connection: http.client.HTTPConnection, path: str, body: bytes) -> bytes:
        """Post a body and read the whole answer, which must be a 201."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 201:
            raise Failed(f"{path} answered {answer.status}: {text[:500]!r}")
        return text

    def post(self, connection: http.client.HTTPConnection, path: str, body: bytes) -> str:
        """Post a job and say what was decided."""
        text = self.request(connection, path, body)
        found = _KIND.search(text)
        return found.group(1).decode() if found else "unknown"

    def remembered(self) -> int:
        """Decisions so far whose forecasts the API had, by its own count."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/metrics")
        found = re.search(
            r"^pythia_forecasts_remembered_total (\d+)", connection.getresponse().read().decode(), re.MULTILINE
        )
        connection.close()
        return int(found.group(1)) if found else 0

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds so far, of the API and of PostgreSQL with its sessions."""
        return {name: _cpu_of_tree(process) for name, process in self.processes.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run of the client saw."""

    jobs: int
    seconds: float
    latencies_ms: list[float]
    kinds: dict[str, int]
    remembered: int
    """Jobs whose forecasts the API already had."""
    cpu_s: dict[str, float]


@contextmanager
def installation(directory: Path) -> Iterator[Installation]:
    """Everything a submission passes through, in a directory that the caller owns."""
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    postgres = EmbeddedPostgres.in_directory(directory)
    postgres.start()
    try:
        url = postgres.url()
        upgrade(url)
        engine = make_engine(url, pool_size=1)
        seed_inventory(engine, host_slots=2)
        with engine.begin() as connection:
            connection.execute(update(Offer).values(capacity_gpus=PLENTY))
        engine.dispose()
        key, _ = api_key_of(url, directory / "api_key")
        if key is None:
            raise Failed(f"{directory} holds a database from before; name a new folder")
        with _api(Settings(database_url=url, data_dir=directory, port=_free_port()), directory) as api:
            yield Installation(
                port=api[0],
                key=key,
                database_url=url,
                processes={"api": api[1], "postgres": psutil.Process(_pid(postgres.server))},
            )
    finally:
        postgres.stop()


@contextmanager
def _api(settings: Settings, directory: Path) -> Iterator[tuple[int, psutil.Process]]:
    child = Child(
        name="api",
        command=[sys.executable, "-m", "scheduler.main", "api"],
        log=directory / "logs" / "api.log",
        environment=settings.environment(),
    )
    child.start()
    try:
        deadline = time.monotonic() + 60
        while not _alive(settings.port):
            if not child.running or time.monotonic() > deadline:
                raise Failed(f"the API did not start: {child.last_words()}")
            time.sleep(0.05)
        yield settings.port, psutil.Process(_pid(child))
    finally:
        child.signal(signal.SIGTERM)
        if not child.wait(10):
            child.kill()


def submit_for(seconds: float, specs: Iterator[dict[str, Any]], at: Installation) -> Load:
    """Submit one job after another on each connection until the time is up, or there are no more."""
    began, cpu_before = time.monotonic(), at.cpu_s() | {"client": time.process_time()}
    remembered = at.remembered()
    until, lock = began + seconds, threading.Lock()
    answers: list[tuple[float, str]] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=60)
        while time.monotonic() < until:
            with lock:
                spec = next(specs, None)
            if spec is None:
                break
            body = json.dumps(spec).encode()
            sent = time.perf_counter()
            answer = at.post(connection, "/v1/jobs", body)
            took = 1000 * (time.perf_counter() - sent)
            # the whole answer arrives; only its kind is read here, or the client would be measured
            with lock:
                answers.append((took, answer))
        connection.close()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [pool.submit(client) for _ in range(CONNECTIONS)]:
            done.result()
    took = time.monotonic() - began
    cpu = {name: value - cpu_before[name] for name, value in (at.cpu_s() | {"client": time.process_time()}).items()}
    return Load(
        jobs=len(answers),
        seconds=took,
        latencies_ms=[latency for latency, _ in answers],
        kinds=dict(Counter(kind for _, kind in answers)),
        remembered=at.remembered() - remembered,
        cpu_s=cpu,
    )


def batch_seconds(specs: Sequence[dict[str, Any]], at: Installation) -> tuple[int, float]:
    """How many of a batch's jobs were taken, and how long that took."""
    connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=900)
    began = time.perf_counter()
    text = at.request(connection, "/v1/jobs:batch", json.dumps(list(specs)).encode())
    return int(json.loads(text)["accepted"]), time.perf_counter() - began


def recurring(specs: Iterator[dict[str, Any]], distinct: int) -> Iterator[dict[str, Any]]:
    """The first so many of them, over and over."""
    return cycle(list(islice(specs, distinct)))


def _alive(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _pid(child: Child) -> int:
    if child.process is None:
        raise Failed(f"{child.name} does not run: {child.last_words()}")
    return child.process.pid


def _cpu_of_tree(process: psutil.Process) -> float:
    """Of a process and its children, those that have ended included."""
    times = process.cpu_times()
    own = times.user + times.system + times.children_user + times.children_system
    return float(own + sum(_cpu_alone(child) for child in process.children(recursive=True)))


def _cpu_alone(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
