"""An assessment, as sent."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import Field

from scheduler.api.schemas.common import Out, Usd
from scheduler.api.schemas.economics import DeploymentOut, PriceListOut
from scheduler.api.schemas.fleet import FleetApiOut


class SentenceOut(Out):
    """Something that is said, and the figures behind it."""

    text: str
    figures: dict[str, float | str] = Field(description="Dollars as decimal text, days as 2026-12-01")


class FlipOut(Out):
    """The nearest value of one cause at which another way is the best, all else as it is."""

    cause: str = Field(
        description="traffic (requests a day), growth (of a year), api_price (dollars for 1,000 requests), gpu_price "
        "(over today's), utilisation (of a deployment in its busiest minute), operations (dollars a month)"
    )
    now: float
    at: float
    to: str = Field(description="The way that is the best beyond it")


class ScheduleOut(Out):
    """When what must begin, counted back from the switch or the decision."""

    way: str
    order_by: date
    shadow_start: date = Field(description="By when shadow traffic should start")
    cutover_start: date
    switch: date
    late_days: int = Field(description="By which the order is late already")


class AssessWayOut(Out):
    """One way to serve the model, over the horizon."""

    way: str = Field(description="stay, other_api, dedicated, elastic, reserved or buy")
    name: str = Field(description="In words")
    refused: str | None = Field(description="Why constraints rule it out; null: allowed")
    total_usd: Usd
    low_usd: Usd = Field(description="Total at the fast end of the forecast")
    high_usd: Usd
    monthly_usd: list[Usd] = Field(description="From the switch on")
    cheaper_from: date | None = Field(description="From when on it costs less than staying; null: not at the end")
    api: FleetApiOut | None
    deployment: DeploymentOut | None
    copies_first: int = Field(description="Of the deployment, in the first month; 0 where they come and go")
    copies_last: int
    dedicated_replicas: int | None = Field(description="Of what comes and goes, on the simulated day nearest to it")
    idle_timeout_s: float | None


class FindingOut(Out):
    """One model's answer."""

    model: str
    requests_per_day: float = Field(description="On the day of the assessment")
    request_usd: Usd = Field(description="Paid now")
    listed: FleetApiOut | None = Field(description="The list price that was used; null: what is paid says it all")
    first_month: int = Field(description="Of the comparison, counted from the day of the assessment")
    bills_before_usd: list[Usd] = Field(description="Of the months before, credits not taken off")
    best: str | None = Field(description="The cheapest way that is allowed; null: there is none")
    holds: bool = Field(description="Whether it is the best at both ends of the forecast")
    ways: list[AssessWayOut] = Field(description="The cheapest first")
    flips: list[FlipOut]
    schedule: ScheduleOut | None
    says: list[SentenceOut] = Field(description="The recommendation in sentences")


class CreditsEndOut(Out):
    """When credits are over."""

    day: date
    used_up: bool = Field(description="Before they expire")
    left_usd: Usd = Field(description="That nobody will have used")


class AssessOut(Out):
    """What to do about each model's token bill, why, until when, and what would change that."""

    question: dict[str, Any]
    assumptions: list[str]
    model_version: str
    as_of: date
    credits_end: CreditsEndOut | None
    switch: date = Field(description="From when on ways are compared")
    shadow_start: date | None = Field(description="The earliest of the models'")
    price_list: PriceListOut
    findings: list[FindingOut]
