"""Machines and the ledger: warm ones are reused within a pool, idle ones make way, and every micro-dollar is booked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.machines import Machine, MachineState, Meter
from scheduler.domain.states import JobState, Outcome
from scheduler.services import attempts, pools
from scheduler.services.tenants import add_tenant
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_offer, make_spec

ONE = {"gpu_types": ["H100-SXM"], "gpu_count": 1}


@pytest.fixture
def world(engine: sa.Engine) -> Installation:
    """Two H100s that take a minute to come, at a dollar per GPU-hour."""
    made = Installation(engine)
    made.sell(make_offer("H100-SXM", 1.0, capacity_gpus=2, node_gpus=2, sold_gpus=(1, 2), provision_s=60.0))
    return made


def start(world: Installation, **changes: Any) -> AttemptWork:
    """A job of one H100 that runs."""
    submitted = world.submit(make_spec(constraints=ONE), **changes)
    assert submitted.job.state is JobState.PLACED
    return world.run(submitted.job.id)


def about_to_start(world: Installation, *, account: str = "", **changes: Any) -> AttemptWork:
    """A job of one H100 whose worker is about to start it."""
    job_id = world.submit(make_spec(constraints=ONE), **changes).job.id
    attempt_id = world.attempts(job_id)[-1].id
    work = attempts.claim(world.engine, attempt_id, now=world.now, lease_s=60)
    assert work is not None
    starting = attempts.mark_starting(
        world.engine, attempt_id, work.lease_token, {}, account=account, now=world.now, next_poll_at=world.now
    )
    assert starting is not None
    return starting


def machine_of(work: AttemptWork) -> Machine:
    assert work.machine is not None
    return work.machine


def busy_times(world: Installation) -> None:
    """Twenty jobs in the last minutes: the next one is expected soon."""
    for _ in range(20):
        work = start(world)
        world.finish(work, Outcome.COMPLETED, meter=Meter(from_s=0.0, to_s=machine_of(work).metered_s + 70.0))
        give_back(world)
        world.later(5)


def give_back(world: Installation, *, late_s: float = 0.0, by: timedelta = timedelta()) -> None:
    """What a reconciler does with machines that are let go by now."""
    for leaving in pools.to_be_released(world.engine, "simulated", "", now=world.now + by):
        pools.close(world.engine, leaving.id, metered_s=leaving.metered_s + late_s, now=world.now)


def test_a_machine_of_a_quiet_pool_is_let_go_with_its_attempt(world: Installation) -> None:
    work = start(world)
    world.finish(work, Outcome.COMPLETED, meter=Meter(from_s=0.0, to_s=160.0))
    assert world.scalar("SELECT state FROM machines") == "releasing"
    assert pools.close(world.engine, machine_of(work).id, metered_s=163.2, now=world.now)
    assert not pools.close(world.engine, machine_of(work).id, metered_s=999.0, now=world.now)
    # 164 seconds begun at 1,000,000 / 3600 micros: the attempt's 160, and 4 that nobody used
    assert world.scalar("SELECT bill_micros FROM machines") == 45_556
    assert world.scalar("SELECT cost_micros FROM attempts") == 44_444
    assert world.scalar("SELECT micros FROM ledger WHERE kind = 'idle'") == 45_556 - 44_444


def test_a_warm_machine_is_taken_by_the_next_attempt_of_its_pool(world: Installation) -> None:
    busy_times(world)
    assert world.scalar("SELECT state FROM machines WHERE state <> 'gone' AND state <> 'releasing'") == "idle"
    first = world.scalar("SELECT id FROM machines WHERE state = 'idle'")
    work = start(world)
    assert machine_of(work).id == first
    before_s = machine_of(work).metered_s
    world.finish(work, Outcome.COMPLETED, meter=Meter(from_s=before_s + 4.0, to_s=before_s + 54.0))
    last = "SELECT kind, to_s - from_s FROM ledger ORDER BY id DESC LIMIT 2"
    with world.engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(sa.text(last))] == [("attempt", 50.0), ("idle", 4.0)]


def test_a_tenant_is_placed_on_its_warm_machine_rather_than_on_a_cheaper_cold_one(world: Installation) -> None:
    busy_times(world)
    cheaper = make_offer(
        "H100-SXM", 0.99, provider="cheaper", capacity_gpus=2, node_gpus=2, sold_gpus=(1, 2), provision_s=60.0
    )
    world.sell(cheaper)
    other = add_tenant(world.engine, "other").id
    where = "SELECT offers.provider FROM attempts JOIN offers ON offers.id = offer_id WHERE job_id = :job"
    mine, theirs = (world.submit(make_spec(constraints=ONE), **whose).job.id for whose in ({}, {"tenant_id": other}))
    with world.engine.connect() as connection:
        providers = [connection.execute(sa.text(where), {"job": job}).scalar_one() for job in (mine, theirs)]
    assert providers[0] != "cheaper"
    assert providers[1] == "cheaper"


def test_another_tenants_warm_machine_is_not_taken_but_makes_way(world: Installation) -> None:
    busy_times(world)
    other = add_tenant(world.engine, "other").id
    works = [about_to_start(world, tenant_id=other) for _ in range(2)]
    # two GPUs, one of them idle and another's: one starts, and for the other it is let go
    assert [work.machine is not None for work in works] == [True, False]
    assert all(work.machine is None or work.machine.tenant_id == other for work in works)
    (leaving,) = pools.to_be_released(world.engine, "simulated", "", now=world.now)
    assert pools.acquire_later(world.engine, works[1], account="", now=world.now) is None
    pools.close(world.engine, leaving.id, metered_s=leaving.metered_s, now=world.now)
    got = pools.acquire_later(world.engine, works[1], account="", now=world.now)
    assert got is not None
    assert got.tenant_id == other


def test_a_machine_of_another_account_is_not_taken(world: Installation) -> None:
    busy_times(world)
    machine = machine_of(about_to_start(world, account="another host"))
    assert (machine.state, machine.account) == (MachineState.REQUESTED, "another host")


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.PREEMPTED])
def test_nothing_is_started_again_on_a_machine_that_failed(world: Installation, outcome: Outcome) -> None:
    busy_times(world)
    work = start(world)
    world.finish(work, outcome, meter=Meter(from_s=machine_of(work).metered_s, to_s=machine_of(work).metered_s + 1))
    assert world.scalar("SELECT state FROM machines ORDER BY state = 'releasing' DESC LIMIT 1") == "releasing"


def test_what_a_provider_says_in_the_end_is_what_is_booked_even_if_it_is_less(world: Installation) -> None:
    work = start(world)
    world.finish(work, Outcome.LOST, used_s=3600.0)
    pools.close(world.engine, machine_of(work).id, metered_s=1800.0, now=world.now)
    assert world.scalar("SELECT bill_micros FROM machines") == 500_000
    assert world.scalar("SELECT sum(micros) FROM ledger") == 500_000


def test_a_machine_that_its_provider_never_had_costs_nothing(world: Installation) -> None:
    work = start(world)
    world.finish(work, Outcome.LOST, used_s=0.0)
    pools.close(world.engine, machine_of(work).id, metered_s=None, now=world.now)
    assert world.scalar("SELECT bill_micros FROM machines") == 0


def test_idling_counts_against_the_months_quota(world: Installation) -> None:
    work = start(world)
    world.finish(work, Outcome.COMPLETED, meter=Meter(from_s=0.0, to_s=100.0))
    pools.close(world.engine, machine_of(work).id, metered_s=3600.0, now=world.now)
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tenants SET max_micros_per_month = 1100000")
    # $0.03 for the attempt leave room for another at $0.22; $1.00 with the idle time do not
    assert world.submit(make_spec(constraints=ONE)).job.state is JobState.INFEASIBLE


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger SET micros = 0",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
        "UPDATE machines SET billed_micros = billed_micros + 1",
        """INSERT INTO ledger (tenant_id, machine_id, kind, from_s, to_s, billed_s, micros, booked_at)
           SELECT tenant_id, id, 'idle', 0, 1, 1, 1, now() FROM machines""",
    ],
)
def test_the_books_cannot_be_cooked(world: Installation, change: str) -> None:
    world.finish(start(world), Outcome.COMPLETED, meter=Meter(from_s=0.0, to_s=160.0))
    with (
        pytest.raises(sa.exc.DBAPIError, match=r"added, never changed|in the ledger and counts"),
        world.engine.begin() as c,
    ):
        c.exec_driver_sql(change)


SECONDS = st.floats(0.0, 5000.0)
USES = st.lists(
    st.tuples(SECONDS, SECONDS, st.sampled_from([Outcome.COMPLETED, Outcome.FAILED, Outcome.PREEMPTED])),
    min_size=1, max_size=6,
)  # fmt: skip


@given(uses=USES, increment=st.sampled_from([1, 60, 3600]), minimum=st.sampled_from([0, 60, 900]), late=SECONDS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_jobs_and_idle_times_add_up_to_what_providers_charge(
    engine: sa.Engine, uses: list[tuple[float, float, Outcome]], increment: int, minimum: int, late: float
) -> None:
    world = Installation(engine)
    world.sell(
        make_offer(
            "H100-SXM", 7.77, capacity_gpus=2, node_gpus=2, sold_gpus=(1, 2), provision_s=300.0,
            billing_increment_s=increment, minimum_s=minimum,
        )
    )  # fmt: skip
    for gap_s, used_s, outcome in uses:
        job_id = world.submit(make_spec(constraints=ONE, max_attempts=1)).job.id
        work = world.run(job_id)
        from_s = machine_of(work).metered_s + (gap_s if machine_of(work).metered_s else 0.0)
        world.finish(work, outcome, meter=Meter(from_s=from_s, to_s=from_s + used_s))
        give_back(world, late_s=late)
    give_back(world, by=timedelta(days=1))
    assert world.scalar("SELECT count(*) FROM machines WHERE state <> 'gone'") == 0
    assert world.scalar("SELECT count(*) FROM machine_costs WHERE off_by <> 0") == 0
    whole = world.scalar("SELECT sum(billed_micros) FROM machines")
    spent = world.scalar("SELECT sum(spent_micros) FROM jobs")
    idle = world.scalar("SELECT coalesce(sum(micros), 0) FROM ledger WHERE kind = 'idle'")
    assert spent + idle == whole
    assert world.scalar("SELECT coalesce(sum(cost_micros), 0) FROM attempts") == spent


def test_an_attempt_that_a_worker_of_an_earlier_version_started_is_billed_as_it_was_promised(
    world: Installation,
) -> None:
    work = start(world)
    with world.engine.begin() as connection:  # such a worker knows of no machines
        connection.exec_driver_sql("UPDATE attempts SET machine_id = NULL")
        connection.exec_driver_sql("DELETE FROM machines")
    assert world.finish(work, Outcome.COMPLETED, used_s=3600.0)
    assert world.scalar("SELECT cost_micros FROM attempts") == 1_000_000
    assert world.scalar("SELECT count(*) FROM ledger") == 0


def test_a_machine_whose_attempt_an_earlier_version_ended_is_let_go(world: Installation) -> None:
    kept, left = start(world), start(world)
    with world.engine.begin() as connection:  # as it did: it knew of no machines
        connection.execute(
            sa.text("UPDATE attempts SET state = 'ended', outcome = 'completed', ended_at = :now WHERE id = :id"),
            {"now": world.now, "id": left.attempt_id},
        )
    assert pools.let_go_orphans(world.engine, now=world.now) == [machine_of(left).id]
    assert pools.let_go_orphans(world.engine, now=world.now) == []
    give_back(world)
    with world.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT id, state FROM machines"))
        states = {machine_id: state for machine_id, state in rows}  # noqa: C416
    assert states == {machine_of(kept).id: "busy", machine_of(left).id: "gone"}
    assert world.scalar("SELECT count(*) FROM machine_costs WHERE off_by <> 0") == 0


def test_what_a_machine_costs_after_it_was_closed_here_is_booked_when_it_is_given_back(world: Installation) -> None:
    work = start(world)
    world.finish(work, Outcome.COMPLETED, meter=Meter(from_s=0.0, to_s=160.0))
    machine = machine_of(work)
    pools.close(world.engine, machine.id, metered_s=None, now=world.now)  # its host was taken for gone
    told: dict[str, Any] = {"backend": "simulated", "account": "", "simulated": True, "now": world.now}
    late = [pools.given_back_late(world.engine, machine.key, metered_s=s, **told) for s in (3600.0, 3600.0, None)]
    assert [bill and bill.cost_micros for bill in late] == [1_000_000 - 44_444, 0, 0]
    assert world.scalar("SELECT bill_micros FROM machines") == 1_000_000
    assert world.scalar("SELECT micros FROM ledger WHERE kind = 'idle'") == 1_000_000 - 44_444
    assert world.scalar("SELECT count(*) FROM forgotten_machines") == 0
