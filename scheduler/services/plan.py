"""The whole decision for a job spec, with nothing reserved and nothing stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from scheduler.domain.decision import Placement
from scheduler.domain.fallback import Fallback, after_out_of_memory
from scheduler.domain.offers import Offer
from scheduler.domain.pareto import find_pareto
from scheduler.domain.placement import decide
from scheduler.domain.room import OPEN
from scheduler.domain.spec import JobSpec
from scheduler.domain.suggestions import Suggestion
from scheduler.services.as_submitted import Foreseen, decide_as_submitted
from scheduler.services.describe import describe, describe_candidate
from scheduler.services.knowledge import Knowledge
from scheduler.services.models import shipped_manifest, trained_on
from scheduler.services.outlook import Prospect, look_ahead, look_at_offers, look_back
from scheduler.services.suggest import suggest
from scheduler.storage.engine import Engine
from scheduler.storage.views import CandidateView, DecisionView


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a submission would decide, what would follow if that ran out of memory, and what else there is to choose."""

    decision: DecisionView
    fallback: Fallback | None
    pareto: tuple[CandidateView, ...]
    """Every placement that no other beats in both expected cost and time, from the cheapest to the soonest."""
    suggestions: tuple[Suggestion, ...]
    """Changes of the job that would make it cheaper, the best first."""
    trained_on: int | None
    """Observations behind the predictor; None where that is not recorded."""


def plan(
    engine: Engine,
    knowledge: Knowledge,
    spec: JobSpec,
    *,
    tenant_id: UUID,
    now: datetime,
    prices_of: date | int | None = None,
) -> Plan:
    """Decide as a submission would, now; or at the prices of a day or of a version of the inventory, where neither
    quotas nor who waits are asked."""
    if prices_of is None:
        prospect = look_ahead(engine, knowledge, spec, tenant_id, now=now)
        foreseen = decide_as_submitted(engine, spec, prospect, tenant_id=tenant_id, now=now)
    else:
        prospect = look_back(engine, knowledge, spec, tenant_id, prices_of, now=now)
        foreseen = _alone(spec, prospect, now)
    return _plan(knowledge, spec, foreseen, now, trained_on(engine, prospect.model_version))


def plan_on(inventory: Sequence[Offer], knowledge: Knowledge, spec: JobSpec, *, now: datetime) -> Plan:
    """Decide with the shipped predictor on an inventory that is at hand: for those who have no server yet."""
    foreseen = _alone(spec, look_at_offers(knowledge, spec, inventory), now)
    return _plan(knowledge, spec, foreseen, now, shipped_manifest().observations)


def _alone(spec: JobSpec, prospect: Prospect, now: datetime) -> Foreseen:
    """Decide for nobody: no quota, nobody ahead."""
    decision = decide(spec, prospect.proposals, prospect.forecasts, now=now)
    return Foreseen(decision=decision, prospect=prospect, room=OPEN)


def _plan(knowledge: Knowledge, spec: JobSpec, foreseen: Foreseen, now: datetime, observations: int | None) -> Plan:
    decision, prospect, room = foreseen.decision, foreseen.prospect, foreseen.room
    proposals, forecasts = prospect.proposals, prospect.forecasts
    fallback = (
        after_out_of_memory(spec, proposals, forecasts, decision, now=now, room=room)
        if isinstance(decision, Placement)
        else None
    )
    front = find_pareto(spec, proposals, forecasts, now=now, room=room)
    return Plan(
        decision=describe(decision, spec, prospect, now),
        fallback=fallback,
        pareto=tuple(describe_candidate(rank, judged, proposals, spec) for rank, judged in enumerate(front, start=1)),
        suggestions=suggest(knowledge, spec, prospect, decision, now=now, room=room),
        trained_on=observations,
    )
