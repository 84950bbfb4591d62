"""Finished attempts beside the forecasts they were placed with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from scheduler.domain.states import Outcome
from scheduler.storage.engine import Session
from scheduler.storage.tables import Attempt, Job


@dataclass(frozen=True, slots=True)
class Finished:
    """One attempt that measured something. Never a simulated one."""

    tenant_id: UUID
    gpu_type: str
    outcome: str
    forecast: Mapping[str, Any]
    workload: Mapping[str, Any]
    runtime_s: float | None
    """Of the command, its start-up included."""
    peak_vram_gib: float | None
    vram_metric: str | None


def finished(session: Session, *, since: datetime, limit: int, tenant_id: UUID) -> list[Finished]:
    """A tenant's last real attempts that completed or ran out of memory, oldest first."""
    newest = (
        select(
            Attempt.tenant_id, Attempt.gpu_type, Attempt.outcome, Attempt.forecast, Job.spec["workload"],
            Attempt.runtime_s, Attempt.peak_vram_gib, Attempt.vram_metric,
        )
        .join(Job, Job.id == Attempt.job_id)
        .where(
            Attempt.tenant_id == tenant_id,
            Attempt.outcome.in_((Outcome.COMPLETED, Outcome.OUT_OF_MEMORY)),
            ~Attempt.simulated,
            ~Attempt.shared,  # placed by what each takes alone
            Attempt.ended_at >= since,
        )
        .order_by(Attempt.ended_at.desc())
        .limit(limit)
    )  # fmt: skip
    return [Finished(*row) for row in reversed(session.execute(newest).all())]
