"""An attempt teaches what forecasts speak of: its need, and the time of its work without its start."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.attempt import AttemptResult
from scheduler.domain.states import Outcome
from scheduler.domain.teaching import observation_body, work_s

FORECAST = {"startup_s": 16.0, "usable_vram_gib": 79.65}


def body(forecast: dict[str, Any], **measured: Any) -> dict[str, Any] | None:
    result = AttemptResult(outcome=Outcome.COMPLETED, simulated=False, **measured)
    return observation_body(
        UUID(int=1), result, forecast=forecast, workload={"type": "training"}, gpu_type="L40S", layout={"gpu_count": 1}
    )


def test_the_start_that_was_forecast_is_no_part_of_the_work() -> None:
    taught = body(FORECAST, runtime_s=50.0)
    assert taught is not None
    assert taught["runtime_s"] == 34.0


def test_the_time_of_a_job_without_a_start_of_its_own_is_its_whole_command() -> None:
    taught = body({"startup_s": 0.0}, runtime_s=0.5)
    assert taught is not None
    assert taught["runtime_s"] == 0.5


def test_a_run_that_was_mostly_its_start_teaches_its_memory_alone() -> None:
    taught = body(FORECAST, runtime_s=31.0, peak_vram_gib=20.0)
    assert taught is not None
    assert "runtime_s" not in taught
    assert taught["peak_vram_gib"] == 20.0
    assert body(FORECAST, runtime_s=31.0) is None


@given(command_s=st.floats(0, 1e9), startup_s=st.floats(0, 1e9))
def test_the_work_is_at_least_half_of_the_command_and_never_more(command_s: float, startup_s: float) -> None:
    took = work_s(command_s, {"startup_s": startup_s})
    assert took is None or command_s / 2 <= took <= command_s


@pytest.mark.parametrize(("metric", "taught"), [("driver", True), ("reserved", True), ("preallocated", False)])
def test_tensors_of_an_engine_that_grabs_the_card_are_no_need(metric: str, taught: bool) -> None:
    found = body(FORECAST, runtime_s=50.0, peak_vram_gib=70.0, peak_allocated_gib=68.0, vram_metric=metric)
    assert found is not None
    assert ("peak_allocated_gib" in found) is taught
