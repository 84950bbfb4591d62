"""Several jobs of a tenant on one card: seats, capacity, the ledger, and what an end on a shared card teaches."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.domain.attempt import AttemptResult, AttemptWork
from scheduler.domain.machines import Meter
from scheduler.domain.states import DecisionKind, JobState, Outcome
from scheduler.services import attempts, pools
from scheduler.services.plan import plan
from scheduler.services.standing import coming_back
from scheduler.services.submit import Submitted, submit_job
from scheduler.services.submit_batch import Item, submit_jobs
from scheduler.services.tenants import add_tenant, change_tenant
from scheduler.storage.engine import transaction
from scheduler.storage.queue import RunningRow
from scheduler.storage.reservations import imbalances
from scheduler.storage.tables import DEFAULT_TENANT
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_custom_spec, make_offer

ONE = {"gpu_types": ["L40S"], "gpu_count": 1}


def small(**changes: Any) -> Any:
    """A job of 8 GiB for ten minutes."""
    asked = {**ONE, **changes.pop("constraints", {})}
    return make_custom_spec(vram_gib=8.0, runtime_s=600.0, constraints=asked, **changes)


@pytest.fixture
def world(engine: sa.Engine) -> Installation:
    """Two L40S that take ten minutes to come, at $3.60 an hour, for a tenant that shares cards."""
    made = Installation(engine)
    made.sell(make_offer("L40S", 3.6, capacity_gpus=2, node_gpus=1, sold_gpus=(1,), provision_s=600.0))
    change_tenant(engine, "default", {"share_cards": True})
    return made


def run(world: Installation, submitted: Submitted, *, began_s: float = 0.0) -> AttemptWork:
    """Bring an attempt to running at a reading of its machine's meter."""
    attempt = world.attempts(submitted.job.id)[-1]
    work = attempts.claim(world.engine, attempt.id, now=world.now, lease_s=60)
    assert work is not None
    soon = world.now + timedelta(seconds=60)
    started = attempts.mark_starting(world.engine, attempt.id, work.lease_token, {}, now=world.now, next_poll_at=soon)
    assert started is not None
    assert attempts.mark_running(
        world.engine, attempt.id, work.lease_token, {}, card_id=work.card_id, began_s=began_s, now=world.now,
        next_poll_at=world.now,
    )  # fmt: skip
    looked = attempts.take_poll(world.engine, attempt.id, now=world.now, lease_s=60)
    assert looked is not None
    return looked


def end(world: Installation, work: AttemptWork, from_s: float, to_s: float, **figures: Any) -> None:
    given: dict[str, Any] = {"outcome": Outcome.COMPLETED, "simulated": False} | figures
    result = AttemptResult(meter=Meter(from_s=from_s, to_s=to_s), **given)
    assert attempts.finish(world.engine, work.attempt_id, result, now=world.now, lease_token=work.lease_token)


def booked(world: Installation) -> list[tuple[Any, ...]]:
    query = "SELECT kind, attempt_id, from_s, to_s, micros, sharers FROM ledger ORDER BY id"
    with world.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def balanced(world: Installation) -> bool:
    """What holds at every commit: capacity is what is held, seats are who sits, and the books are the bill."""
    with transaction(world.engine) as session:
        assert imbalances(session) == []
    wrong = world.scalar(
        "SELECT count(*) FROM cards c WHERE seats <> (SELECT count(*) FROM attempts a WHERE a.card_id = c.id"
        " AND a.state <> 'ended') OR (SELECT count(DISTINCT tenant_id) FROM attempts a WHERE a.card_id = c.id) > 1"
    )
    return bool(wrong == 0 and world.scalar("SELECT coalesce(max(off_by), 0) FROM machine_costs") == 0)


def test_a_second_small_job_joins_the_first_and_takes_no_further_card(world: Installation) -> None:
    first = world.submit(small())
    second = world.submit(small())
    assert world.reserved() == 1
    (mine,), (theirs,) = world.attempts(first.job.id), world.attempts(second.job.id)
    assert mine.card_id == theirs.card_id == mine.id
    chosen = second.decision.chosen
    assert chosen is not None
    assert chosen.sharing is not None
    assert chosen.sharing["with_jobs"] == [str(first.job.id)]
    assert chosen.sharing["fit_probability"] >= 0.95
    assert "shares its card with another job" in second.decision.reason
    assert chosen.forecast is not None
    assert any("time-sliced" in said for said in chosen.forecast["assumptions"])
    assert chosen.sharing["use_s"]["p50"] > 2 * 600
    assert "card_joined" in world.event_kinds(first.job.id)
    own = [one for one in second.decision.candidates if one.sharing is None and one.gpu_type == "L40S"]
    assert [one.reason for one in own] == ["dearer"]  # a card of its own stands in the same table
    assert balanced(world)


