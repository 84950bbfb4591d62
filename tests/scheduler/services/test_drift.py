"""Drift is read from finished attempts against the forecasts they were placed with."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scheduler.domain.drift import LEAST
from scheduler.domain.states import Outcome
from scheduler.services.drift import drift
from scheduler.storage.ids import new_id
from scheduler.storage.tables import DEFAULT_TENANT
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_spec


def finish(installation: Installation, *, times: float, simulated: bool = False) -> None:
    job = installation.submit(make_spec()).job
    attempt = installation.attempts(job.id)[-1]
    work = installation.run(job.id)
    installation.finish(
        work, Outcome.COMPLETED, runtime_s=attempt.forecast["runtime_s"]["p50"] * times, simulated=simulated,
        peak_vram_gib=attempt.forecast["peak_vram_gib"]["p50"], vram_metric="driver",
    )  # fmt: skip


def test_jobs_that_take_three_times_as_long_raise_an_alarm_that_says_where(installation: Installation) -> None:
    for _ in range(LEAST):
        finish(installation, times=3.0)
    found = drift(installation.engine, now=installation.now, tenant_id=DEFAULT_TENANT)
    loud = {(one.slice, one.quantity) for one in found if one.alarm}
    assert {slice_ for slice_, _ in loud} >= {"all", "task", "gpu_type", "tenant"}
    assert {quantity for _, quantity in loud} == {"time"}
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
