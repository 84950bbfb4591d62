"""Plan a job among what another engine can rent, and write the placement down as that engine's task file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from scheduler.domain.decision import Judged, Placement
from scheduler.domain.errors import NothingToExport
from scheduler.domain.money import format_usd
from scheduler.domain.offers import Offer
from scheduler.domain.placement import decide
from scheduler.domain.spec import JobSpec
from scheduler.exports.files import task_file
from scheduler.exports.names import Engine, nameable, sellers
from scheduler.exports.rental import rental_of
from scheduler.services.knowledge import Knowledge
from scheduler.services.outlook import Prospect, look_ahead, look_at_offers
from scheduler.storage.engine import Engine as Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A task file, or why there is none."""

    engine: Engine
    reason: str
    """Why this placement was chosen, or why there is none."""
    file: str | None


def export_plan(
    database: Database, knowledge: Knowledge, spec: JobSpec, engine: Engine, *, tenant_id: UUID, now: datetime
) -> Exported:
    """Decide as a plan would, among the providers that the engine can rent from. Nothing is reserved."""
    within = among(spec, engine, knowledge)
    prospect = look_ahead(database, knowledge, within, tenant_id, now=now)
    # the engine rents machines of its own: none that we keep warm, and no seat on a card that we hold
    market = replace(prospect.proposals.inventory, warm={}, cards=())
    return _export(knowledge, within, prospect.on(market), engine, now)


def export_on(
    inventory: Sequence[Offer], knowledge: Knowledge, spec: JobSpec, engine: Engine, *, now: datetime
) -> Exported:
    """The same on an inventory that is at hand."""
    within = among(spec, engine, knowledge)
    return _export(knowledge, within, look_at_offers(knowledge, within, inventory), engine, now)


def among(spec: JobSpec, engine: Engine, knowledge: Knowledge) -> JobSpec:
    """The spec narrowed to what the engine can rent, of providers and of cards; NothingToExport where that is none of
    the providers that were asked for."""
    if spec.run is None:
        raise NothingToExport("the job spec has no run.command, so there is nothing to write down")
    known = sellers(engine)
    asked = {name.casefold() for name in spec.constraints.providers}
    left = [name for name in known if not asked or name in asked]
    if not left:
        raise NothingToExport(
            f"{engine} rents nothing from {', '.join(spec.constraints.providers)}; it knows {', '.join(sorted(known))}"
        )
    nameless = {gpu.name for gpu in knowledge.gpus} - nameable(engine)
    excluded = [*spec.constraints.exclude_gpu_types, *sorted(nameless)]
    narrowed = spec.constraints.model_copy(update={"providers": left, "exclude_gpu_types": excluded})
    return spec.model_copy(update={"constraints": narrowed})


def _export(knowledge: Knowledge, spec: JobSpec, prospect: Prospect, engine: Engine, now: datetime) -> Exported:
    decision = decide(spec, prospect.proposals, prospect.forecasts, now=now)
    if not isinstance(decision, Placement):
        return Exported(engine=engine, reason=decision.reason, file=None)
    chosen = decision.chosen
    rental = rental_of(spec, chosen, knowledge.gpus)
    return Exported(engine=engine, reason=decision.reason, file=task_file(engine, rental, _said(chosen, prospect)))


def _said(chosen: Judged, prospect: Prospect) -> str:
    offer = chosen.offer
    where = f"{offer.provider} {offer.region}".strip()
    terms = "interruptible" if chosen.spot else "on demand"
    cost = "" if chosen.estimate is None else f", ${format_usd(chosen.estimate.expected_micros)} expected"
    return (
        f"Planned by Pythia with predictor {prospect.model_version}: {offer.gpu_type} × {chosen.gpu_count} at {where}, "
        f"{terms}{cost}; prices of {offer.price_date}"
    )
