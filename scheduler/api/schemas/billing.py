"""Machines and what was spent, as sent."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from pydantic import Field

from scheduler.api.schemas.common import Out, Page, Usd
from scheduler.domain.machines import MachineState
from scheduler.domain.states import Outcome


class MachineOut(Out):
    """A machine that is rented."""

    id: UUID
    state: MachineState
    since: datetime = Field(description="When it came into that state; when it was ordered, where only that is known")
    backend: str
    offer_id: UUID
    provider: str
    region: str
    gpu_type: str
    gpu_count: int
    spot: bool
    usd_per_hour: Usd = Field(description="Of the whole machine")
    job_id: UUID | None = Field(description="What it is ordered for, or busy with")
    job: str | None
    attempt_id: UUID | None
    attempt: int | None
    warm_until: datetime | None = Field(description="Of an idle one: when it is let go, unless a job takes it first")
    booked_usd: Usd = Field(description="In the ledger so far; an attempt is booked when it ends")
    requested_at: datetime
    ready_at: datetime | None
    reason: str | None = Field(description="Why it is let go")
    simulated: bool


class SpentOut(Out):
    """A sum of what was spent. What its parts do not have in common is null; by job or attempt, so is everything of the
    sum of idle time, which belongs to none."""

    day: date | None = Field(description="In UTC")
    job_id: UUID | None
    job: str | None
    attempt_id: UUID | None
    attempt: int | None
    outcome: Outcome | None
    machine_id: UUID | None
    provider: str | None
    region: str | None
    gpu_type: str | None
    gpu_count: int | None
    attempts: int = Field(description="Uses of a machine by an attempt")
    usd: Usd
    attempts_usd: Usd
    idle_usd: Usd = Field(description="For machines that waited for the next job")
    billed_s: int
    simulated: bool = Field(description="On a simulated provider: no money was spent")


class BillingOut(Page[SpentOut]):
    """A page of sums, with the total of the whole period."""

    total_usd: Usd
    simulated_usd: Usd = Field(description="What simulated providers would have charged; not in the total")
