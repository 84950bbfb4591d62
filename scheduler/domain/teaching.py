"""What a finished attempt teaches: an observation in its import form, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from scheduler.domain.attempt import AttemptResult
from scheduler.domain.states import Outcome

SOURCE = "pythia"
"""The source of observations that this installation measured itself."""


def observation_body(
    attempt_id: UUID,
    result: AttemptResult,
    *,
    workload: Mapping[str, Any],
    gpu_type: str,
    layout: Mapping[str, Any],
    has_device_memory: bool,
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
        if result.runtime_s and not shared:
            measured["runtime_s"] = result.runtime_s
        if result.peak_vram_gib:
            measured |= {"peak_vram_gib": result.peak_vram_gib, "vram_metric": result.vram_metric or "driver"}
        if result.peak_allocated_gib:
            measured["peak_allocated_gib"] = result.peak_allocated_gib
        if result.peak_rss_gib:
            measured["peak_rss_gib"] = result.peak_rss_gib
    proves_too_small = result.outcome is Outcome.OUT_OF_MEMORY and has_device_memory
    if not proves_too_small and not measured.keys() - {"peak_rss_gib", "vram_metric"}:
        return None
    return {
        "id": str(attempt_id), "source": SOURCE, "licence": "own measurement", "workload": dict(workload),
        "gpu_type": gpu_type, "layout": dict(layout), "outcome": str(result.outcome), "simulated": False, **measured,
    }  # fmt: skip
