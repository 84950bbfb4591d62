"""The whole decision for a job spec, with nothing reserved."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Body, Query
from pydantic import BeforeValidator

from scheduler.api import present_plan
from scheduler.api.context import Context, Tenant
from scheduler.api.examples import JOB_SPECS
from scheduler.api.problems import responses
from scheduler.api.schemas.exports import ExportOut
from scheduler.api.schemas.plans import PlanOut
from scheduler.api.strict_json import JsonRoute
from scheduler.domain.spec import JobSpec
from scheduler.exports.names import Engine
from scheduler.services.export import export_plan
from scheduler.services.plan import plan

router = APIRouter(tags=["jobs"], route_class=JsonRoute)


def _day_or_version(text: object) -> date | int:
    said = str(text)
    try:
        return int(said) if said.isdecimal() else date.fromisoformat(said)
    except ValueError:
        raise ValueError(f"{said!r:.60} is neither a day such as 2026-08-23 nor a version such as 41") from None


PricesOf = Annotated[
    date | int,
    BeforeValidator(_day_or_version),
    Query(
        description="A day, or the `inventory_version` that a decision names: plan at its prices, with today's "
        "predictor and what is held now"
    ),
]


@router.post("/plans", summary="Plan a job", responses=responses(404, 413, 415))
def make_plan(
    spec: Annotated[JobSpec, Body(openapi_examples=JOB_SPECS)],
    context: Context,
    tenant: Tenant,
    prices_of: PricesOf | None = None,
) -> PlanOut:
    """What a submission would decide now: every kind of candidate with its forecast, its cost and its verdict.

    With it the choice between money and time, and the changes of the job that would save most.
    """
    made = plan(context.engine, context.knowledge, spec, tenant_id=tenant, now=context.clock(), prices_of=prices_of)
    return present_plan.plan(made)


@router.post("/plans:export", summary="Plan a job for another engine", responses=responses(413, 415))
def export(
    spec: Annotated[JobSpec, Body(openapi_examples=JOB_SPECS)],
    engine: Annotated[Engine, Query(description="Whose task file")],
    context: Context,
    tenant: Tenant,
) -> ExportOut:
    """The placement among the providers that dstack or SkyPilot can rent from, as a task file of theirs.

    Values of variables whose names are those of secrets are left out of it.
    """
    made = export_plan(context.engine, context.knowledge, spec, engine, tenant_id=tenant, now=context.clock())
    return ExportOut(engine=made.engine, reason=made.reason, file=made.file)
