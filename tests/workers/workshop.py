"""A whole installation in one process, turned by hand: relay, broker and workers take a step when a test says so."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from scheduler.broker import QueueKind
from scheduler.dispatch import LAUNCH, PLACE_WAITING, POLL, RECONCILE, SWEEP, Arguments
from scheduler.domain.states import FINAL_JOB_STATES, JobState
from scheduler.services import jobs
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import know
from scheduler.services.place_waiting import place_waiting
from scheduler.services.relay import Relay
from scheduler.services.submit import submit_job
from scheduler.storage.tables import DEFAULT_TENANT
from scheduler.storage.views import AttemptView, JobView
from tests.support.offers import make_custom_spec, make_offer
from tests.support.predictor import FixedPredictor
from workers.backends.base import Backend
from workers.backends.local import local_backend
from workers.backends.simulated import simulated_backend
from workers.runner import Runner

LEASE_S = 5.0


class Died(BaseException):
    """A worker was killed here. Not an Exception: nothing may catch it and go on."""


@dataclass
class Workshop:
    """Two CPU slots of this host, and an H100 and an L40S of a simulated provider."""

    engine: sa.Engine
    folder: Path
    time_scale: float = 0.0
    ahead: timedelta = timedelta()
    messages: deque[tuple[str, Arguments]] = field(default_factory=deque)
    lost: set[str] = field(default_factory=set)
    """Tasks whose messages the broker loses."""
    backends: dict[str, Backend] = field(init=False)

    def __post_init__(self) -> None:
        local_offer: dict[str, Any] = {"provider": "local", "backend": "local", "provision_s": 0.0}
        put_offers(
            self.engine,
            [
                make_offer("CPU", 0.0, node_gpus=2, sold_gpus=(1, 2), capacity_gpus=2, **local_offer),
                make_offer("H100-SXM", 3.0),
                make_offer("L40S", 1.0),
            ],
        )
        self.predictor = FixedPredictor(startup_s=0.1)
        self.backends = {
            "local": local_backend(self.folder, log_cap_bytes=8192),
            "simulated": simulated_backend(self.folder, log_cap_bytes=8192, seed=1, time_scale=self.time_scale),
        }
        self.relay = Relay(self.engine, self, sweep_interval_s=2.0)

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def worker(self) -> Runner:
        return Runner(
            engine=self.engine, backends=self.backends, clock=self.clock, lease_s=LEASE_S, poll_interval_s=0.05
        )

    def send(
        self,
        task: str,
        queue: QueueKind,
        arguments: Arguments,
        *,
        host: str | None = None,
        expires_s: float | None = None,
    ) -> None:
        """The broker: it keeps messages until a worker comes."""
        if task not in self.lost:
            self.messages.append((task, dict(arguments)))

    def submit(self, command: list[str], **changes: Any) -> UUID:
        """Submit a job for this host's CPU, unless the changes say otherwise."""
        changes = {"constraints": {"providers": ["local"]}, **changes}
        spec = make_custom_spec(run={"command": command}, **changes)
        submitted = submit_job(self.engine, know(self.predictor), spec, tenant_id=DEFAULT_TENANT, now=self.clock())
        assert submitted.job.state is JobState.PLACED, submitted.decision.reason
        return submitted.job.id

    def turn(self, worker: Runner | None = None) -> None:
        """The relay and one worker do what is due; a worker that dies loses its message."""
        self.relay.step(self.clock())
        worker = worker or self.worker()
        for _ in range(len(self.messages)):
            task, arguments = self.messages.popleft()
            try:
                self.answer(worker, task, arguments)
            except Died:
                worker = self.worker()

    def answer(self, worker: Runner, task: str, arguments: Arguments, *, host: str | None = None) -> None:
        answers: Mapping[str, Callable[..., object]] = {
            LAUNCH: lambda attempt_id: worker.launch(UUID(attempt_id)),
            POLL: lambda attempt_id="", attempt_ids="": (
                worker.look_at_all([UUID(each) for each in attempt_ids.split(",")])
                if attempt_ids
                else worker.look(UUID(attempt_id))
            ),
            SWEEP: worker.sweep,
            RECONCILE: worker.reconcile,
            PLACE_WAITING: lambda: place_waiting(self.engine, know(self.predictor), now=self.clock()),
        }
        answers[task](**arguments)

    def turn_until_over(self, job_id: UUID, *, step_s: float = 0.0, within_s: float = 30.0) -> JobView:
        """Turn until a job has ended; each turn puts the clock ahead by `step_s` besides."""
        deadline = time.monotonic() + within_s
        while (job := self.job(job_id)).state not in FINAL_JOB_STATES:
            assert time.monotonic() < deadline, f"the job is still {job.state}: {self.events(job_id)}"
            self.turn()
            self.ahead += timedelta(seconds=step_s)
            time.sleep(0.02)
        return job

    def turn_until(self, happened: Callable[[], object], *, step_s: float = 0.0, within_s: float = 20.0) -> None:
        deadline = time.monotonic() + within_s
        while not happened():
            assert time.monotonic() < deadline, "it did not happen in time"
            self.turn()
            self.ahead += timedelta(seconds=step_s)
            time.sleep(0.02)

    def job(self, job_id: UUID) -> JobView:
        return jobs.get_job(self.engine, DEFAULT_TENANT, job_id)

    def attempts(self, job_id: UUID) -> list[AttemptView]:
        return jobs.list_attempts(self.engine, DEFAULT_TENANT, job_id)

    def events(self, job_id: UUID) -> list[str]:
        return [event.kind for event in jobs.list_events(self.engine, DEFAULT_TENANT, job_id)]

    def printed(self, job_id: UUID, stream: str = "stdout") -> str:
        chunks = jobs.read_logs(self.engine, DEFAULT_TENANT, job_id)
        return "".join(chunk.text for chunk in chunks if chunk.stream == stream)

    def rented(self) -> list[str]:
        """The states of machines that are not gone."""
        with self.engine.connect() as connection:
            query = sa.text("SELECT state FROM machines WHERE state <> 'gone' ORDER BY id")
            return list(connection.execute(query).scalars())

    def reserved(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(sa.text("SELECT sum(reserved_gpus) FROM offers")).scalar_one())
