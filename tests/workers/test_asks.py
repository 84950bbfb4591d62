"""A backend whose machine must come before anything can be handed over asks for it, and is started once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.machines import Machine
from scheduler.domain.states import JobState, Outcome
from scheduler.services.cancel import cancel_job
from scheduler.storage.tables import DEFAULT_TENANT
from tests.workers.workshop import Workshop
from workers.backends.base import Handle, JobRefused, MachinePhase, MachineReport, Phase, Report, StartFailed
from workers.supervision.stopped import Stopped


@dataclass
class Asking:
    """Runs nothing: it asks from the first start to the second, and has ended at the next look."""

    refusal: StartFailed | None = None
    starts: int = 0
    refused: int = 0
    stopped: bool = False
    phases: list[Phase] = field(default_factory=list)
    account: str = "asking"
    host_bound: bool = False
    hands_over: bool = True
    simulated: bool = False

    def provision(self, machine: Machine) -> MachineReport:
        return MachineReport(key=machine.key, phase=MachinePhase.READY, metered_s=None)

    def start(self, work: AttemptWork) -> Handle:
        if self.starts == 1 and self.refusal is not None:
            self.refused += 1
            raise self.refusal
        self.starts += 1
        return {"attempt": str(work.attempt_id)}

    def locate(self, attempt_id: Any) -> Handle:
        return {"attempt": str(attempt_id)}

    def poll(self, handle: Handle) -> Report:
        phase = (Phase.ABSENT, Phase.ASKS, Phase.ENDED)[self.starts]
        if self.stopped:
            return Report(phase=Phase.ENDED, stopped=Stopped.ASKED, simulated=False)
        self.phases.append(phase)
        return Report(phase=phase, exit_code=0 if phase is Phase.ENDED else None, runtime_s=1.0, simulated=False)

    def stop(self, handle: Handle, *, hard: bool) -> None:
        self.stopped = True

    def release(self, key: str) -> MachineReport:
        return MachineReport(key=key, phase=MachinePhase.GONE, metered_s=1.0)

    def list(self) -> Sequence[MachineReport]:
        return []

    def collect(self, handle: Handle, since: Any, *, ended: bool) -> Sequence[Any]:
        return []

    def clear(self, handle: Handle) -> None:
        """Nothing is there."""

    def tidy(self, has_ended: Any) -> None:
        """Nothing is there."""


@pytest.fixture
def workshop(engine: sa.Engine, tmp_path: Path) -> Workshop:
    return Workshop(engine, tmp_path)


def test_it_is_started_once_more_and_then_ends(workshop: Workshop) -> None:
    backend = workshop.backends["local"] = Asking()
    job_id = workshop.submit(["true"])
    assert workshop.turn_until_over(job_id).state is JobState.COMPLETED
    assert backend.starts == 2
    assert Phase.ASKS in backend.phases


def test_what_can_be_handed_over_nowhere_fails_the_job(workshop: Workshop) -> None:
    backend = workshop.backends["local"] = Asking(refusal=JobRefused("the secret house was deleted"))
    job_id = workshop.submit(["true"])
    assert workshop.turn_until_over(job_id).state is JobState.FAILED
    (attempt,) = workshop.attempts(job_id)
    assert (attempt.outcome, attempt.reason) == (Outcome.FAILED, "the secret house was deleted")
    assert backend.stopped


def test_what_another_worker_may_hand_over_is_left_to_it(workshop: Workshop) -> None:
    backend = workshop.backends["local"] = Asking(refusal=StartFailed("there is no key for secrets here"))
    job_id = workshop.submit(["true"], max_attempts=1)
    workshop.turn_until(lambda: backend.refused >= 2)
    assert workshop.job(job_id).state is JobState.STARTING
    assert not backend.stopped
    backend.refusal = None  # one that has the key looks
    assert workshop.turn_until_over(job_id).state is JobState.COMPLETED
    assert backend.starts == 2


def test_one_that_is_cancelled_while_it_asks_is_given_nothing(workshop: Workshop) -> None:
    backend = workshop.backends["local"] = Asking()
    job_id = workshop.submit(["true"])
    (attempt,) = workshop.attempts(job_id)
    worker = workshop.worker()
    worker.launch(attempt.id)
    before = backend.starts
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    assert workshop.turn_until_over(job_id).state is JobState.CANCELLED
    assert backend.starts == before == 1
