"""The whole decision for a job spec, with nothing reserved and nothing stored."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from scheduler.domain.placement import decide
from scheduler.domain.spec import JobSpec
from scheduler.services.describe import describe
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import look_ahead
from scheduler.storage.engine import Engine
from scheduler.storage.views import DecisionView


def plan(engine: Engine, knowledge: Knowledge, spec: JobSpec, *, tenant_id: UUID, now: datetime) -> DecisionView:
    """Decide as a submission would, now."""
    prospect = look_ahead(engine, knowledge, spec, tenant_id)
    decision = decide(spec, prospect.proposals, prospect.forecasts, now=now)
    return describe(decision, spec, prospect, now)
