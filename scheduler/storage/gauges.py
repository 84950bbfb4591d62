"""Counts for those who watch: how much there is of what, now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from scheduler.domain.states import AttemptState
from scheduler.storage.engine import Session
from scheduler.storage.tables import Attempt, ForgottenMachine, Job, Observation, Offer, OutboxMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """The installation in numbers."""

    jobs: Mapping[str, int]
    """By state."""
    live_attempts: Mapping[str, int]
    """By state, those that have not ended."""
    capacity_gpus: int
    reserved_gpus: int
    unsent_doorbells: int
    oldest_unsent_s: float
    """Age of the doorbell that has waited longest; 0 if none waits. It grows when the relay or the broker is down."""
    observations: int
    forgotten_machines: int
    """Given back with no row to book them on."""


def read(session: Session, now: datetime) -> Gauges:
    """All of them, in a few small queries."""
    jobs = session.execute(select(Job.state, func.count()).group_by(Job.state)).all()
    attempts = session.execute(
        select(Attempt.state, func.count()).where(Attempt.state != AttemptState.ENDED).group_by(Attempt.state)
    ).all()
    enabled = select(func.sum(Offer.capacity_gpus), func.sum(Offer.reserved_gpus)).where(Offer.enabled)
    capacity, reserved = session.execute(enabled).one()
    unsent, oldest = session.execute(
        select(func.count(), func.min(OutboxMessage.created_at)).where(OutboxMessage.sent_at.is_(None))
    ).one()
    return Gauges(
        jobs=dict(jobs),
        live_attempts=dict(attempts),
        capacity_gpus=int(capacity or 0),
        reserved_gpus=int(reserved or 0),
        unsent_doorbells=unsent,
        oldest_unsent_s=max(0.0, (now - oldest).total_seconds()) if unsent else 0.0,
        observations=session.execute(select(func.count()).select_from(Observation)).scalar_one(),
        forgotten_machines=session.execute(select(func.count()).select_from(ForgottenMachine)).scalar_one(),
    )
