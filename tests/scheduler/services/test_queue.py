"""The queue: shares, quotas, reserved starts, and who may not slip in ahead of whom."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.forecast import Forecast, Question, Spread
from scheduler.domain.errors import Conflict, NotFound
from scheduler.domain.states import JobState, Outcome
from scheduler.services import jobs
from scheduler.services import place_waiting as place_waiting_module
from scheduler.services.cancel import cancel_job
from scheduler.services.queue_places import queue_place
from scheduler.services.submit import Submitted
from scheduler.services.tenants import add_tenant, change_tenant, list_tenants
from scheduler.services.waiting_on import WaitsOn, wait_on
from scheduler.storage.engine import reading
from scheduler.storage.queue import running
from scheduler.storage.tables import DEFAULT_TENANT
from scheduler.storage.views import DecisionView
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_offer, make_spec
from tests.support.predictor import FixedPredictor


@dataclass
class Queue:
    """One offer of eight GPUs; jobs are described by their GPUs and their hours."""

    world: Installation

    def submit(self, gpus: int, hours: float = 1.0, *, tenant: UUID = DEFAULT_TENANT, **changes: object) -> Submitted:
        constraints = {"gpu_count": gpus, **dict(changes.pop("constraints", {}))}  # type: ignore[call-overload]
        # the predictor of these tests reads the hours from the number of steps
        workload = make_spec().workload.model_dump(exclude_unset=True) | {"num_steps": round(hours * 3600)}
        spec = make_spec(constraints=constraints, workload=workload, **changes)
        self.world.later(0.001)
        return self.world.submit(spec, tenant_id=tenant)

    def state(self, submitted: Submitted) -> JobState:
        return jobs.get_job(self.world.engine, submitted.job.tenant_id, submitted.job.id).state

    def reason(self, submitted: Submitted) -> str:
        return jobs.get_job(self.world.engine, submitted.job.tenant_id, submitted.job.id).reason or ""

    def decisions(self, submitted: Submitted) -> list[DecisionView]:
        return jobs.list_decisions(self.world.engine, submitted.job.tenant_id, submitted.job.id)

    def end(self, submitted: Submitted) -> None:
        work = self.world.run(submitted.job.id)
        assert self.world.finish(work, Outcome.COMPLETED, runtime_s=1.0, used_s=1.0, simulated=True)

    def place(self, after_s: float = 120.0) -> int:
        self.world.later(after_s)
        return self.world.place_waiting()


def by_steps(question: Question, forecast: Forecast) -> Forecast:
    """As long as the job has steps, whatever it runs on."""
    from dataclasses import replace  # noqa: PLC0415

    seconds = float(question.workload.num_steps or 1)  # type: ignore[union-attr]
    return replace(forecast, runtime_s=Spread(p10=seconds, p50=seconds, p90=seconds), startup_s=0.0)


@pytest.fixture
def queue(engine: sa.Engine) -> Queue:
    world = Installation(engine, predictor=FixedPredictor(need_gib=1.0, change=by_steps))
    world.sell(make_offer("L40S", 1.0))
    return Queue(world)


def test_a_newcomer_does_not_take_what_a_waiting_job_could_use(queue: Queue) -> None:
    first = queue.submit(8)
    waiting = queue.submit(4)
    queue.end(first)  # eight GPUs are free, and nobody has looked at the queue yet
    newcomer = queue.submit(8)
    assert queue.state(newcomer) is JobState.QUEUED
    assert queue.place() == 1
    assert queue.state(waiting) is JobState.PLACED


def test_a_newcomer_of_higher_priority_goes_first(queue: Queue) -> None:
    first = queue.submit(8)
    waiting = queue.submit(4)
    queue.end(first)
    assert queue.state(queue.submit(8, priority=60)) is JobState.PLACED
    assert queue.state(waiting) is JobState.QUEUED


def test_a_newcomer_takes_what_no_waiting_job_could_use(queue: Queue) -> None:
    queue.world.sell(make_offer("A40", 9.0))
    queue.submit(8, constraints={"gpu_types": ["L40S"]})
    queue.submit(8, constraints={"gpu_types": ["L40S"]})
    assert queue.state(queue.submit(1)) is JobState.PLACED


def test_backfill_takes_the_gap_and_never_delays_the_reserved_start(queue: Queue) -> None:
    queue.submit(4, hours=2)
    large = queue.submit(8)
    queue.place(5)  # the large one now holds a start, when the four return
    long, short = queue.submit(2, hours=3), queue.submit(2, hours=1)
    assert (queue.state(long), queue.state(short)) == (JobState.QUEUED, JobState.PLACED)
    place = queue_place(queue.world.engine, large.job.id, now=queue.world.now)
    assert place is not None
    assert (place.position, place.waiting) == (1, 2)
    assert place.reserved_start_at is not None
    assert abs((place.reserved_start_at - queue.world.now).total_seconds() - 7200) < 60
    assert queue.place() == 0
    assert queue.state(long) is JobState.QUEUED


def on_spot(queue: Queue, gpus: int, hours: float) -> Submitted:
    return queue.submit(gpus, hours, constraints={"spot": "require"})


def test_a_spot_newcomer_is_held_to_its_interruptions_and_not_given_its_own_gpus_back(queue: Queue) -> None:
    queue.world.sell(make_offer("L40S", 1.0, spot_micros_per_gpu_hour=500_000))
    queue.submit(4, hours=20)
    large = queue.submit(8)
    queue.place(5)
    # without interruptions it ends before the start that is held; one job in ten is interrupted and ends after it
    assert queue.state(on_spot(queue, 2, 19.8)) is JobState.QUEUED
    assert queue.state(on_spot(queue, 2, 19.0)) is JobState.PLACED
    assert queue.state(large) is JobState.QUEUED


def test_a_job_is_not_among_those_that_hold_what_it_asks_for(queue: Queue) -> None:
    mine, other = queue.submit(2), queue.submit(1)
    with reading(queue.world.engine) as session:
        assert [row.gpu_count for row in running(session, but=mine.job.id)] == [1]
        assert {row.gpu_count for row in running(session)} == {1, 2}
    assert queue.state(other) is JobState.PLACED


def test_what_runs_on_spot_is_expected_back_with_its_interruptions(queue: Queue) -> None:
    queue.world.sell(make_offer("L40S", 1.0, spot_micros_per_gpu_hour=500_000))
    running_job = on_spot(queue, 8, 20)
    estimate = queue.decisions(running_job)[-1].candidates[0].cost_usd
    assert estimate is not None
    large = queue.submit(8)
    queue.place(5)
    place = queue_place(queue.world.engine, large.job.id, now=queue.world.now)
    assert place is not None
    assert place.starts_p50_s is not None
    assert place.starts_p90_s is not None
    assert place.reserved_start_at is not None
    # the bill of the running job is of the same hours: eight GPUs at half a dollar
    hours = [float(estimate[level]) / 4 for level in ("p50", "p90")]
    assert 20.0 < hours[0] < hours[1]
    assert [place.starts_p50_s, place.starts_p90_s] == pytest.approx([3600 * one for one in hours], abs=60)
    assert (place.reserved_start_at - queue.world.now).total_seconds() == pytest.approx(3600 * hours[1], abs=60)


def test_the_record_says_what_is_free_and_what_is_kept_for_whoever_comes_first(queue: Queue) -> None:
    queue.submit(1, hours=2)
    large = queue.submit(8)
    queue.place(5)  # seven are free, and the large one holds a start
    late = queue.submit(1, hours=9)
    for place_again in (False, True):
        if place_again:
            queue.place(5)
        whole, one = queue.decisions(large)[-1].candidates[0], queue.decisions(late)[-1].candidates[0]
        assert (whole.reason, whole.reason_number) == ("capacity", 1)
        assert whole.reason_text == "7 of 8 GPUs are free now, 8 are needed"
        assert (one.reason, one.reason_number) == ("kept", 1)
        assert one.reason_text == (
            "7 of 8 GPUs are free now, 7 of them kept for waiting jobs that come first, 1 are needed"
        )
        assert all("7 of 8 GPUs are free now" in queue.reason(job) for job in (large, late))
    (row,) = queue.world.rows("SELECT by_median, by_what FROM losing_gpu_types WHERE reason = 'kept'")
    assert (row["by_median"], row["by_what"]) == (1, "GPUs short")


def test_a_job_that_waits_behind_others_is_not_told_that_all_is_sold_out(queue: Queue) -> None:
    first = queue.submit(8)
    queue.submit(4)
    queue.end(first)  # nobody has looked at the queue yet
    candidate = queue.decisions(queue.submit(8))[-1].candidates[0]
    assert (candidate.reason, candidate.reason_number) == ("kept", 8)
    assert "8 of 8 GPUs are free now, 8 of them kept" in candidate.reason_text


def test_a_waiting_job_has_a_place_and_an_interval_of_starts(queue: Queue) -> None:
    running = queue.submit(8, hours=2)
    second, third = queue.submit(8), queue.submit(8)
    place = queue_place(queue.world.engine, third.job.id, now=queue.world.now)
    assert place is not None
    assert (place.position, place.waiting) == (2, 2)
    quantiles = [place.starts_p10_s or 0.0, place.starts_p50_s or 0.0, place.starts_p90_s or 0.0]
    assert quantiles == sorted(quantiles)
    assert place.starts_p50_s == pytest.approx(3 * 3600, abs=1)
    assert queue_place(queue.world.engine, running.job.id, now=queue.world.now) is None
    queue.end(running)
    queue.place()
    after = queue_place(queue.world.engine, third.job.id, now=queue.world.now)
    assert after is not None
    assert (after.position, queue.state(second)) == (1, JobState.PLACED)


def test_jobs_of_a_round_are_assigned_together_and_the_record_says_how(queue: Queue) -> None:
    full = queue.submit(8)
    picky = queue.submit(8, constraints={"gpu_types": ["L40S"]})
    flexible = queue.submit(8)
    queue.end(full)
    # the flexible one would take the L40S itself if it came first; an A40 a little dearer is as good for it
    queue.world.sell(make_offer("A40", 1.1))
    assert queue.place() == 2
    where = {one.job.id: queue.world.attempts(one.job.id)[-1].gpu_type for one in (picky, flexible)}
    assert where == {picky.job.id: "L40S", flexible.job.id: "A40"}
    record = queue.decisions(flexible)[-1].assignment
    assert record is not None
    assert (record["waiting"], record["started"]) == (2, 2)
    assert record["cost_micros"] <= record["greedy_micros"]
    assert queue.decisions(full)[-1].assignment is None


def test_jobs_that_ask_alike_are_looked_at_once_a_round(queue: Queue) -> None:
    queue.submit(8)
    alike = [queue.submit(4, name=f"job-{number}", priority=40 + number) for number in range(5)]
    other = queue.submit(2)
    predictor = queue.world.predictor
    predictor.asked.clear()
    assert queue.place() == 0  # every round of these tests begins with an empty memory
    assert len(predictor.asked) == 2
    assert {queue.state(one) for one in (*alike, other)} == {JobState.QUEUED}


def test_a_job_that_waits_on_is_noted_without_another_decision(queue: Queue) -> None:
    running = queue.submit(8, hours=2)
    jobs_of_it = [queue.submit(8), queue.submit(4, hours=3)]
    queue.place(5)
    first = [queue.world.job(one.job.id) for one in jobs_of_it]
    queue.place(3600)
    for submitted, before in zip(jobs_of_it, first, strict=True):
        after = queue.world.job(submitted.job.id)
        assert before.next_decision_at is not None
        assert after.next_decision_at is not None
        assert (after.state, len(queue.decisions(submitted))) == (JobState.QUEUED, 1)
        assert after.next_decision_at > queue.world.now > before.next_decision_at
        assert queue.world.event_kinds(submitted.job.id).count("job_waits") == 1
    held = queue_place(queue.world.engine, jobs_of_it[0].job.id, now=queue.world.now)
    assert held is not None
    assert held.reserved_start_at is not None
    # an hour has passed of the two that the running one takes
    assert abs((held.reserved_start_at - queue.world.now).total_seconds() - 3600) < 60
    assert queue.state(running) is JobState.PLACED


def test_one_that_was_cancelled_meanwhile_does_not_wait_on(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.submit(8)
    gone, stays = queue.submit(8), queue.submit(8)

    def after_a_cancel(engine: sa.Engine, waits: Sequence[WaitsOn], *, now: datetime, held_until: datetime) -> None:
        cancel_job(engine, DEFAULT_TENANT, gone.job.id, now=now)
        assert {one.job.id for one in waits} == {gone.job.id, stays.job.id}
        wait_on(engine, waits, now=now, held_until=held_until)

    monkeypatch.setattr(place_waiting_module, "wait_on", after_a_cancel)
    queue.place()
    assert (queue.state(gone), queue.state(stays)) == (JobState.CANCELLED, JobState.QUEUED)
    assert queue.world.scalar("SELECT count(*) FROM waits") == 1


def test_one_that_is_told_to_be_decided_again_meanwhile_is(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    running, waiting = queue.submit(8), queue.submit(8)

    def after_an_end(engine: sa.Engine, waits: Sequence[WaitsOn], *, now: datetime, held_until: datetime) -> None:
        queue.end(running)  # the round has seen nothing free, and the doorbell for the next one rings now
        wait_on(engine, waits, now=now, held_until=held_until)

    monkeypatch.setattr(place_waiting_module, "wait_on", after_an_end)
    assert queue.place() == 0
    monkeypatch.setattr(place_waiting_module, "wait_on", wait_on)
    assert queue.world.place_waiting() == 1  # at the very same moment
    assert queue.state(waiting) is JobState.PLACED


def test_a_tenant_over_its_quota_waits_for_that_reason_and_holds_nobody_up(queue: Queue) -> None:
    ours = add_tenant(queue.world.engine, "ours", max_gpus=2).id
    first, second = queue.submit(2, tenant=ours), queue.submit(1, tenant=ours)
    assert (queue.state(first), queue.state(second)) == (JobState.PLACED, JobState.QUEUED)
    assert {candidate.reason for candidate in queue.decisions(second)[-1].candidates} >= {"quota"}
    assert "quota" in queue.reason(second)
    assert queue.state(queue.submit(4)) is JobState.PLACED
    assert queue.place() == 0
    change_tenant(queue.world.engine, "ours", {"max_gpus": None})
    queue.end(first)
    assert queue.place() == 1


def test_a_job_beyond_the_whole_quota_is_refused(queue: Queue) -> None:
    ours = add_tenant(queue.world.engine, "ours", max_gpus=2).id
    queue.submit(1, tenant=ours)
    refused = queue.submit(4, tenant=ours)
    queue.place()
    assert queue.state(refused) is JobState.INFEASIBLE
    assert "quota" in queue.reason(refused)


def test_what_live_attempts_may_cost_counts_against_the_month(queue: Queue) -> None:
    ours = add_tenant(queue.world.engine, "ours", max_micros_per_month=5_000_000).id
    first, second = queue.submit(4, tenant=ours), queue.submit(4, tenant=ours)  # four dollars each
    assert (queue.state(first), queue.state(second)) == (JobState.PLACED, JobState.QUEUED)
    assert "quota" in queue.reason(second)
    queue.end(first)  # it took a second of its hour
    assert queue.place() == 1
    (use,) = [one.use for one in list_tenants(queue.world.engine, now=queue.world.now) if one.tenant.id == ours]
    assert 4_000_000 <= use.month_micros <= 5_000_000


def test_tenants_share_by_what_they_have_used(queue: Queue) -> None:
    ours, theirs = (add_tenant(queue.world.engine, name).id for name in ("ours", "theirs"))
    full = queue.submit(8, tenant=ours)
    mine = [queue.submit(8, tenant=ours) for _ in range(3)]
    late = queue.submit(8, tenant=theirs)
    queue.world.later(3600)
    queue.end(full)
    assert queue.place() == 1
    assert queue.state(late) is JobState.PLACED
    assert {queue.state(one) for one in mine} == {JobState.QUEUED}


def test_a_tenant_has_a_name_of_its_own(queue: Queue) -> None:
    add_tenant(queue.world.engine, "ours")
    with pytest.raises(Conflict):
        add_tenant(queue.world.engine, "ours")
    with pytest.raises(NotFound):
        change_tenant(queue.world.engine, "nobody", {"share": 2.0})


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([1, 2, 4]), min_size=4, max_size=8), st.integers(1, 6))
def test_a_quota_is_never_exceeded_by_submitting_at_once(queue: Queue, sizes: list[int], most: int) -> None:
    with queue.world.engine.begin() as connection:  # the database outlives an example
        connection.exec_driver_sql("TRUNCATE jobs, outbox CASCADE; UPDATE offers SET reserved_gpus = 0")
        connection.exec_driver_sql("DELETE FROM tenants WHERE name = 'ours'")
    ours = add_tenant(queue.world.engine, "ours", max_gpus=most).id
    with ThreadPoolExecutor(len(sizes)) as pool:
        list(pool.map(lambda gpus: queue.submit(gpus, tenant=ours), sizes))
        list(pool.map(lambda _: queue.place(), range(3)))
    held = queue.world.scalar("SELECT coalesce(sum(gpu_count), 0) FROM reservations WHERE released_at IS NULL")
    assert 0 < held <= most or min(sizes) > most