def test_nobody_shares_whose_tenant_or_job_does_not_allow_it(world: Installation) -> None:
    world.submit(small())
    other = add_tenant(world.engine, "other").id
    assert world.submit(small(), tenant_id=other).decision.chosen.sharing is None  # type: ignore[union-attr]
    for constraints in ({"share_card": "forbid"}, {"tenancy": "dedicated"}, {"max_runtime_over_p90": 2.0}):
        decision = plan(
            world.engine, world.knowledge, small(constraints=constraints), tenant_id=DEFAULT_TENANT, now=world.now
        ).decision
        assert all(one.sharing is None for one in decision.candidates)
    change_tenant(world.engine, "default", {"share_cards": False})
    assert world.submit(small()).decision.kind is DecisionKind.WAIT


def test_another_tenant_that_shares_as_well_never_joins(world: Installation) -> None:
    world.submit(small())
    other = add_tenant(world.engine, "other", share_cards=True).id
    assert world.submit(small(), tenant_id=other).decision.chosen.sharing is None  # type: ignore[union-attr]
    assert world.submit(small(), tenant_id=other).decision.chosen.sharing is not None  # type: ignore[union-attr]
    assert world.reserved() == 2
    assert balanced(world)


def test_the_database_refuses_another_tenants_attempt_on_a_card(world: Installation) -> None:
    world.submit(small())
    add_tenant(world.engine, "other")
    with pytest.raises(sa.exc.IntegrityError, match="fk_attempts_card"), world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE attempts SET tenant_id = (SELECT id FROM tenants WHERE name = 'other')")


def test_an_engine_that_takes_the_card_up_front_is_alone(world: Installation) -> None:
    world.submit(small())
    assert world.submit(small(features={"engine": "jax"})).decision.chosen.sharing is None  # type: ignore[union-attr]


