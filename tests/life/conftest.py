"""A running installation: relay and workers as processes of their own, on each database and each broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.domain.states import FINAL_JOB_STATES, JobState
from scheduler.services import jobs
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import know
from scheduler.services.submit import submit_job
from scheduler.settings import Settings
from scheduler.storage.engine import make_engine
from scheduler.storage.tables import DEFAULT_TENANT
from scheduler.storage.views import AttemptView, JobView
from tests.support.brokers import BROKERS, broker_settings
from tests.support.offers import make_custom_spec, make_offer
from tests.support.postgres import SERVERS, PostgresServer, running_server
from tests.support.predictor import FixedPredictor
from tests.support.slurm import Cluster
from tests.workers.conftest import leave_nothing
from workers.backends.supervised import Supervised
from workers.wiring import make_backends, utc_now


@contextmanager
def process(settings: Settings, *module: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A service of the installation, killed with all its children at the end."""
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, "-m", *module],
            env=settings.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as service,
    ):
        try:
            yield service
        finally:
            kill(service)


def kill(service: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a service and its children at once, as a machine's end would be."""
    if service.poll() is None:
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()


@dataclass
class Life:
    """What a test does to the running installation, and sees of it."""

    settings: Settings
    engine: sa.Engine
    folder: Path
    services: ExitStack
    """Ends its processes."""

    def start_relay(self) -> None:
        self._start("scheduler.main", "relay")

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self._start("workers")

    def start_host(self, name: str) -> subprocess.Popen[bytes]:
        """The worker of a host that runs jobs itself: a data directory of its own is all that makes it another."""
        at_home = self.settings.model_copy(update={"host_name": name, "data_dir": self.folder / name})
        log = self.folder / f"{name}.log"
        return self.services.enter_context(process(at_home, "workers", "--provider", "local", log=log))

    def _start(self, *module: str) -> subprocess.Popen[bytes]:
        return self.services.enter_context(process(self.settings, *module, log=self.folder / f"{module[-1]}.log"))

    def submit(self, command: list[str], *, expected: JobState = JobState.PLACED, **changes: Any) -> UUID:
        """Submit a job for this host's CPU, unless the changes say otherwise."""
        usual = {"run": {"command": command}, "constraints": {"providers": ["local"]}}
        spec = make_custom_spec(**{**usual, **changes})
        knowledge = know(FixedPredictor(startup_s=0.1))
        submitted = submit_job(self.engine, knowledge, spec, tenant_id=DEFAULT_TENANT, now=utc_now())
        assert submitted.job.state is expected, submitted.decision.reason
        return submitted.job.id

    def until(self, happened: Callable[[], object], *, within_s: float = 60.0) -> None:
        """Wait for something; starting a worker takes seconds, and the machine may be busy."""
        deadline = time.monotonic() + within_s
        while not happened():
            assert time.monotonic() < deadline, f"it did not happen in time; the logs:\n{self.logs()}"
            time.sleep(0.05)

    def over(self, job_id: UUID) -> JobView:
        """The job once it has ended."""
        self.until(lambda: self.job(job_id).state in FINAL_JOB_STATES)
        return self.job(job_id)

    def job(self, job_id: UUID) -> JobView:
        return jobs.get_job(self.engine, DEFAULT_TENANT, job_id)

    def attempts(self, job_id: UUID) -> list[AttemptView]:
        return jobs.list_attempts(self.engine, DEFAULT_TENANT, job_id)

    def events(self, job_id: UUID) -> list[str]:
        return [event.kind for event in jobs.list_events(self.engine, DEFAULT_TENANT, job_id)]

    def printed(self, job_id: UUID) -> str:
        return "".join(chunk.text for chunk in jobs.read_logs(self.engine, DEFAULT_TENANT, job_id))

    def scalar(self, query: str) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(sa.text(query)).scalar()

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.folder.glob("*.log")))


PLACES = [("embedded", "embedded")] + (
    [("external", broker) for broker in BROKERS]
    if "external" in SERVERS
    else [("embedded", broker) for broker in BROKERS if broker != "embedded"]
)
"""Servers and brokers: each of them once, not every pair."""


@pytest.fixture(scope="session")
def external_postgres_server() -> Iterator[PostgresServer]:
    """The server that the environment names, where it names one."""
    with running_server("external") as server:
        yield server


@pytest.fixture
def life(embedded_postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Life]:
    """An installation on the embedded server and broker."""
    with _life(embedded_postgres_server, "embedded", tmp_path) as made:
        yield made


@pytest.fixture(params=PLACES, ids="-".join)
def life_anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Life]:
    """An installation on each server and each broker in turn."""
    server, broker = request.param
    with _life(request.getfixturevalue(f"{server}_postgres_server"), broker, tmp_path) as made:
        yield made


@pytest.fixture
def life_of_hosts(embedded_postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Life]:
    """An installation that waits longer for signs of life than this machine can be busy."""
    with _life(embedded_postgres_server, "embedded", tmp_path, lease_s=12.0) as made:
        yield made


@pytest.fixture
def life_on_slurm(
    embedded_postgres_server: PostgresServer,
    slurm_cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Life]:
    """An installation whose workers speak to a Slurm cluster as well."""
    for name, value in slurm_cluster.environment.items():
        monkeypatch.setenv(name, value)
    with _life(embedded_postgres_server, "embedded", tmp_path, slurm_dir=tmp_path / "shared") as made:
        yield made


@contextmanager
def _life(server: PostgresServer, broker: str, folder: Path, **settings_too: Any) -> Iterator[Life]:
    """Two CPU slots of this host, an H100 and an L40S of a simulated provider, and a relay; no worker yet."""
    with server.migrated_database() as url, broker_settings(broker, url) as settings, ExitStack() as services:
        quick = settings.model_copy(
            update={
                "data_dir": folder / "data", "lease_s": 3.0, "sweep_interval_s": 1.0, "poll_interval_s": 0.1,
                "placer_interval_s": 0.3, "time_scale": 0.0, **settings_too,
            }
        )  # fmt: skip
        engine = make_engine(url)
        services.callback(engine.dispose)
        cpu = make_offer(
            "CPU", 0.0, provider="local", backend="local", node_gpus=2, sold_gpus=(1, 2), capacity_gpus=2
        )  # fmt: skip
        put_offers(engine, [cpu, make_offer("H100-SXM", 3.0), make_offer("L40S", 1.0)])
        made = Life(quick, engine, folder, services)
        made.start_relay()
        yield made
        services.close()
        for backend in make_backends(quick).values():
            if isinstance(backend, Supervised):
                leave_nothing(backend)
