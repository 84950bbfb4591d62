"""The views that ops ask: what jobs cost against other choices, what was wasted, what keeps losing, who waited."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from scheduler.domain.states import Outcome
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_offer, make_spec
from tests.support.predictor import FixedPredictor


def ask(installation: Installation, query: str) -> list[dict[str, Any]]:
    with installation.engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.text(query)).mappings()]


def one(installation: Installation, view: str) -> dict[str, Any]:
    (row,) = ask(installation, f"SELECT * FROM {view}")  # noqa: S608 - a view's name
    return row


def figures(row: dict[str, Any], *names: str) -> list[float | None]:
    return [None if row[name] is None else float(row[name]) for name in names]


ON_ONE = {"gpu_count": 1, "max_gpus": 1}
USD_PER_SECOND = 1.0 / 3600
"""Of the L40S that every job here ends on."""


@pytest.fixture
def small_card(installation: Installation) -> Installation:
    """Beside H100 and L40S a cheap card that is just too small by the forecast: 24 GiB at p95 for 22.5."""
    installation.sell(make_offer("A10", 0.2))
    return installation


def complete(installation: Installation, constraints: dict[str, Any], **figures: Any) -> None:
    job_id = installation.submit(make_spec(constraints={**ON_ONE, **constraints})).job.id
    assert installation.attempts(job_id)[0].gpu_type == "L40S"
    work = installation.run(job_id)
    installation.finish(work, Outcome.COMPLETED, **{"runtime_s": 7230.0, "used_s": 7230.0, **figures})


def test_a_job_is_compared_with_the_naive_choice_of_its_first_decision(small_card: Installation) -> None:
    complete(small_card, {}, peak_vram_gib=30.0)
    row = one(small_card, "job_costs")
    naive = small_card.scalar("SELECT naive_cost_micros FROM decisions")
    assert (row["naive_gpu_type"], row["naive_gpu_count"]) == ("A10", 1)  # the weights would fit
    assert row["usd"] == round(Decimal(7230) / 3600, 6)
    assert row["saved_usd"] == Decimal(naive) / 1_000_000 - row["usd"]


def test_hindsight_is_the_run_itself_where_the_cheaper_card_would_not_have_held_it(small_card: Installation) -> None:
    complete(small_card, {}, peak_vram_gib=30.0)  # half as much again as forecast: 30 GiB on the A10 too
    row = one(small_card, "job_costs")
    assert (row["hindsight_gpu_type"], row["hindsight_measured"], row["regret_usd"]) == ("L40S", True, 0)


def test_hindsight_is_the_cheaper_card_where_the_measured_peak_fits_it(small_card: Installation) -> None:
    complete(small_card, {}, peak_vram_gib=15.0)  # three quarters of the forecast
    row = one(small_card, "job_costs")
    assert (row["hindsight_gpu_type"], row["hindsight_gpu_count"], row["hindsight_measured"]) == ("A10", 1, False)
    # its start-up as forecast, its run drawn out as the other was: to twice the median
    assert float(row["hindsight_usd"]) == pytest.approx(0.2 * (30 + 7200) / 3600, abs=2e-6)
    assert row["regret_usd"] == row["usd"] - row["hindsight_usd"]


@pytest.mark.parametrize("said", [{}, {"peak_vram_gib": 15.0, "vram_metric": "preallocated"}])
def test_without_a_measured_need_hindsight_asks_the_forecast(small_card: Installation, said: dict[str, Any]) -> None:
    complete(small_card, {}, **said)
    assert one(small_card, "job_costs")["hindsight_gpu_type"] == "L40S"


def test_hindsight_knows_no_choice_that_would_have_been_late(small_card: Installation) -> None:
    def slow(question: Any, forecast: Any) -> Any:
        run = forecast.runtime_s
        return replace(forecast, runtime_s=replace(run, p50=run.p50 * 1.1)) if question.gpu.name == "A10" else forecast

    small_card.predictor.change = slow
    deadline = small_card.now.replace(hour=14, minute=1)  # 7260 s
    complete(small_card, {"deadline": deadline.isoformat()}, peak_vram_gib=15.0)
    assert one(small_card, "job_costs")["hindsight_gpu_type"] == "L40S"


def test_hindsight_knows_where_the_job_ran_out_of_memory(small_card: Installation) -> None:
    small_card.predictor = FixedPredictor(need_gib=18.0)
    job_id = small_card.submit(make_spec(constraints=ON_ONE)).job.id
    small_card.finish(small_card.run(job_id), Outcome.OUT_OF_MEMORY, runtime_s=60.0, used_s=90.0)
    small_card.later(10)
    small_card.place_waiting()
    small_card.finish(
        small_card.run(job_id), Outcome.COMPLETED, runtime_s=3600.0, used_s=3630.0, peak_vram_gib=18.0
    )  # 18 GiB would be held by an A10, if it had not been tried
    row = one(small_card, "job_costs")
    assert (row["attempts"], row["hindsight_gpu_type"]) == (2, "L40S")
    assert float(row["regret_usd"]) == pytest.approx(0.2 * 90 / 3600)


def test_waste_tells_what_stood_idle_from_what_was_lost(small_card: Installation) -> None:
    complete(small_card, {}, peak_vram_gib=30.0, runtime_s=7200.0)
    job_id = small_card.submit(make_spec(constraints=ON_ONE)).job.id
    small_card.finish(small_card.run(job_id), Outcome.FAILED, runtime_s=360.0, used_s=400.0, peak_vram_gib=30.0)
    kept, lost = ask(small_card, "SELECT * FROM waste ORDER BY billed_s DESC")
    assert figures(kept, "billed_s", "run_s", "idle_s", "lost_s") == [7230, 7200, 30, 0]
    assert float(kept["idle_usd"]) == pytest.approx(30 * USD_PER_SECOND, abs=2e-6)
    assert figures(kept, "wasted_gib") == [pytest.approx(44.99 - 30)]
    assert float(kept["wasted_gib_hours"]) == pytest.approx((44.99 - 30) * 7230 / 3600, abs=1e-3)
    assert figures(lost, "billed_s", "run_s", "idle_s", "lost_s", "wasted_gib") == [400, 360, 40, 360, None]
    assert float(lost["lost_usd"]) == pytest.approx(360 * USD_PER_SECOND, abs=2e-6)


def test_memory_that_an_engine_grabbed_is_not_called_needed_nor_wasted(small_card: Installation) -> None:
    complete(small_card, {}, peak_vram_gib=40.0, vram_metric="preallocated")
    assert figures(one(small_card, "waste"), "wasted_gib", "wasted_gib_hours") == [None, None]
    seen = one(small_card, "predicted_and_actual")
    assert (seen["vram_metric"], seen["unused_gib"], seen["vram_gib"]) == ("preallocated", None, 40.0)


@pytest.mark.parametrize(
    ("command_s", "simulated", "work_s"), [(7230.0, False, 7200.0), (7200.0, True, 7200.0), (59.0, False, None)]
)
def test_the_work_of_a_real_command_is_what_its_forecast_speaks_of(
    small_card: Installation, command_s: float, simulated: bool, work_s: float | None
) -> None:
    complete(small_card, {}, runtime_s=command_s, simulated=simulated)
    seen = one(small_card, "predicted_and_actual")
    assert (seen["runtime_s"], seen["work_s"]) == (command_s, work_s)


def test_losing_gpu_types_are_counted_once_a_decision_with_their_nearest_reason(small_card: Installation) -> None:
    for _ in range(3):
        small_card.submit(make_spec())  # up to eight GPUs: every type is listed several times
    rows = {row["gpu_type"]: row for row in ask(small_card, "SELECT * FROM losing_gpu_types")}
    winner = one(small_card, "(SELECT DISTINCT gpu_type FROM attempts) a")["gpu_type"]
    assert winner not in rows
    assert set(rows) == {"H100-SXM", "L40S", "A10"} - {winner}
    for row in rows.values():
        assert (row["decisions"], row["chosen"], row["lost"], row["share"]) == (3, 0, 3, 1)
        assert (row["reason"], row["by_what"]) == ("dearer", "per cent dearer")
        assert row["by_median"] > 0


def test_decisions_outside_the_domain_are_shown_with_what_came_of_them(small_card: Installation) -> None:
    complete(small_card, {})
    assert ask(small_card, "SELECT * FROM outside_domain") == []
    small_card.predictor.change = lambda question, forecast: replace(forecast, in_domain=False)
    complete(small_card, {}, peak_vram_gib=30.0)
    small_card.submit(make_spec(constraints={**ON_ONE, "max_cost_usd": 0.01}))
    ended, refused = ask(small_card, "SELECT * FROM outside_domain ORDER BY job_id")
    assert (ended["kind"], ended["outcome"], ended["task"], ended["gpu_type"]) == (
        "placement", "completed", "training", "L40S",
    )  # fmt: skip
    assert figures(ended, "runtime_over_p50", "vram_over_p50", "runtime_p90_over_p50") == [2.0, 1.5, 1.2]
    assert (refused["kind"], refused["outcome"], refused["basis"]) == ("refusal", None, "arithmetic")


def test_waits_are_counted_before_the_first_attempt_and_again_after_it(installation: Installation) -> None:
    whole = {"gpu_count": 8, "gpu_types": ["L40S"]}
    first = installation.submit(make_spec(name="first", constraints=whole)).job.id
    second = installation.submit(make_spec(name="second", constraints=whole)).job.id
    work = installation.run(first)
    waiting = ask(installation, "SELECT * FROM queue_waits WHERE state = 'queued'")
    assert [row["job"] for row in waiting] == ["second"]
    assert waiting[0]["placed_at"] is None
    assert "GPUs are free now" in waiting[0]["waits_for"]
    installation.later(600)
    installation.finish(work, Outcome.COMPLETED, runtime_s=500.0, used_s=600.0)
    installation.place_waiting()
    installation.later(20)
    work = installation.run(second)
    installation.later(100)
    installation.finish(work, Outcome.LOST, used_s=100.0)
    installation.later(7)
    installation.place_waiting()
    rows = {row["job"]: row for row in ask(installation, "SELECT * FROM queue_waits")}
    assert figures(rows["first"], "waited_s", "waited_again_s", "start_s") == [0, 0, 0]
    assert figures(rows["second"], "waited_s", "waited_again_s", "start_s") == [600, 7, 20]
