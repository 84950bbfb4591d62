"""Decide on a job that nothing was tried for yet, or find the decision on another that differs in nothing that matters.

A decision follows from the workload, the constraints, the objective, what is sold, the version of the predictor, and
what of all that could be used lacks GPUs now. With a deadline it follows from the moment too, and for custom work from
what has run meanwhile: those are decided each time, as is whatever cannot be placed or could share a card.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from datetime import datetime

from predictor.workload import CustomWorkload
from scheduler.domain.decision import Placement
from scheduler.domain.placement import decide
from scheduler.domain.spec import JobSpec, demands_of
from scheduler.services.describe import describe, spec_as_sent
from scheduler.services.knowledge import Knowledge
from scheduler.services.memory import Decided
from scheduler.services.outlook import Prospect


def decide_first(knowledge: Knowledge, spec: JobSpec, prospect: Prospect, *, now: datetime) -> Decided:
    """The first decision on a job; equal ones have the very same candidates."""
    key = _follows_from(spec, prospect)
    known = None if key is None else knowledge.memory.decided.get(key)
    if known is not None:
        view = replace(
            known.view, spec=spec_as_sent(spec), inventory_version=prospect.inventory_version,
            prediction_ms=prospect.prediction_ms, decided_at=now,
        )  # fmt: skip
        return replace(known, view=view)
    decision = decide(spec, prospect.proposals, prospect.forecasts, now=now)
    view = describe(decision, spec, prospect, now)
    if key is None or not isinstance(decision, Placement):
        return Decided(decision, view)
    made = Decided(decision, view, remembered=True)
    knowledge.memory.decided.put(key, made)
    return made


def _follows_from(spec: JobSpec, prospect: Prospect) -> Hashable | None:
    """Everything that the decision depends on; None where that has no end."""
    if spec.constraints.deadline is not None or isinstance(prospect.proposals.board.workload, CustomWorkload):
        return None
    if prospect.proposals.inventory.cards:  # what is left to do of those who are on them changes with every second
        return None
    return (
        # the stock itself: its place in memory is nobody else's as long as this is kept
        prospect.proposals.inventory.stock, prospect.model_version, *decisive(spec), prospect.proposals.lacking(),
        frozenset(prospect.proposals.inventory.warm.items()),
    )  # fmt: skip


def decisive(spec: JobSpec) -> tuple[Hashable, ...]:
    """All of a job spec that makes a difference to where it runs."""
    return (
        spec.objective, spec.workload.model_dump_json(), spec.constraints.model_dump_json(), spec.output_gib,
        demands_of(spec),
    )  # fmt: skip
