"""Compare what finished attempts needed with what was forecast, and say where forecasts no longer hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from predictor.words import VramMetric
from scheduler.domain.drift import Miss, SliceDrift, find_drift
from scheduler.domain.states import Outcome
from scheduler.domain.teaching import work_s
from scheduler.storage import outcomes
from scheduler.storage.engine import Engine, reading
from scheduler.storage.outcomes import Finished

LOOKED_BACK = timedelta(days=30)
MOST = 5000
"""Attempts that are looked at, the last ones."""


def drift(engine: Engine, *, now: datetime, tenant_id: UUID) -> list[SliceDrift]:
    """The state of every slice of a tenant's real attempts, alarms first."""
    with reading(engine) as session:
        ended = outcomes.finished(session, since=now - LOOKED_BACK, limit=MOST, tenant_id=tenant_id)
    return find_drift([miss for one in ended for miss in _misses(one)])


def _misses(one: Finished) -> list[Miss]:
    slices = {
        "task": str(one.workload.get("kind") or one.workload["type"]),
        "gpu_type": one.gpu_type,
        "tenant": str(one.tenant_id),
    }
    if one.workload.get("engine"):
        slices["engine"] = str(one.workload["engine"])
    found = [_memory(one, slices), _time(one, slices)]
    return [miss for miss in found if miss is not None]


def _memory(one: Finished, slices: Mapping[str, str]) -> Miss | None:
    said: Mapping[str, Any] = one.forecast.get("peak_vram_gib") or {}
    p50, p95 = said.get("p50"), said.get("p95")
    if not p50 or not p95:
        return None
    if one.outcome == Outcome.OUT_OF_MEMORY:
        usable = one.forecast.get("usable_vram_gib")
        within = bool(usable) and p95 >= usable
        return Miss(quantity="memory", error=None, within=within, promised=0.95, slices=slices)
    # a forecast speaks of the need as the driver sees it: what an engine grabbed, or its allocator counts, is another
    if not one.peak_vram_gib or (one.vram_metric or VramMetric.DRIVER) != VramMetric.DRIVER:
        return None
    error = abs(math.log(one.peak_vram_gib / p50))
    return Miss(quantity="memory", error=error, within=one.peak_vram_gib <= p95, promised=0.95, slices=slices)


def _time(one: Finished, slices: Mapping[str, str]) -> Miss | None:
    said: Mapping[str, Any] = one.forecast.get("runtime_s") or {}
    p10, p50, p90 = (said.get(name) for name in ("p10", "p50", "p90"))
    if one.outcome != Outcome.COMPLETED or not one.runtime_s or not (p10 and p50 and p90):
        return None
    took = work_s(one.runtime_s, one.forecast)
    if took is None:
        return None
    error = abs(math.log(took / p50))
    return Miss(quantity="time", error=error, within=p10 <= took <= p90, promised=0.8, slices=slices)
