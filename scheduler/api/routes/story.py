"""How a job went: its decisions, its attempts, its events."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from scheduler.api import present
from scheduler.api.context import Context, Tenant
from scheduler.api.problems import responses
from scheduler.api.schemas.common import Page
from scheduler.api.schemas.decisions import DecisionOut
from scheduler.api.schemas.jobs import AttemptOut, EventOut
from scheduler.api.strict_json import JsonRoute
from scheduler.services import jobs

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], route_class=JsonRoute, responses=responses(404))

EVENTS_A_PAGE = 1000


@router.get("/decisions", summary="Why a job went where it went")
def list_decisions(job_id: UUID, context: Context, tenant: Tenant) -> Page[DecisionOut]:
    """Every decision, first to last, with the candidates that were considered and why each lost."""
    made = jobs.list_decisions(context.engine, tenant, job_id)
    return Page(items=[present.decision(one) for one in made], next=None)


@router.get("/attempts", summary="How a job went")
def list_attempts(job_id: UUID, context: Context, tenant: Tenant) -> Page[AttemptOut]:
    """Every try, first to last, with what was predicted and what was measured."""
    tried = jobs.list_attempts(context.engine, tenant, job_id)
    return Page(items=[present.attempt(one) for one in tried], next=None)


@router.get("/events", summary="What happened to a job")
def list_events(
    job_id: UUID,
    context: Context,
    tenant: Tenant,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="Continue behind this event's id")] = 0,
) -> Page[EventOut]:
    """What happened, oldest first."""
    happened = jobs.list_events(context.engine, tenant, job_id, after=after, limit=EVENTS_A_PAGE)
    more = str(happened[-1].id) if len(happened) == EVENTS_A_PAGE else None
    return Page(items=[present.event(one) for one in happened], next=more)
