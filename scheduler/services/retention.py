"""How long decisions are kept: whole months are dropped, by policy, never those of a job that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from scheduler.storage import parts
from scheduler.storage.engine import Engine, transaction

log = structlog.get_logger(__name__)

MONTHS_AHEAD = 2
"""Months that are made before they come; a row that belongs to none is kept too, but cannot be dropped at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was dropped, and what had to stay."""

    months: tuple[str, ...]
    decisions: int
    kept: tuple[str, ...]
    """Old enough, but a job that has not ended was decided in it."""


def make_months(engine: Engine, *, now: datetime) -> tuple[str, ...]:
    """Make the part of this month and of those to come, where they are missing; which were made."""
    made: list[str] = []
    with transaction(engine) as session:
        there, covered = parts.names(session), parts.covered_until(session)
        month = parts.month_of(now)
        for _ in range(MONTHS_AHEAD + 1):
            if parts.first_id(month) >= covered and f"decisions_{month:%Y_%m}" not in there:
                if not parts.alone(session):
                    break  # somebody else makes them
                parts.make(session, month)
                made.append(f"{month:%Y-%m}")
            month = parts.next_month(month)
    if made:
        log.info("made months for decisions", months=made)
    return tuple(made)


def prune(engine: Engine, *, older_than: timedelta, now: datetime) -> Pruned:
    """Drop the months that ended longer ago than `older_than`; jobs, attempts and events stay."""
    cutoff = now - older_than
    months: list[str] = []
    kept: list[str] = []
    decisions = 0
    with transaction(engine) as session:
        for month in parts.months(session):
            if parts.next_month(month) > cutoff:
                break
            if parts.is_needed(session, month):
                kept.append(f"{month:%Y-%m}")
                continue
            decisions += parts.drop(session, month)
            months.append(f"{month:%Y-%m}")
    log.info("dropped old decisions", months=months, decisions=decisions, kept=kept)
    return Pruned(months=tuple(months), decisions=decisions, kept=tuple(kept))
