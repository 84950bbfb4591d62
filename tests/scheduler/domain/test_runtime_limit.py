"""How long an attempt may run."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from scheduler.domain.runtime_limit import runtime_limit
from scheduler.domain.spec import Constraints

FORECAST: dict[str, Any] = {"runtime_s": {"p10": 50.0, "p50": 70.0, "p90": 100.0}, "startup_s": 20.0}


def limit(**constraints: Any) -> tuple[float, str] | None:
    found = runtime_limit(Constraints(**constraints), FORECAST)
    return None if found is None else (found.seconds, found.words)


def test_nothing_is_limited_that_nobody_limited() -> None:
    assert limit() is None


def test_the_lower_of_two_limits_binds() -> None:
    multiple = (240.0, "2 times the 120 s that were forecast at p90")
    assert limit(max_runtime_over_p90=2) == multiple
    assert limit(max_runtime_over_p90=2, max_runtime_s=1000) == multiple
    assert limit(max_runtime_over_p90=2, max_runtime_s=200) == (200.0, "max_runtime_s")


def test_a_multiple_of_nothing_limits_nothing() -> None:
    assert runtime_limit(Constraints(max_runtime_over_p90=2), {"runtime_s": None, "startup_s": 5.0}) is None


@pytest.mark.parametrize("multiple", [0, 0.5, -1, float("nan"), float("inf"), 1e6])
def test_a_multiple_that_would_stop_every_job_or_none_is_refused(multiple: float) -> None:
    with pytest.raises(ValidationError):
        Constraints(max_runtime_over_p90=multiple)
