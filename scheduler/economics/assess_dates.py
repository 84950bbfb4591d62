"""When to begin: counted back from the day on which credits end or a decision is due, with stated lead times.

The lead times are assumptions of ours, in days, named wherever a date is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

MONTH_DAYS = 730 / 24
"""A month of 730 hours, as everywhere in the economics."""


class Way(StrEnum):
    """How a model's requests are served."""

    STAY = "stay"
    """At the API, as now."""
    OTHER_API = "other_api"
    DEDICATED = "dedicated"
    """Rented on demand, kept all day."""
    ELASTIC = "elastic"
    """Rented by the second, some kept or none."""
    RESERVED = "reserved"
    BUY = "buy"


SHADOW_DAYS = 28
"""Both ways answer, the old one's answers are used: four whole weeks show a month's ends and peaks."""
CUTOVER_DAYS = 14
"""Traffic moves in steps, and could go back."""
SETUP_DAYS = 14
"""Deploying, measuring, and comparing answers, before the first shadow request."""
DELIVERY_DAYS = {Way.OTHER_API: 7, Way.DEDICATED: 7, Way.ELASTIC: 7, Way.RESERVED: 30, Way.BUY: 90}
"""From the order to what can be set up: a contract or a quota, a reservation, a delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditsEnd:
    """The day from which on an API is paid for."""

    day: date
    used_up: bool
    """Before they expire; otherwise they expire with something left."""
    left_usd: float
    """That nobody will have used."""


def credits_end(usd: float, expires: date, as_of: date, monthly_bills: Sequence[float]) -> CreditsEnd:
    """When credits are used up or expire; `monthly_bills`: of all models together, from `as_of` on."""
    left, day = usd, as_of
    for month, bill in enumerate(monthly_bills):
        end = as_of + timedelta(days=round((month + 1) * MONTH_DAYS))
        until = min(end, expires)
        per_day = bill / MONTH_DAYS
        days = max(0, (until - day).days)
        if per_day > 0 and left <= per_day * days:
            return CreditsEnd(day=day + timedelta(days=int(left / per_day)), used_up=True, left_usd=0.0)
        left -= per_day * days
        day = max(day, until)
        if end >= expires:
            break
    return CreditsEnd(day=max(expires, as_of), used_up=False, left_usd=left)


def switch_day(as_of: date, end: CreditsEnd | None, decide_by: date | None) -> date:
    """From when on ways are compared: credits are over, the decision carried out, or as soon as can be."""
    if end is not None:
        return max(end.day, as_of)
    if decide_by is not None:
        return max(decide_by, as_of) + timedelta(days=CUTOVER_DAYS)
    return as_of + timedelta(days=DELIVERY_DAYS[Way.DEDICATED] + SETUP_DAYS + SHADOW_DAYS + CUTOVER_DAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When what must begin for one way."""

    order_by: date
    shadow_start: date
    """By when shadow traffic should start."""
    cutover_start: date
    switch: date
    """From here on the new way alone is paid."""
    late_days: int
    """That have passed already: 0 where the order can still be placed in time."""


def schedule(way: Way, switch: date, decide_by: date | None, as_of: date) -> Schedule:
    """Counted back from the switch, and from the decision if that comes first."""
    shadow_start = switch - timedelta(days=CUTOVER_DAYS + SHADOW_DAYS)
    if decide_by is not None:
        shadow_start = min(shadow_start, decide_by - timedelta(days=SHADOW_DAYS))
    order_by = shadow_start - timedelta(days=SETUP_DAYS + DELIVERY_DAYS[way])
    return Schedule(
        order_by=order_by, shadow_start=shadow_start, cutover_start=switch - timedelta(days=CUTOVER_DAYS),
        switch=switch, late_days=max(0, (as_of - order_by).days),
    )  # fmt: skip


def day_of(as_of: date, month: int) -> date:
    """The first day of a month that is counted from the assessment."""
    return as_of + timedelta(days=round(month * MONTH_DAYS))
