"""Machines now, and what was spent on what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from scheduler.api.context import Context, Tenant
from scheduler.api.schemas.billing import BillingOut, MachineOut, SpentOut
from scheduler.api.schemas.common import Page
from scheduler.api.strict_json import JsonRoute
from scheduler.domain.billing import By
from scheduler.domain.money import exact_usd
from scheduler.services import billing
from scheduler.storage.billing import MachineView, Spent

router = APIRouter(tags=["machines"], route_class=JsonRoute)

A_MONTH = timedelta(days=31)


@router.get("/pools", summary="Machines now")
def list_machines(
    context: Context,
    tenant: Tenant,
    after: Annotated[UUID | None, Query(description="Continue behind this machine: `next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Page[MachineOut]:
    """Every machine that is rented or on its way, the one ordered last first: what it costs, for whom it works, and
    how long an idle one is kept for the next job."""
    found = billing.machines_now(context.engine, tenant, before=after, limit=limit)
    more = str(found[-1].id) if len(found) == limit else None
    return Page(items=[_machine(one) for one in found], next=more)


@router.get("/billing", summary="What was spent on what")
def list_spent(
    context: Context,
    tenant: Tenant,
    by: Annotated[By, Query(description="What is added up")] = By.DAY,
    since: Annotated[
        AwareDatetime | None, Query(description="Booked from then on; by default 31 days before `until`")
    ] = None,
    until: Annotated[AwareDatetime | None, Query(description="Booked before then; by default now")] = None,
    after: Annotated[str | None, Query(max_length=400, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> BillingOut:
    """The ledger, added up: what attempts have cost, and machines that idled between them.

    The sums of all pages are the total, and that is what providers charge: the database refuses any commit after which
    it is not. An attempt is booked when it ends, idle time when the next attempt begins or the machine is given back.
    """
    end = context.clock() if until is None else _utc(until)
    begin = end - A_MONTH if since is None else _utc(since)
    found = billing.bills(context.engine, tenant, by, since=begin, until=end, before=after, limit=limit)
    return BillingOut(
        items=[_spent(one) for one in found.sums],
        next=found.sums[-1].key if len(found.sums) == limit else None,
        total_usd=exact_usd(found.total.micros),
        simulated_usd=exact_usd(found.total.simulated_micros),
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _machine(view: MachineView) -> MachineOut:
    return MachineOut(
        id=view.id,
        state=view.state,
        since=view.since,
        backend=view.backend,
        offer_id=view.offer_id,
        provider=view.provider,
        region=view.region,
        gpu_type=view.gpu_type,
        gpu_count=view.gpu_count,
        spot=view.spot,
        usd_per_hour=exact_usd(view.micros_per_gpu_hour * view.gpu_count),
        job_id=view.job_id,
        job=view.job,
        attempt_id=view.attempt_id,
        attempt=view.attempt,
        warm_until=view.warm_until,
        booked_usd=exact_usd(view.billed_micros),
        requested_at=view.requested_at,
        ready_at=view.ready_at,
        reason=view.reason,
        simulated=view.simulated,
    )


def _spent(one: Spent) -> SpentOut:
    return SpentOut(
        day=one.day,
        job_id=one.job_id,
        job=one.job,
        attempt_id=one.attempt_id,
        attempt=one.attempt,
        outcome=one.outcome,
        machine_id=one.machine_id,
        provider=one.provider,
        region=one.region,
        gpu_type=one.gpu_type,
        gpu_count=one.gpu_count,
        attempts=one.attempts,
        usd=exact_usd(one.attempt_micros + one.idle_micros),
        attempts_usd=exact_usd(one.attempt_micros),
        idle_usd=exact_usd(one.idle_micros),
        billed_s=one.billed_s,
        simulated=one.simulated,
    )
