"""Everything a decision needs, gathered before any transaction of it opens: inventory, history, forecasts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from uuid import UUID

import structlog

from predictor.errors import NotEnoughData, PythiaError
from predictor.telemetry import Observation, read_observation
from predictor.workload import CustomWorkload, Software, Workload
from predictor.workloads.spec import CustomSpec, resolve
from scheduler.domain.candidates import Proposals, enumerate_candidates
from scheduler.domain.foresight import Foresight, foresee
from scheduler.domain.offers import Offer
from scheduler.domain.spec import JobSpec, demands_of
from scheduler.domain.stock import Inventory, inventory_of
from scheduler.services.knowledge import Knowledge
from scheduler.services.prices import prices_known
from scheduler.storage import cards, machines, observations, offers
from scheduler.storage.engine import Engine, at_once, reading

log = structlog.get_logger(__name__)

JUDGING = {"deadline", "min_deadline_probability", "max_cost_usd", "max_runtime_s", "max_runtime_over_p90",
    "min_fit_probability", "share_card",
}  # fmt: skip
"""Constraints that rule out candidates, once forecast, and no offer."""

REMEMBERED = 200
"""Past jobs of a custom kind that are looked at, the last ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """All candidates of a job with their forecasts."""

    proposals: Proposals
    forecasts: Foresight
    model_version: str
    prediction_ms: float
    history: Sequence[Observation]
    """What is remembered of a custom kind."""
    inventory_version: int | None
    """Which inventory it was; None for one that is not kept in a database, and at the prices of a day."""
    tenant_id: UUID | None = None
    """Whose job it is; None where nobody asked for anybody."""

    def on(self, inventory: Inventory) -> Prospect:
        """The same on what is held of the same stock at another time."""
        return replace(self, proposals=self.proposals.on(inventory))


def look_ahead(engine: Engine, knowledge: Knowledge, spec: JobSpec, tenant_id: UUID, *, now: datetime) -> Prospect:
    """Propose and forecast every candidate; NotEnoughData for custom work of which nothing is known."""
    inventory, version = read_inventory(engine, knowledge, tenant_id, now=now)
    return look_at_inventory(engine, knowledge, spec, tenant_id, inventory, version)


def look_back(
    engine: Engine, knowledge: Knowledge, spec: JobSpec, tenant_id: UUID, prices_of: date | int, *, now: datetime
) -> Prospect:
    """The same at the prices of a day or of a version of the inventory; NotFound where none are known. What is held is
    as of now, no machine is warm, and no card is shared."""
    known = prices_known(engine, prices_of, now=now)
    version = prices_of if isinstance(prices_of, int) else None
    return look_at_inventory(engine, knowledge, spec, tenant_id, inventory_of(known), version)


def read_inventory(
    engine: Engine, knowledge: Knowledge, tenant_id: UUID | None = None, *, now: datetime | None = None
) -> tuple[Inventory, int]:
    """What is sold and held now, what a tenant keeps warm of it and which cards it could share, and its version.

    Offers are read as a whole only where the version is another.
    """
    with at_once(engine) as session:
        version, held, shares = offers.glance(session, tenant_id)
        kept = {} if tenant_id is None else machines.warm(session, tenant_id)
        joinable = cards.joinable_of(session, tenant_id, now) if shares and tenant_id and now else ()
    known = knowledge.memory.inventory((engine, version), held)
    if known is None:
        with reading(engine) as session:
            version, _, _ = offers.glance(session)
            known = knowledge.memory.take_stock((engine, version), offers.enabled(session))
    if kept or shares:
        known = replace(known, warm=kept, shares=shares, cards=joinable)
    return known, version


def with_cards_of_now(engine: Engine, prospect: Prospect, tenant_id: UUID, *, now: datetime) -> Prospect:
    """The same prospect with the cards that the tenant's jobs could join by now."""
    with at_once(engine) as session:
        return prospect.on(replace(prospect.proposals.inventory, cards=cards.joinable_of(session, tenant_id, now)))


def look_at_inventory(
    engine: Engine, knowledge: Knowledge, spec: JobSpec, tenant_id: UUID, inventory: Inventory, version: int | None
) -> Prospect:
    """Propose and forecast every candidate of an inventory that was read."""
    past: Sequence[object] = ()
    if isinstance(spec.workload, CustomSpec):
        with reading(engine) as session:
            past = observations.recent_of_kind(session, tenant_id, spec.workload.kind, limit=REMEMBERED)
    found = look_at_offers(knowledge, spec, inventory, readable(past, knowledge), inventory_version=version)
    return replace(found, tenant_id=tenant_id)


def look_at_offers(
    knowledge: Knowledge,
    spec: JobSpec,
    offers: Inventory | Sequence[Offer],
    history: Sequence[Observation] = (),
    *,
    inventory_version: int | None = None,
) -> Prospect:
    """The same on an inventory that is at hand, with what is remembered of a custom kind."""
    inventory = offers if isinstance(offers, Inventory) else inventory_of(offers)
    proposals = _propose(knowledge, spec, inventory)
    began = time.perf_counter()
    foresight, model_version = _foresee(knowledge, proposals, history)
    took = time.perf_counter() - began
    _refuse_ignorance(proposals.board.workload, foresight)
    return Prospect(
        proposals=proposals,
        forecasts=foresight,
        model_version=model_version,
        prediction_ms=1000 * took,
        history=history,
        inventory_version=inventory_version,
    )


def _propose(knowledge: Knowledge, spec: JobSpec, inventory: Inventory) -> Proposals:
    workload_key = spec.workload.model_dump_json()

    def propose() -> Proposals:
        workload = resolve(spec.workload, knowledge.models, Software())
        lay_out = knowledge.memory.lay_out(workload_key)
        return enumerate_candidates(
            spec.constraints,
            workload,
            inventory,
            knowledge.gpus,
            lay_out,
            demands=demands_of(spec),
            beside=knowledge.beside,
        )

    # what only judges forecasts makes no difference to what is forecast
    constraints_key = spec.constraints.model_dump_json(exclude=JUDGING)
    return knowledge.memory.proposals((workload_key, constraints_key, demands_of(spec)), inventory, propose)


def _foresee(knowledge: Knowledge, proposals: Proposals, history: Sequence[Observation]) -> tuple[Foresight, str]:
    """The forecasts of all candidates, and the version of the predictor that made them."""
    board, version = proposals.board, knowledge.predictor.version
    known = knowledge.memory.foresight(board, version)
    if known is not None:
        return known, version
    forecasts = knowledge.predictor.forecast(board.questions, history or None) if board.questions else ()
    foresight = foresee(board, forecasts)
    if forecasts:
        version = forecasts[0].model_version  # not the predictor's own: another may have been promoted since
        # what is known of custom work grows with every job of its kind
        if not isinstance(board.workload, CustomWorkload):
            knowledge.memory.remember(board, foresight, version)
    return foresight, version


def readable(bodies: Sequence[object], knowledge: Knowledge) -> list[Observation]:
    """Stored observations as values; one that today's facts cannot read teaches nothing, and is no reason to fail."""
    read: list[Observation] = []
    for body in bodies:
        try:
            read.append(read_observation(body, knowledge.models, knowledge.gpus))  # type: ignore[arg-type]
        except PythiaError as error:
            log.warning("skipped an observation", reason=str(error))
    return read


def _refuse_ignorance(workload: Workload, foresight: Foresight) -> None:
    if isinstance(workload, CustomWorkload) and len(foresight.timed) and not foresight.timed.any():
        raise NotEnoughData(
            f"nothing is known of the run time of {workload.kind!r}: state workload.runtime_s, or import observations"
        )
