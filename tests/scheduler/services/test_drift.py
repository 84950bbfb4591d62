"""Drift is read from finished attempts against the forecasts they were placed with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from scheduler.domain.drift import LEAST
from scheduler.domain.states import Outcome
from scheduler.services.drift import drift
from scheduler.storage.ids import new_id
from scheduler.storage.tables import DEFAULT_TENANT
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_spec
from tests.support.predictor import FixedPredictor


def finish(installation: Installation, *, times: float, simulated: bool = False, **figures: Any) -> None:
    job = installation.submit(make_spec()).job
    attempt = installation.attempts(job.id)[-1]
    work = installation.run(job.id)
    said = attempt.forecast
    figures = {"peak_vram_gib": said["peak_vram_gib"]["p50"], "vram_metric": "driver", **figures}
    took = said["startup_s"] + said["runtime_s"]["p50"] * times
    installation.finish(work, Outcome.COMPLETED, **{"runtime_s": took, "simulated": simulated, **figures})


def loud(installation: Installation) -> set[str]:
    """The quantities of which something raises an alarm."""
    found = drift(installation.engine, now=installation.now, tenant_id=DEFAULT_TENANT)
    return {one.quantity for one in found if one.alarm}


def test_jobs_that_take_three_times_as_long_raise_an_alarm_that_says_where(installation: Installation) -> None:
    for _ in range(LEAST):
        finish(installation, times=3.0)
    found = drift(installation.engine, now=installation.now, tenant_id=DEFAULT_TENANT)
    alarms = {(one.slice, one.quantity) for one in found if one.alarm}
    assert {slice_ for slice_, _ in alarms} >= {"all", "task", "gpu_type", "tenant"}
    assert {quantity for _, quantity in alarms} == {"time"}
    assert all(one.median_error == pytest.approx(1.0986, abs=1e-3) for one in found if one.quantity == "time")


def test_good_forecasts_simulated_runs_other_tenants_and_the_past_are_silent(installation: Installation) -> None:
    for _ in range(LEAST):
        finish(installation, times=1.0)
        finish(installation, times=9.0, simulated=True)
    engine, now = installation.engine, installation.now
    found = drift(engine, now=now, tenant_id=DEFAULT_TENANT)
    assert {one.jobs for one in found} == {LEAST}
    assert not any(one.alarm for one in found)
    assert drift(engine, now=now, tenant_id=new_id()) == []
    assert drift(engine, now=now + timedelta(days=40), tenant_id=DEFAULT_TENANT) == []


def test_short_jobs_that_took_their_forecast_and_their_start_are_silent(installation: Installation) -> None:
    installation.predictor = FixedPredictor(gpu_hours=0.01, startup_s=30.0)  # as long as its work
    for _ in range(LEAST):
        finish(installation, times=1.0)
    assert loud(installation) == set()


def test_a_run_that_was_mostly_its_start_says_nothing_of_its_time(installation: Installation) -> None:
    for _ in range(LEAST):
        finish(installation, times=1.0, runtime_s=40.0)  # 30 s of them forecast to be its start
    found = drift(installation.engine, now=installation.now, tenant_id=DEFAULT_TENANT)
    assert {one.quantity for one in found} == {"memory"}


@pytest.mark.parametrize(
    ("metric", "alarms"), [("driver", {"memory"}), (None, {"memory"}), ("preallocated", set()), ("reserved", set())]
)
def test_only_a_reading_of_what_was_forecast_is_held_against_it(
    installation: Installation, metric: str | None, alarms: set[str]
) -> None:
    for _ in range(LEAST):
        finish(installation, times=1.0, peak_vram_gib=72.0, vram_metric=metric)
    assert loud(installation) == alarms
