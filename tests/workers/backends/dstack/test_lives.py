"""Jobs from submission to their end in a cloud, through database, relay and worker, whatever the cloud does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.states import AttemptState, JobState, Outcome
from scheduler.services.cancel import cancel_job
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import know
from scheduler.services.submit import submit_job
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.fake_dstack import FakeDstack
from tests.support.fake_dstack_server import FakeServer
from tests.support.offers import make_custom_spec, make_offer
from tests.workers.backends.dstack.conftest import settings_of
from tests.workers.workshop import Died, Workshop
from workers.backends.base import Handle
from workers.backends.dstack.backend import Dstack


@pytest.fixture
def workshop(engine: sa.Engine, fake: FakeServer, tmp_path: Path) -> Workshop:
    """An installation with H100s in a cloud, $3.60 an hour each, beside what every workshop has. The cloud has a
    clock of its own."""
    made = Workshop(engine, tmp_path)
    made.backends["dstack"] = Dstack(settings=settings_of(fake), clock=made.clock)
    offers = [
        make_offer("H100-SXM", 3.6, provider=provider, region=region, backend="dstack", instance_type="h100",
                   spot_micros_per_gpu_hour=1_800_000)
        for provider, region in (("nebius", "eu-north1"), ("verda", "FIN-01"))
    ]  # fmt: skip
    put_offers(engine, offers)
    return made


def submit(workshop: Workshop, **changes: Any) -> UUID:
    constraints = {"providers": ["nebius", "verda"], "gpu_count": 1, **changes.pop("constraints", {})}
    spec = make_custom_spec(
        run={"command": ["train"], "image": "acme/train:1"}, constraints=constraints, vram_gib=40.0, **changes
    )
    made = submit_job(workshop.engine, know(workshop.predictor), spec, tenant_id=DEFAULT_TENANT, now=workshop.clock())
    assert made.job.state is JobState.PLACED, made.decision.reason
    return made.job.id


def charged(workshop: Workshop) -> tuple[int, int]:
    """What the ledger says, and what the attempts say that they cost."""
    with workshop.engine.connect() as connection:
        ledger = connection.execute(sa.text("SELECT coalesce(sum(micros), 0) FROM ledger")).scalar_one()
        own = connection.execute(sa.text("SELECT coalesce(sum(cost_micros), 0) FROM attempts")).scalar_one()
    return int(ledger), int(own)


def leaves_nothing(workshop: Workshop) -> bool:
    workshop.turn_until(lambda: not workshop.rented(), step_s=1.0)
    ledger, own = charged(workshop)
    return workshop.reserved() == 0 and ledger == own


def until_running(workshop: Workshop, cloud: FakeDstack, job_id: UUID, many: int = 1) -> str:
    """Turn until a job has so many runs, and the last of them runs."""
    workshop.turn_until(lambda: len(cloud.names()) == many, step_s=1.0)
    run = cloud.names()[-1]
    cloud.running(run)
    workshop.turn_until(lambda: workshop.job(job_id).state is JobState.RUNNING, step_s=1.0)
    return run


def test_a_job_goes_from_submission_to_completion(workshop: Workshop, cloud: FakeDstack) -> None:
    job_id = submit(workshop)
    workshop.turn_until(cloud.names)
    (run,) = cloud.names()
    cloud.rented(run)
    cloud.ahead = timedelta(seconds=60)
    cloud.running(run)
    workshop.turn_until(lambda: workshop.job(job_id).state is JobState.RUNNING, step_s=1.0)
    cloud.prints(run, b"epoch 1\n")
    workshop.turn_until(lambda: "epoch 1" in workshop.printed(job_id), step_s=1.0)
    cloud.ahead = timedelta(seconds=160)
    cloud.prints(run, b"done\n")
    cloud.ends(run, 0)
    job = workshop.turn_until_over(job_id, step_s=1.0)
    assert job.state is JobState.COMPLETED, job.reason
    assert workshop.printed(job_id) == "epoch 1\ndone\n"
    (attempt,) = workshop.attempts(job_id)
    assert (attempt.outcome, attempt.exit_code, attempt.simulated) == (Outcome.COMPLETED, 0, False)
    assert attempt.runtime_s == pytest.approx(100, abs=10)
    assert attempt.cost_micros == pytest.approx(160 * 1000, abs=10_000), "by the second, from renting to giving back"
    assert cloud.names() == [run]
    assert leaves_nothing(workshop)


def test_a_failing_job_is_not_tried_again(workshop: Workshop, cloud: FakeDstack) -> None:
    job_id = submit(workshop)
    run = until_running(workshop, cloud, job_id)
    cloud.ends(run, 4)
    job = workshop.turn_until_over(job_id, step_s=1.0)
    assert (job.state, job.reason) == (JobState.FAILED, "the command failed: exit code 4")
    assert len(cloud.names()) == 1
    assert leaves_nothing(workshop)


def test_a_preempted_job_is_placed_again_and_each_part_is_paid(workshop: Workshop, cloud: FakeDstack) -> None:
    job_id = submit(workshop, constraints={"spot": "require"})
    first = until_running(workshop, cloud, job_id)
    assert cloud.run(first)["run_spec"]["configuration"]["spot_policy"] == "spot"
    cloud.ahead += timedelta(seconds=50)
    cloud.ends_by(first, "interrupted_by_no_capacity", "Instance is unreachable")
    second = until_running(workshop, cloud, job_id, many=2)
    cloud.ends(second, 0)
    assert workshop.turn_until_over(job_id, step_s=1.0).state is JobState.COMPLETED
    assert [one.outcome for one in workshop.attempts(job_id)] == [Outcome.PREEMPTED, Outcome.COMPLETED]
    assert (workshop.attempts(job_id)[0].cost_micros or 0) >= 50 * 500, "at the interruptible machine's price"
    assert leaves_nothing(workshop)


def test_where_no_machine_is_found_it_is_placed_again_and_pays_nothing(workshop: Workshop, cloud: FakeDstack) -> None:
    job_id = submit(workshop)
    workshop.turn_until(cloud.names)
    cloud.ends_by(cloud.names()[0], "failed_to_start_due_to_no_capacity", "No offers found")
    second = until_running(workshop, cloud, job_id, many=2)
    cloud.ends(second, 0)
    assert workshop.turn_until_over(job_id, step_s=1.0).state is JobState.COMPLETED
    lost, kept = workshop.attempts(job_id)
    assert lost.provider != kept.provider
    assert (lost.outcome, lost.cost_micros) == (Outcome.LOST, 0)
    assert kept.outcome is Outcome.COMPLETED
    assert leaves_nothing(workshop)


def test_a_job_that_ran_out_of_the_cards_memory_is_placed_on_more(workshop: Workshop, cloud: FakeDstack) -> None:
    larger = make_offer("B200", 5.0, provider="nebius", region="eu-north1", backend="dstack", instance_type="b200")
    put_offers(workshop.engine, [larger])
    job_id = submit(workshop)
    first = until_running(workshop, cloud, job_id)
    cloud.prints(first, b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB\n")
    cloud.ends(first, 1)
    second = until_running(workshop, cloud, job_id, many=2)
    cloud.ends(second, 0)
    assert workshop.turn_until_over(job_id, step_s=1.0).state is JobState.COMPLETED
    small, large = workshop.attempts(job_id)
    assert (small.outcome, large.outcome) == (Outcome.OUT_OF_MEMORY, Outcome.COMPLETED)
    assert (small.gpu_type, large.gpu_type) == ("H100-SXM", "B200")
    asked = [cloud.run(run)["run_spec"]["configuration"]["resources"]["gpu"]["name"] for run in (first, second)]
    assert asked == ["H100", "B200"]
    assert leaves_nothing(workshop)


def test_a_job_is_cancelled_while_a_machine_is_looked_for(workshop: Workshop, cloud: FakeDstack) -> None:
    job_id = submit(workshop)
    workshop.turn_until(cloud.names)
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    workshop.turn_until(lambda: cloud.run(cloud.names()[0])["status"] == "terminating", step_s=1.0)
    cloud.ahead += timedelta(seconds=5)
    assert workshop.turn_until_over(job_id, step_s=1.0).state is JobState.CANCELLED
    assert charged(workshop) == (0, 0)
    assert leaves_nothing(workshop)


def test_a_running_job_is_cancelled_and_paid_until_its_machine_is_gone(workshop: Workshop, cloud: FakeDstack) -> None:
    job_id = submit(workshop)
    run = until_running(workshop, cloud, job_id)
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    workshop.turn_until(lambda: cloud.run(run)["status"] == "terminating", step_s=1.0)
    assert cloud.run(run)["termination_reason"] == "stopped_by_user", "with time for a checkpoint"
    cloud.ahead += timedelta(seconds=30)
    cloud.ends_by(run, "terminated_by_user")
    assert workshop.turn_until_over(job_id, step_s=1.0).state is JobState.CANCELLED
    assert (workshop.attempts(job_id)[0].cost_micros or 0) >= 30 * 1000
    assert leaves_nothing(workshop)


def test_a_worker_that_dies_with_its_request_on_the_way_leaves_one_run(
    workshop: Workshop, cloud: FakeDstack, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Dstack.start
    deaths: list[AttemptWork] = []

    def dies_once(backend: Dstack, work: AttemptWork) -> Handle:
        handle = start(backend, work)
        if not deaths:
            deaths.append(work)
            raise Died
        return handle

    monkeypatch.setattr(Dstack, "start", dies_once)
    job_id = submit(workshop)
    workshop.turn_until(lambda: deaths)
    run = until_running(workshop, cloud, job_id)
    cloud.ends(run, 0)
    assert workshop.turn_until_over(job_id, step_s=1.0).state is JobState.COMPLETED
    assert cloud.names() == [run]
    assert len(workshop.attempts(job_id)) == 1
    assert leaves_nothing(workshop)


def test_a_server_that_is_away_for_a_while_loses_nothing(
    workshop: Workshop, cloud: FakeDstack, fake: FakeServer
) -> None:
    job_id = submit(workshop)
    run = until_running(workshop, cloud, job_id)
    fake.down = True
    asked = len(fake.requests)
    workshop.turn_until(lambda: len(fake.requests) >= asked + 6, step_s=1.0)
    assert workshop.attempts(job_id)[0].state is AttemptState.RUNNING
    fake.down = False
    cloud.ends(run, 0)
    assert workshop.turn_until_over(job_id, step_s=0.5).state is JobState.COMPLETED
    assert len(workshop.attempts(job_id)) == 1
    assert leaves_nothing(workshop)


def test_a_run_that_somebody_deleted_is_lost_and_tried_again(workshop: Workshop, cloud: FakeDstack) -> None:
    job_id = submit(workshop)
    run = until_running(workshop, cloud, job_id)
    cloud.ends(run, 0)
    cloud.run(run)["deleted"] = True
    second = until_running(workshop, cloud, job_id, many=2)
    cloud.ends(second, 0)
    assert workshop.turn_until_over(job_id, step_s=1.0).state is JobState.COMPLETED
    assert [one.outcome for one in workshop.attempts(job_id)] == [Outcome.LOST, Outcome.COMPLETED]
    assert leaves_nothing(workshop)


def test_runs_that_nobody_knows_are_ended_and_none_waits_for_the_end_of_another(
    workshop: Workshop, cloud: FakeDstack
) -> None:
    """As after a backup from before they were asked for."""
    job_ids = [submit(workshop), submit(workshop)]
    workshop.turn_until(lambda: len(cloud.names()) == 2, step_s=1.0)
    for run in cloud.names():
        cloud.running(run)
        cloud.ends(run, 0)
    for job_id in job_ids:
        workshop.turn_until_over(job_id, step_s=1.0)
    assert leaves_nothing(workshop)
    for revived in cloud.runs:
        revived["status"], revived["termination_reason"] = "running", None
    worker = workshop.worker()
    worker.reconcile()
    assert [run["status"] for run in cloud.runs] == ["terminating"] * 2
    cloud.ahead += timedelta(seconds=5)
    worker.reconcile()
    assert [run["status"] for run in cloud.runs] == ["terminated"] * 2


def test_a_machine_that_is_given_up_is_paid_until_its_run_is_over(
    workshop: Workshop, cloud: FakeDstack, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is heard of an attempt for ten leases; then the server is back, and takes its time."""
    monkeypatch.setattr("workers.backends.dstack.server._FIRST_REST_S", 0.0)
    job_id = submit(workshop)
    run = until_running(workshop, cloud, job_id)
    fake.down = True
    workshop.turn_until(lambda: workshop.attempts(job_id)[0].outcome is not None, step_s=20.0)
    assert workshop.attempts(job_id)[0].outcome is Outcome.LOST
    fake.down = False
    workshop.turn_until(lambda: cloud.run(run)["status"] == "terminating", step_s=1.0)
    for _ in range(3):
        workshop.worker().reconcile()
    assert workshop.rented(), "it is asked for again, and is not closed before"
    cancel_job(workshop.engine, DEFAULT_TENANT, job_id, now=workshop.clock())
    cloud.ahead += timedelta(seconds=500)
    workshop.turn_until_over(job_id, step_s=1.0)
    workshop.turn_until(lambda: not workshop.rented(), step_s=1.0)
    assert workshop.reserved() == 0
    ledger, own = charged(workshop)
    assert ledger >= own + 400 * 1000, "the time that its end took is paid, and not by the attempt"
