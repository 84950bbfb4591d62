"""What was paid for and not used, from a history whose sums are worked by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from predictor.hardware import load_gpu_types
from scheduler.domain.errors import InvalidSpec, NotFound
from scheduler.domain.states import Outcome
from scheduler.economics.waste import Cause, Waste
from scheduler.services import tenants
from scheduler.services.waste import WasteReport, waste_of_all, waste_of_tenant
from scheduler.storage.ids import new_id
from scheduler.storage.tables import DEFAULT_TENANT
from tests.scheduler.services.conftest import Installation
from tests.scheduler.services.test_sharing import end, run, small
from tests.support.offers import make_offer, make_spec
from tests.support.predictor import FixedPredictor

ON_ONE = {"gpu_count": 1, "max_gpus": 1}
GPUS = load_gpu_types()


def report(installation: Installation, **changes: Any) -> WasteReport:
    asked: dict[str, Any] = {
        "since": installation.now - timedelta(days=1),
        "now": installation.now,
        "simulated": False,
    } | changes
    return waste_of_all(installation.engine, GPUS, **asked)


def found(installation: Installation, **changes: Any) -> Waste:
    installation.later(1)
    return report(installation, **changes).waste


def micros(waste: Waste) -> dict[str, int]:
    return {str(cause): sums.micros for cause, sums in waste.by_cause}


def gpu_hours(waste: Waste) -> dict[str, float]:
    return {str(cause): sums.gpu_hours for cause, sums in waste.by_cause}


def complete(installation: Installation, constraints: dict[str, Any], user: str | None = None, **figures: Any) -> UUID:
    spec = make_spec(constraints=constraints, labels={} if user is None else {"user": user})
    job_id = installation.submit(spec).job.id
    said = {"runtime_s": 7230.0, "used_s": 7230.0, **figures}  # 30 s of it start-up
    installation.finish(installation.run(job_id), Outcome.COMPLETED, **said)
    return job_id


@pytest.fixture
def small_card(installation: Installation) -> Installation:
    """Beside H100 and L40S a cheap card that is just too small by the forecast: 24 GiB at p95 for 22.5."""
    installation.sell(make_offer("A10", 0.2))
    return installation


def idle(installation: Installation, usd_micros: int, seconds: int, tenant: UUID = DEFAULT_TENANT) -> None:
    """A machine of two L40S that waited, in the books."""
    machine = new_id()
    said = {"id": machine, "tenant": tenant, "seconds": seconds, "micros": usd_micros, "now": installation.now}
    with installation.engine.begin() as connection:
        connection.execute(
            sa.text("""
            INSERT INTO machines (id, tenant_id, key, state, backend, account, offer_id, provider, region, gpu_type,
              gpu_count, spot, micros_per_gpu_hour, billing_increment_s, minimum_s, provision_s, metered_s,
              billed_micros, requested_at, simulated)
            SELECT :id, :tenant, CAST(:id AS text), 'idle', backend, 'x', id, provider, region, gpu_type, 2, false,
              1000000, 1, 0, 0, :seconds, :micros, :now, false
            FROM offers WHERE gpu_type = 'L40S'
        """),
            {"id": machine, "tenant": tenant, "seconds": seconds, "micros": usd_micros, "now": installation.now},
        )
        connection.execute(sa.text("""
            INSERT INTO ledger (tenant_id, machine_id, kind, from_s, to_s, billed_s, micros, booked_at)
            VALUES (:tenant, :id, 'idle', 0, :seconds, :seconds, :micros, :now)
        """), said)  # fmt: skip


def test_a_cheaper_card_that_would_have_held_the_peak_makes_the_other_too_large(small_card: Installation) -> None:
    complete(small_card, ON_ONE, peak_vram_gib=15.0)  # three quarters of the forecast: an A10 would hold it
    waste = found(small_card)
    # 7,230 s at $1 an hour are $2.008333: 30 s of start, and 7,200 s that an A10 does for $0.40
    assert waste.total.paid_micros == 2_008_333
    assert micros(waste) == {"too_large_card": 1_600_000, "cold_start": 8_333}
    assert waste.total.micros == 1_608_333
    # an A10 for 7,230 s is $0.401667
    assert waste.saving_micros == 2_008_333 - 401_667
    assert waste.right_sized == 1
    (job,) = waste.jobs
    assert job.better is not None
    assert (job.cause, job.better.gpu_type, job.better.gpu_count) == (Cause.TOO_LARGE, "A10", 1)
    gib_hours = {str(cause): sums.gib_hours for cause, sums in waste.by_cause}
    assert gib_hours["too_large_card"] == pytest.approx((44.99 - 15) * 2, abs=0.02)
    assert gib_hours["cold_start"] == pytest.approx(44.99 * 30 / 3600, abs=0.01)


def test_where_nothing_cheaper_would_have_held_it_memory_is_headroom_and_costs_nothing(
    small_card: Installation,
) -> None:
    complete(small_card, ON_ONE, peak_vram_gib=30.0)
    waste = found(small_card)
    assert micros(waste) == {"cold_start": 8_333, "headroom": 0}
    assert waste.saving_micros == 0
    assert waste.jobs[0].better is None


@pytest.mark.parametrize("said", [{}, {"peak_vram_gib": 15.0, "vram_metric": "preallocated"}])
def test_a_need_that_nobody_measured_calls_no_card_too_large(small_card: Installation, said: dict[str, Any]) -> None:
    complete(small_card, ON_ONE, **said)
    waste = found(small_card)
    assert micros(waste) == {"cold_start": 8_333, "headroom": 0}
    assert dict(waste.by_cause)[Cause.HEADROOM].gib_hours == 0


def test_what_a_job_leaves_on_a_card_that_it_shares_is_no_headroom(engine: sa.Engine) -> None:
    world = Installation(engine)
    world.predictor = FixedPredictor(startup_s=0.0)
    world.sell(make_offer("L40S", 3.6, provision_s=600.0))
    tenants.change_tenant(engine, "default", {"share_cards": True})
    first, second = world.submit(small()), world.submit(small())
    mine = run(world, first)
    theirs = run(world, second, began_s=100.0)
    end(world, mine, 0.0, 700.0, runtime_s=630.0, peak_vram_gib=8.0)
    end(world, theirs, 100.0, 1000.0, runtime_s=900.0, peak_vram_gib=8.0)
    waste = found(world)
    # a tenth of a cent a second: 100 s alone and half of 600; of the 700 that the first was there, 70 are its start
    assert waste.total.paid_micros == 400_000 + 600_000
    assert micros(waste) == {"cold_start": 40_000, "headroom": 0}
    assert dict(waste.by_cause)[Cause.HEADROOM].gib_hours == 0
    assert waste.right_sized == 0


def test_one_card_that_would_have_held_it_makes_two_too_many(installation: Installation) -> None:
    # on one 48 GiB at p95, which an L40S has not; two are half as fast again as one, not twice
    def slow(question: Any, forecast: Any) -> Any:
        run = forecast.runtime_s
        if question.layout.gpu_count == 1:
            return forecast
        return replace(forecast, runtime_s=replace(run, p10=run.p10 * 1.5, p50=run.p50 * 1.5, p90=run.p90 * 1.5))

    installation.predictor = FixedPredictor(need_gib=40.0, change=slow)
    job_id = complete(
        installation, {"gpu_types": ["L40S"], "max_gpus": 2}, peak_vram_gib=12.0, runtime_s=2730.0, used_s=2730.0
    )
    assert installation.attempts(job_id)[0].gpu_count == 2
    waste = found(installation)
    # two cards for 2,730 s are $1.516667, $0.016667 of it start; one card does the work in an hour for $1
    assert micros(waste) == {"too_many_cards": 500_000, "cold_start": 16_667}
    assert waste.saving_micros == 1_516_667 - 1_008_333
    assert gpu_hours(waste) == pytest.approx({"too_many_cards": 2 * 0.75 - 1, "cold_start": 2 * 30 / 3600})


def test_where_speed_was_asked_for_a_slower_card_would_not_have_done(small_card: Installation) -> None:
    def slow(question: Any, forecast: Any) -> Any:
        run = forecast.runtime_s
        return replace(forecast, runtime_s=replace(run, p50=run.p50 * 1.1)) if question.gpu.name == "A10" else forecast

    small_card.predictor.change = slow
    spec = make_spec(constraints={**ON_ONE, "gpu_types": ["L40S", "A10"]}, objective="time")
    job_id = small_card.submit(spec).job.id
    said = {"runtime_s": 7230.0, "used_s": 7230.0, "peak_vram_gib": 15.0}
    small_card.finish(small_card.run(job_id), Outcome.COMPLETED, **said)
    assert "too_large_card" not in micros(found(small_card))


def test_all_causes_of_a_day_add_up_to_what_was_of_no_use(small_card: Installation) -> None:
    complete(small_card, ON_ONE, user="ada", peak_vram_gib=15.0)
    job_id = small_card.submit(make_spec(constraints=ON_ONE, labels={"user": "bob"})).job.id
    small_card.finish(small_card.run(job_id), Outcome.OUT_OF_MEMORY, runtime_s=870.0, used_s=900.0)
    job_id = small_card.submit(make_spec(constraints=ON_ONE, labels={"user": "bob"})).job.id
    small_card.finish(small_card.run(job_id), Outcome.FAILED, runtime_s=330.0, used_s=360.0)
    idle(small_card, 1_000_000, 1800)
    waste = found(small_card)
    assert micros(waste) == {
        # 900 s and 360 s of an L40S at $1 an hour; two of them for half an hour
        "too_large_card": 1_600_000, "idle_machine": 1_000_000, "out_of_memory": 250_000, "not_kept": 100_000,
        "cold_start": 8_333,
    }  # fmt: skip
    assert sum(micros(waste).values()) == waste.total.micros
    assert waste.total.paid_micros == 2_008_333 + 250_000 + 100_000 + 1_000_000
    for groups in (waste.by_tenant, waste.by_user, waste.by_gpu_type):
        assert sum(sums.micros for _, sums in groups) == waste.total.micros
        assert sum(sums.paid_micros for _, sums in groups) == waste.total.paid_micros
        assert sum(sums.gpu_hours for _, sums in groups) == pytest.approx(waste.total.gpu_hours)
        assert sum(sums.gib_hours for _, sums in groups) == pytest.approx(waste.total.gib_hours)
    users = {name: sums.micros for name, sums in waste.by_user}
    assert users == {"ada": 1_608_333, "bob": 350_000, None: 1_000_000}
    assert dict(waste.by_cause)["idle_machine"].gpu_hours == 1.0
    assert dict(waste.by_cause)["idle_machine"].gib_hours == pytest.approx(44.99, abs=0.01)
    assert [job.user for job in waste.jobs] == ["ada", "bob", "bob"]


def test_what_was_before_is_left_out_and_simulated_runs_are_asked_for_by_themselves(small_card: Installation) -> None:
    complete(small_card, ON_ONE, peak_vram_gib=15.0)
    complete(small_card, ON_ONE, simulated=True, used_s=3600.0, runtime_s=3600.0)
    small_card.later(60)
    assert found(small_card).total.paid_micros == 2_008_333
    assert found(small_card, simulated=True).total.paid_gpu_hours == 1.0
    assert found(small_card, since=small_card.now - timedelta(seconds=30)).total.paid_gpu_hours == 0


def test_a_tenant_sees_its_own_and_learns_of_no_other(small_card: Installation) -> None:
    other = tenants.add_tenant(small_card.engine, "other").id
    complete(small_card, ON_ONE, peak_vram_gib=15.0)
    idle(small_card, 1_000_000, 1800, tenant=other)
    small_card.later(1)
    asked: dict[str, Any] = {"since": small_card.now - timedelta(days=1), "now": small_card.now, "simulated": False}
    own = waste_of_tenant(small_card.engine, GPUS, DEFAULT_TENANT, name="default", **asked)
    assert own.tenant == "default"
    assert micros(own.waste) == {"too_large_card": 1_600_000, "cold_start": 8_333}
    theirs = waste_of_tenant(small_card.engine, GPUS, other, name=None, **asked)
    assert micros(theirs.waste) == {"idle_machine": 1_000_000}
    assert theirs.waste.jobs == ()
    for name in ("default", "nobody"):
        with pytest.raises(NotFound):
            waste_of_tenant(small_card.engine, GPUS, other, name=name, **asked)
    assert {name for name, _ in report(small_card).waste.by_tenant} == {"default", "other"}


def test_a_time_to_come_is_refused(installation: Installation) -> None:
    with pytest.raises(InvalidSpec, match="not in the past"):
        report(installation, since=installation.now)


def test_a_decision_that_was_dropped_judges_no_size(small_card: Installation) -> None:
    complete(small_card, ON_ONE, peak_vram_gib=15.0)
    with small_card.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM decisions"))
    assert micros(found(small_card)) == {"cold_start": 8_333, "headroom": 0}
