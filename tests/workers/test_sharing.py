"""Small jobs that really run together on one card of a simulated provider, from submission to the bill."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.domain.states import JobState
from scheduler.services import attempts, pools
from scheduler.services.cancel import cancel_job
from scheduler.services.import_offers import put_offers
from scheduler.services.tenants import change_tenant
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.offers import make_offer
from tests.workers.conftest import leave_nothing
from tests.workers.works import python, until
from tests.workers.workshop import Workshop
from workers.backends.supervised import Supervised
from workers.supervision.processes import marked, signal_all
from workers.supervision.status import read_status


@pytest.fixture
def workshop(engine: sa.Engine, tmp_path: Path) -> Iterator[Workshop]:
    """A tenant that shares cards, and a single A10 that takes ten minutes to come."""
    made = Workshop(engine, tmp_path)
    one_card: dict[str, Any] = {"node_gpus": 1, "sold_gpus": (1,), "capacity_gpus": 1, "provision_s": 600.0}
    put_offers(engine, [make_offer("A10", 3.6, **one_card)])
    change_tenant(engine, "default", {"share_cards": True})
    yield made
    backend = made.backends["simulated"]
    assert isinstance(backend, Supervised)
    leave_nothing(backend)


def meet(folder: Path, mine: str, theirs: str) -> list[str]:
    """A command that ends once another has begun: both run at a time, or neither ever ends."""
    code = f"""
import pathlib, time
here = pathlib.Path({str(folder)!r})
(here / {mine!r}).touch()
while not (here / {theirs!r}).exists():
    time.sleep(0.02)
"""
    return python(code)


def submit(workshop: Workshop, command: list[str], **changes: Any) -> UUID:
    """A job of 6 GiB, which that is the truth of: drawn, one in a hundred would find no room beside another."""
    asked = {"gpu_types": ["A10"], **changes.pop("constraints", {})}
    usual = {"vram_gib": 6.0, "runtime_s": 100.0, "simulation": {"peak_vram_gib": 6.0}}
    return workshop.submit(command, **{**usual, "constraints": asked, **changes})


def scalar(workshop: Workshop, query: str) -> Any:
    with workshop.engine.connect() as connection:
        return connection.execute(sa.text(query)).scalar()


def settled(workshop: Workshop) -> None:
    """Nothing is held, nothing is rented, and every micro-dollar of the machines is somebody's."""
    workshop.turn_until(lambda: workshop.rented() == [], step_s=5.0)
    assert workshop.reserved() == 0
    assert scalar(workshop, "SELECT max(off_by) FROM machine_costs") == 0
    assert scalar(workshop, "SELECT count(*) FROM cards WHERE closed_at IS NULL") == 0
    booked = scalar(workshop, "SELECT sum(micros) FROM ledger WHERE kind = 'attempt'")
    assert scalar(workshop, "SELECT sum(cost_micros) FROM attempts") == booked


def test_two_jobs_run_together_on_the_only_card_and_both_end(workshop: Workshop, tmp_path: Path) -> None:
    one = submit(workshop, meet(tmp_path, "one", "go"))
    two = submit(workshop, meet(tmp_path, "two", "go"))
    assert workshop.reserved() == 1
    # a beginning that nobody has seen before the other's end is booked as if it had been alone
    workshop.turn_until(lambda: {workshop.job(job).state for job in (one, two)} == {JobState.RUNNING})
    (tmp_path / "go").touch()
    assert [workshop.turn_until_over(job).state for job in (one, two)] == [JobState.COMPLETED] * 2
    tries = [workshop.attempts(job)[0] for job in (one, two)]
    assert tries[0].card_id == tries[1].card_id == tries[0].id
    assert all(attempt.shared for attempt in tries)
    assert scalar(workshop, "SELECT count(*) FROM machines") == 1
    assert scalar(workshop, "SELECT max(sharers) FROM ledger") == 2
    settled(workshop)


def test_a_third_finds_the_card_after_the_first_has_left_it(workshop: Workshop, tmp_path: Path) -> None:
    first = submit(workshop, python("pass"))
    second = submit(workshop, meet(tmp_path, "second", "third"))
    workshop.turn_until_over(first)
    workshop.turn_until(lambda: workshop.job(second).state is JobState.RUNNING)
    third = submit(workshop, meet(tmp_path, "third", "second"))
    assert workshop.attempts(third)[0].card_id == workshop.attempts(first)[0].id
    assert [workshop.turn_until_over(job).state for job in (second, third)] == [JobState.COMPLETED] * 2
    assert scalar(workshop, "SELECT count(*) FROM machines") == 1
    settled(workshop)


