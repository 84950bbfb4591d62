"""Everything a decision needs, gathered before any transaction of it opens: inventory, history, forecasts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from predictor.errors import NotEnoughData, PythiaError
from predictor.forecast import Forecast
from predictor.telemetry import Observation, read_observation
from predictor.workload import CustomWorkload, Software, Workload
from predictor.workload_spec import CustomSpec, resolve
from scheduler.domain.candidates import Proposals, enumerate_candidates
from scheduler.domain.offers import Offer
from scheduler.domain.spec import JobSpec
from scheduler.services.knowledge import Knowledge
from scheduler.storage import observations, offers, prices
from scheduler.storage.engine import Engine, reading

log = structlog.get_logger(__name__)

REMEMBERED = 200
"""Past jobs of a custom kind that are looked at, the last ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """All candidates of a job with their forecasts."""

    proposals: Proposals
    forecasts: Sequence[Forecast]
    model_version: str
    prediction_ms: float
    inventory_version: int | None
    """Which inventory it was; None for one that is not kept in a database."""


def look_ahead(engine: Engine, knowledge: Knowledge, spec: JobSpec, tenant_id: UUID) -> Prospect:
    """Propose and forecast every candidate; NotEnoughData for custom work of which nothing is known."""
    with reading(engine) as session:
        inventory, version = offers.enabled(session), prices.version(session)
        past = (
            observations.recent_of_kind(session, tenant_id, spec.workload.kind, limit=REMEMBERED)
            if isinstance(spec.workload, CustomSpec)
            else []
        )
    return look_at_offers(knowledge, spec, inventory, readable(past, knowledge), inventory_version=version)


def look_at_offers(
    knowledge: Knowledge,
    spec: JobSpec,
    inventory: Sequence[Offer],
    history: Sequence[Observation] = (),
    *,
    inventory_version: int | None = None,
) -> Prospect:
    """The same on an inventory that is at hand, with what is remembered of a custom kind."""
    workload = resolve(spec.workload, knowledge.models, Software())
    proposals = enumerate_candidates(spec.constraints, workload, inventory, knowledge.gpus)
    began = time.perf_counter()
    forecasts = knowledge.predictor.forecast(proposals.questions, history or None) if proposals.questions else ()
    took = time.perf_counter() - began
    _refuse_ignorance(workload, forecasts)
    return Prospect(
        proposals=proposals,
        forecasts=forecasts,
        # not the predictor's own: another may have been promoted since
        model_version=forecasts[0].model_version if forecasts else knowledge.predictor.version,
        prediction_ms=1000 * took,
        inventory_version=inventory_version,
    )


def readable(bodies: Sequence[object], knowledge: Knowledge) -> list[Observation]:
    """Stored observations as values; one that today's facts cannot read teaches nothing, and is no reason to fail."""
    read: list[Observation] = []
    for body in bodies:
        try:
            read.append(read_observation(body, knowledge.models, knowledge.gpus))  # type: ignore[arg-type]
        except PythiaError as error:
            log.warning("skipped an observation", reason=str(error))
    return read


def _refuse_ignorance(workload: Workload, forecasts: Sequence[Forecast]) -> None:
    if isinstance(workload, CustomWorkload) and forecasts and all(f.runtime_s is None for f in forecasts):
        raise NotEnoughData(
            f"nothing is known of the run time of {workload.kind!r}: state workload.runtime_s, or import observations"
        )
