"""What a finished attempt teaches: an observation in its import form, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from predictor.telemetry import PREALLOCATED
from scheduler.domain.attempt import AttemptResult
from scheduler.domain.states import Outcome

SOURCE = "pythia"
"""The source of observations that this installation measured itself."""

_MOST_STARTING = 0.5
"""Of a command's time. Where more of it is start-up, which is known by a forecast alone, what is left is mostly its
error; up to here no work is taken for less than half of what it was."""


def work_s(command_s: float, forecast: Mapping[str, Any]) -> float | None:
    """Seconds of a real command's work, as a forecast means them: without the start-up that was forecast for it.

    None where most of it was starting up: so short a run says nothing of how fast its work goes. The start-up of a
    custom job is part of its work, and forecast as none.
    """
    starting_s = float(forecast.get("startup_s") or 0.0)
    return command_s - starting_s if starting_s <= _MOST_STARTING * command_s else None


def observation_body(
    attempt_id: UUID,
    result: AttemptResult,
    *,
    forecast: Mapping[str, Any],
    workload: Mapping[str, Any],
    gpu_type: str,
    layout: Mapping[str, Any],
    shared: bool = False,
) -> dict[str, Any] | None:
    """The observation of an attempt; None where it was simulated or measured nothing.

    A run out of memory carries no reading: it only proves that the card was too small. Where others were on the card
    it proves nothing, since it may have been theirs that was too much; and its time says how long it took beside
    them. What memory its own processes held is its own need all the same.
    """
    if result.simulated or (shared and result.outcome is Outcome.OUT_OF_MEMORY):
        return None
    completed = result.outcome is Outcome.COMPLETED
    measured: dict[str, Any] = {}
    if completed:
        took = work_s(result.runtime_s or 0.0, forecast)
        if took and not shared:
            measured["runtime_s"] = took
        if result.peak_vram_gib:
            measured |= {"peak_vram_gib": result.peak_vram_gib, "vram_metric": result.vram_metric or "driver"}
        if result.peak_allocated_gib and result.vram_metric != PREALLOCATED:  # its cache is made of tensors too
            measured["peak_allocated_gib"] = result.peak_allocated_gib
        if result.peak_rss_gib:
            measured["peak_rss_gib"] = result.peak_rss_gib
    has_device_memory = forecast.get("usable_vram_gib") is not None
    proves_too_small = result.outcome is Outcome.OUT_OF_MEMORY and has_device_memory
    if not proves_too_small and not measured.keys() - {"peak_rss_gib", "vram_metric"}:
        return None
    return {
        "id": str(attempt_id), "source": SOURCE, "licence": "own measurement", "workload": dict(workload),
        "gpu_type": gpu_type, "layout": dict(layout), "outcome": str(result.outcome), "simulated": False, **measured,
    }  # fmt: skip
