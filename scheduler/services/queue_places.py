"""Where a waiting job stands in the queue, and when it may be expected to start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scheduler.domain.backfill import Release, Shelf, predicted_starts
from scheduler.domain.fair_share import in_standing_order
from scheduler.services.standing import coming_back
from scheduler.storage import offers, queue, tenants
from scheduler.storage.engine import Engine, reading
from scheduler.storage.queue import RunningRow, WaitingRow

_QUANTILES = (("p10_s", "use_p50_s"), ("p50_s", "use_p50_s"), ("p90_s", "use_p90_s"))
"""Which quantile of what runs, and how long those ahead are taken to hold what they get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlace:
    """Of a waiting job: its place, and seconds until it starts."""

    position: int
    """1 is next."""
    waiting: int
    """All who wait."""
    starts_p10_s: float | None
    """None where nobody can say: what runs has no forecast, or its quota must be freed first."""
    starts_p50_s: float | None
    starts_p90_s: float | None
    reserved_start_at: datetime | None
    """Held for it: nobody of lower standing may delay it."""


def queue_place(engine: Engine, job_id: UUID, *, now: datetime) -> QueuePlace | None:
    """The place of one job; None for one that does not wait (any more, or yet)."""
    with reading(engine) as session:
        rows = queue.all_waiting(session)
        mine = next((row for row in rows if row.job_id == job_id), None)
        if mine is None:
            return None
        order = in_standing_order(rows, tenants.standings(session, list({row.tenant_id for row in rows}), now))
        position = next(place for place, row in enumerate(order, start=1) if row.job_id == job_id)
        ahead = order[:position]
        wanted = {option.offer_id for row in ahead for option in row.options}
        running = queue.running(session, list(wanted))
        free = offers.free(session)
    p10, p50, p90 = (
        _starts(ahead, free, running, now, quantile=quantile, uses=uses).get(job_id, math.inf)
        for quantile, uses in _QUANTILES
    )
    known = mine.wants and math.isfinite(p90)
    # each list is reckoned by itself; a job may be shuffled to an offer that is free sooner in the slower one
    p50, p90 = max(p10, p50), max(p10, p50, p90)
    return QueuePlace(
        position=position, waiting=len(rows), reserved_start_at=mine.reserved_start_at,
        starts_p10_s=p10 if known else None, starts_p50_s=p50 if known else None, starts_p90_s=p90 if known else None,
    )  # fmt: skip


def _starts(
    ahead: Sequence[WaitingRow], free: Mapping[UUID, int], running: Sequence[RunningRow], now: datetime, *,
    quantile: str, uses: str,
) -> dict[UUID, float]:  # fmt: skip
    shelves = {offer_id: Shelf(gpus) for offer_id, gpus in free.items()}
    for back in coming_back(running, now):
        if back.offer_id in shelves:
            shelves[back.offer_id].releases.append(Release(getattr(back.rest, quantile), back.gpus))
    return predicted_starts([(row.job_id, row.options) for row in ahead if row.wants], shelves, uses=uses)