def test_one_that_is_cancelled_leaves_the_other_running(workshop: Workshop, tmp_path: Path) -> None:
    one = submit(workshop, meet(tmp_path, "one", "go"))
    two = submit(workshop, meet(tmp_path, "two", "go"))
    workshop.turn_until(lambda: {workshop.job(job).state for job in (one, two)} == {JobState.RUNNING})
    cancel_job(workshop.engine, DEFAULT_TENANT, one, now=workshop.clock())
    assert workshop.turn_until_over(one).state is JobState.CANCELLED
    assert workshop.job(two).state is JobState.RUNNING
    assert workshop.reserved() == 1
    (tmp_path / "go").touch()
    assert workshop.turn_until_over(two).state is JobState.COMPLETED
    settled(workshop)


def test_one_whose_supervisor_dies_is_tried_again_and_the_other_goes_on(workshop: Workshop, tmp_path: Path) -> None:
    one = submit(workshop, meet(tmp_path, "one", "go"))
    two = submit(workshop, meet(tmp_path, "two", "go"))
    workshop.turn_until(lambda: {workshop.job(job).state for job in (one, two)} == {JobState.RUNNING})
    attempt = workshop.attempts(one)[0]
    backend = workshop.backends["simulated"]
    assert isinstance(backend, Supervised)
    until(lambda: marked("PYTHIA_ATTEMPT_ID", str(attempt.id)))
    signal_all([supervisor_of(backend, attempt.id)], signal.SIGKILL)
    workshop.turn_until(lambda: workshop.attempts(one)[0].outcome is not None)
    assert workshop.job(two).state is JobState.RUNNING
    assert scalar(workshop, "SELECT joinable FROM cards") is False  # the next try does not come back here
    (tmp_path / "go").touch()
    assert workshop.turn_until_over(two).state is JobState.COMPLETED
    assert workshop.turn_until_over(one, step_s=5.0).state is JobState.COMPLETED
    settled(workshop)


def test_a_machine_that_others_are_on_is_not_given_back_with_one_that_never_ran(
    workshop: Workshop, tmp_path: Path
) -> None:
    one = submit(workshop, meet(tmp_path, "one", "go"))
    workshop.turn_until(lambda: workshop.job(one).state is JobState.RUNNING)
    two = submit(workshop, ["/no/such/program"])
    assert workshop.turn_until_over(two).state is JobState.FAILED
    assert workshop.job(one).state is JobState.RUNNING
    assert workshop.rented() == ["busy"]
    (tmp_path / "go").touch()
    assert workshop.turn_until_over(one).state is JobState.COMPLETED
    settled(workshop)


def test_whoever_comes_last_to_a_full_card_runs_out_of_memory_and_is_tried_alone(
    workshop: Workshop, tmp_path: Path
) -> None:
    one = submit(workshop, meet(tmp_path, "one", "go"), simulation={"peak_vram_gib": 15.0})
    two = submit(workshop, meet(tmp_path, "two", "go"), simulation={"peak_vram_gib": 15.0})
    workshop.turn_until(lambda: workshop.attempts(two)[0].outcome is not None)
    assert str(workshop.attempts(two)[0].outcome) == "out_of_memory"
    assert workshop.attempts(two)[0].shared
    (tmp_path / "go").touch()
    assert [workshop.turn_until_over(job, step_s=5.0).state for job in (one, two)] == [JobState.COMPLETED] * 2
    again = workshop.attempts(two)[1]
    assert (again.gpu_type, again.card_id, again.shared) == ("A10", None, False)
    settled(workshop)


def test_a_card_with_company_is_not_given_back(workshop: Workshop, tmp_path: Path) -> None:
    one = submit(workshop, meet(tmp_path, "one", "go"))
    two = submit(workshop, meet(tmp_path, "two", "go"))
    attempt = workshop.attempts(one)[0]
    workshop.turn_until(lambda: workshop.job(one).state is JobState.RUNNING)
    workshop.ahead += timedelta(seconds=60)
    work = attempts.take_poll(workshop.engine, attempt.id, now=workshop.clock(), lease_s=1)
    assert work is not None
    assert not pools.alone_on_card(workshop.engine, work)
    (tmp_path / "go").touch()
    workshop.ahead += timedelta(seconds=5)
    for job in (one, two):
        workshop.turn_until_over(job)


def supervisor_of(backend: Supervised, attempt_id: UUID) -> int:
    status = read_status(backend.directory / str(attempt_id))
    assert status is not None
    assert status.supervisor is not None
    return status.supervisor.pid
