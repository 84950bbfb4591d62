"""What was measured, here and elsewhere."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from scheduler.api.context import Context, Tenant
from scheduler.api.problems import responses
from scheduler.api.schemas.common import Page
from scheduler.api.schemas.observations import ImportedOut, ObservationOut, ObservationsIn
from scheduler.api.strict_json import BulkRoute, JsonRoute
from scheduler.services import observations

router = APIRouter(tags=["predictor"], route_class=JsonRoute)
bulk = APIRouter(tags=["predictor"], route_class=BulkRoute)


@bulk.post("/observations:import", summary="Import measurements", responses=responses(413, 415))
def import_observations(sent: ObservationsIn, context: Context, tenant: Tenant) -> ImportedOut:
    """Keep the rows that can be used; each of the others is named with its reason and keeps none of them out.

    A simulated row is refused: only what was really measured teaches the predictor.
    """
    knowledge = context.knowledge
    done = observations.import_observations(
        context.engine, knowledge.gpus, knowledge.models, sent.observations, tenant_id=tenant, now=context.clock()
    )
    return ImportedOut.model_validate(done, from_attributes=True)


@router.get("/observations", summary="What was measured")
def list_observations(
    context: Context,
    tenant: Tenant,
    kind: Annotated[str | None, Query(description="A custom kind, or training or inference")] = None,
    after: Annotated[UUID | None, Query(description="Continue behind this one: `next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Page[ObservationOut]:
    """Observations, newest first."""
    found = observations.list_observations(context.engine, tenant, kind=kind, before=after, limit=limit)
    more = str(found[-1].id) if len(found) == limit else None
    return Page(items=[ObservationOut.model_validate(one, from_attributes=True) for one in found], next=more)