def test_whoever_does_not_share_asks_the_database_no_more_than_before(world: Installation) -> None:
    asked: list[str] = []
    sa.event.listen(world.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    other = add_tenant(world.engine, "other").id
    counts = []
    for shares in (False, True):
        change_tenant(world.engine, "other", {"share_cards": shares})
        asked.clear()
        world.submit(small(constraints={"gpu_types": []}), tenant_id=other)
        counts.append(len(asked))
    assert counts[1] == counts[0] + 1


def test_many_who_come_and_go_at_once_leave_nothing_behind(world: Installation) -> None:
    world.sell(make_offer("L40S", 3.6, capacity_gpus=8, node_gpus=1, sold_gpus=(1,), provision_s=600.0))
    failures: list[BaseException] = []
    hosts = run(world, world.submit(small()))  # on a card that whoever comes first may join

    def live() -> None:
        try:
            for _ in range(5):
                submitted = submit_job(world.engine, world.knowledge, small(), tenant_id=DEFAULT_TENANT, now=world.now)
                work = run(world, submitted, began_s=700.0)
                end(world, work, 700.0, 800.0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=live) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end(world, hosts, 0.0, 1000.0)
    assert failures == []
    assert world.reserved() == 0
    assert world.scalar("SELECT count(*) FROM cards WHERE closed_at IS NULL") == 0
    assert world.scalar("SELECT count(*) FROM cards") < 31  # some were shared
    assert balanced(world)


def test_a_card_holds_no_more_than_four_and_no_more_than_fits(world: Installation) -> None:
    placed = [world.submit(small()) for _ in range(6)]
    cards = [world.attempts(one.job.id)[0].card_id for one in placed]
    assert [cards.count(card) for card in dict.fromkeys(cards)] == [4, 2]
    assert world.reserved() == 2
    large = world.submit(make_custom_spec(vram_gib=36.0, runtime_s=600.0, constraints=ONE))
    assert large.decision.kind is DecisionKind.WAIT
    (shared,) = [one for one in large.decision.candidates if one.sharing is not None]
    assert shared.reason == "fit_probability"
    assert balanced(world)


def test_whoever_leaves_first_leaves_the_card_to_the_others(world: Installation) -> None:
    first, second = world.submit(small()), world.submit(small())
    one = run(world, first)
    two = run(world, second, began_s=700.0)
    assert one.machine is not None
    assert two.machine is not None
    assert one.machine.id == two.machine.id
    end(world, one, 0.0, 1000.0)
    assert world.reserved() == 1
    assert world.scalar("SELECT state FROM machines") == "busy"
    end(world, two, 700.0, 1200.0)
    assert world.reserved() == 0
    # $3.60 an hour is a thousand micros a second: 700 alone, 300 together, 200 alone
    costs = [world.attempts(job.job.id)[0].cost_micros for job in (first, second)]
    assert costs == [700_000 + 150_000, 150_000 + 200_000]
    assert world.scalar("SELECT billed_micros FROM machines") == sum(costs)  # type: ignore[arg-type]
    assert [world.job(job.job.id).spent_micros for job in (first, second)] == costs
    assert [row[5] for row in booked(world)] == [1, 2, 2, 1]
    assert world.scalar("SELECT attempts FROM machine_costs") == 2
    assert balanced(world)


def test_one_who_never_ran_pays_nothing_and_passes_the_machine_on(world: Installation) -> None:
    first, second = world.submit(small()), world.submit(small())
    one = run(world, first)
    end(world, one, 0.0, 900.0)  # the second has a seat and has not begun
    assert world.scalar("SELECT state FROM machines") == "busy"
    two = run(world, second, began_s=1000.0)
    end(world, two, 1000.0, 1100.0)
    assert [row[0] for row in booked(world)] == ["attempt", "idle", "attempt"]
    assert world.attempts(second.job.id)[0].cost_micros == 100_000
    assert balanced(world)


def test_a_card_that_went_wrong_is_not_joined_any_more(world: Installation) -> None:
    first, second = world.submit(small()), world.submit(small())
    one, two = run(world, first), run(world, second, began_s=600.0)
    end(world, two, 600.0, 610.0, outcome=Outcome.OUT_OF_MEMORY)
    third = world.submit(small())
    assert world.attempts(third.job.id)[0].card_id != world.attempts(first.job.id)[0].card_id
    end(world, one, 0.0, 1300.0)
    assert balanced(world)


def test_out_of_memory_beside_others_teaches_nothing_and_is_tried_alone(world: Installation) -> None:
    first, second = world.submit(small()), world.submit(small())
    one, two = run(world, first), run(world, second, began_s=600.0)
    end(world, two, 600.0, 610.0, outcome=Outcome.OUT_OF_MEMORY)
    assert world.scalar("SELECT count(*) FROM observations") == 0
    assert world.job(second.job.id).state is JobState.QUEUED
    assert world.place_waiting() == 1
    again = world.attempts(second.job.id)[-1]
    assert (again.gpu_type, again.card_id) == ("L40S", None)  # the same type, of its own, and nobody may join
    assert world.reserved() == 2
    assert one.attempt_id != again.id


def test_what_is_measured_beside_others_is_memory_and_not_time(world: Installation) -> None:
    first, second = world.submit(small()), world.submit(small())
    one, two = run(world, first), run(world, second, began_s=600.0)
    end(world, one, 0.0, 1300.0, runtime_s=1300.0, peak_vram_gib=7.5, vram_metric="driver")
    end(world, two, 600.0, 1300.0, runtime_s=700.0, peak_vram_gib=7.0, vram_metric="driver")
    with world.engine.connect() as connection:
        bodies = list(connection.execute(sa.text("SELECT body FROM observations")).scalars())
    assert sorted(body["peak_vram_gib"] for body in bodies) == [7.0, 7.5]
    assert all("runtime_s" not in body for body in bodies)


def test_a_deadline_of_who_is_there_keeps_others_away(world: Installation) -> None:
    soon = (world.now + timedelta(seconds=1600)).isoformat()  # ten minutes of provisioning, ten of work at p50
    world.submit(small(constraints={"deadline": soon}))
    second = world.submit(small())
    assert second.decision.chosen is not None
    assert second.decision.chosen.sharing is None
    (shared,) = [one for one in second.decision.candidates if one.sharing is not None]
    assert (shared.reason, shared.reason_number) == ("neighbours", 1)


def test_a_budget_of_who_is_there_keeps_others_away(world: Installation) -> None:
    world.submit(small(constraints={"max_cost_usd": "1.60"}))
    (shared,) = [one for one in world.submit(small()).decision.candidates if one.sharing is not None]
    assert shared.reason == "neighbours"


def test_the_jobs_of_a_batch_find_each_other(world: Installation) -> None:
    items = [Item(small(), None) for _ in range(4)]
    done = submit_jobs(world.engine, world.knowledge, items, tenant_id=DEFAULT_TENANT, now=world.now)
    assert all(isinstance(one, Submitted) for one in done)
    assert world.reserved() == 1
    assert world.scalar("SELECT seats FROM cards") == 4


def test_a_waiting_job_joins_when_there_is_no_card_of_its_own(world: Installation) -> None:
    blocker = make_custom_spec(vram_gib=36.0, runtime_s=600.0, constraints=ONE)
    works = [run(world, world.submit(blocker)) for _ in range(2)]
    waiting = [world.submit(small()) for _ in range(3)]
    assert {one.decision.kind for one in waiting} == {DecisionKind.WAIT}
    end(world, works[0], 0.0, 1300.0)
    world.later(3)
    # one card is free: the first takes it and the second joins it; where a start was held for the second, the third
    # waits until that is no more
    assert world.place_waiting() == 2
    world.later(60)
    assert world.place_waiting() == 1
    assert world.reserved() == 2
    assert balanced(world)


def test_two_at_once_do_not_both_take_the_last_seat(world: Installation) -> None:
    world.sell(make_offer("L40S", 3.6, capacity_gpus=8, node_gpus=1, sold_gpus=(1,), provision_s=600.0))
    for _ in range(3):
        world.submit(small())
    begin = threading.Barrier(6)

    def place() -> None:
        begin.wait()
        submit_job(world.engine, world.knowledge, small(), tenant_id=DEFAULT_TENANT, now=world.now)

    threads = [threading.Thread(target=place) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.scalar("SELECT sum(seats) FROM cards") == 9
    assert world.scalar("SELECT max(seats) FROM cards") == 4
    assert world.scalar("SELECT count(*) FROM cards") == world.reserved()
    assert balanced(world)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_every_micro_of_a_shared_machine_is_somebodys(world: Installation, data: st.DataObject) -> None:
    """Whatever the order of beginnings and ends, and whatever the increment, the books are the bill."""
    increment = data.draw(st.sampled_from([1, 7, 60, 3600]))
    usd = data.draw(st.sampled_from([0.777777, 3.6, 31.0]))
    minimum = data.draw(st.sampled_from([0, 900]))
    world.sell(
        make_offer(
            "L40S", usd, capacity_gpus=100_000, node_gpus=1, sold_gpus=(1,), provision_s=600.0,
            billing_increment_s=increment, minimum_s=minimum,
        )
    )  # fmt: skip
    waiting = [world.submit(small()) for _ in range(data.draw(st.integers(2, 5)))]
    running: list[tuple[AttemptWork, float]] = []
    meters: dict[UUID | None, float] = {}
    while waiting or running:
        passed = data.draw(st.floats(0, 500).map(lambda value: round(value, 2)))
        if waiting and (not running or data.draw(st.booleans())):
            attempt = world.attempts(waiting[0].job.id)[-1]
            meter = meters[attempt.card_id] = meters.get(attempt.card_id, -passed) + passed
            running.append((run(world, waiting.pop(0), began_s=meter), meter))
        else:
            work, began = running.pop(data.draw(st.integers(0, len(running) - 1)))
            to_s = meters[work.card_id] = meters[work.card_id] + passed
            outcome = data.draw(st.sampled_from([Outcome.COMPLETED, Outcome.FAILED, Outcome.LOST]))
            end(world, work, began, to_s, outcome=outcome)
        assert balanced(world)
    for leaving in pools.to_be_released(world.engine, "simulated", "", now=world.now):
        pools.close(world.engine, leaving.id, metered_s=leaving.metered_s + 3.3, now=world.now)
    assert balanced(world)
    with world.engine.begin() as connection:  # those that were lost are not to be placed by the next example
        connection.exec_driver_sql("UPDATE jobs SET state = 'failed', ended_at = now() WHERE state = 'queued'")


def test_a_card_comes_back_with_the_last_of_those_who_are_on_it(world: Installation) -> None:
    def row(number: int, gpus: int, card_id: UUID | None, since_s: float = 0.0) -> RunningRow:
        return RunningRow(
            offer_id=UUID(int=number), gpu_count=gpus, since=world.now - timedelta(seconds=since_s), begun=True,
            provision_s=0.0, startup_s=0.0, runtime_s=(500.0, 600.0, 700.0), card_id=card_id,
        )  # fmt: skip

    card = UUID(int=9)
    (alone,) = coming_back([row(1, 1, None)], world.now)
    (only,) = coming_back([row(1, 1, card)], world.now)
    (both,) = coming_back([row(1, 1, card), row(1, 0, card)], world.now)
    assert alone == only
    assert both.gpus == 1
    assert both.rest.p50_s == pytest.approx(1.1 * 2 * 600)
    (later,) = coming_back([row(1, 1, card, 440.0), row(1, 0, card, 440.0)], world.now)
    assert later.rest.p50_s == pytest.approx(1.1 * 2 * 400, rel=0.05)  # 200 s each of the 440
