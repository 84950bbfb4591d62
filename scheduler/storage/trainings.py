"""Trainings: at most one is open, whoever asked for it, and one process at a time works on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from scheduler.domain.errors import NotFound
from scheduler.storage.engine import Session
from scheduler.storage.ids import new_id
from scheduler.storage.rows import columns
from scheduler.storage.tables import Observation, Training


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingView:
    """A training as it stands."""

    id: UUID
    state: str
    scheduled: bool
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    version: str | None
    promoted: bool
    verdict: str | None
    window_from: datetime | None
    window_to: datetime | None
    read: int | None
    learned_from: int | None
    held_out: int | None
    left_out: int | None
    quarantined: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEnd:
    """What came of a training; counts are None where it never got so far."""

    verdict: str
    version: str | None = None
    promoted: bool = False
    window_from: datetime | None = None
    window_to: datetime | None = None
    read: int | None = None
    learned_from: int | None = None
    held_out: int | None = None
    left_out: int | None = None
    quarantined: int | None = None


_COLUMNS = columns(Training, TrainingView)


def request(session: Session, now: datetime, *, scheduled: bool) -> UUID | None:
    """Ask for a training; None where one is open already."""
    return session.execute(
        insert(Training)
        .values(id=new_id(), scheduled=scheduled, requested_at=now)
        .on_conflict_do_nothing()
        .returning(Training.id)
    ).scalar_one_or_none()


def claim(session: Session, training_id: UUID, *, now: datetime, until: datetime) -> bool:
    """Begin a training, or take over one whose process is taken for dead; False where it is another's, or ended."""
    begun = session.execute(
        update(Training)
        .where(
            Training.id == training_id,
            or_(Training.state == "queued", and_(Training.state == "running", Training.lease_expires_at < now)),
        )
        .values(state="running", started_at=now, lease_expires_at=until)
        .returning(Training.id)
    )
    return begun.one_or_none() is not None


def end(session: Session, training_id: UUID, result: TrainingEnd, now: datetime) -> None:
    """Note what came of a training."""
    values = {name: getattr(result, name) for name in TrainingEnd.__slots__}
    session.execute(
        update(Training)
        .where(Training.id == training_id, Training.state != "ended")
        .values(state="ended", ended_at=now, lease_expires_at=None, **values)
    )


def get(session: Session, training_id: UUID) -> TrainingView:
    """One training, or NotFound."""
    row = session.execute(select(*_COLUMNS).where(Training.id == training_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("training", training_id)
    return TrainingView(**row)


def last(session: Session, limit: int) -> list[TrainingView]:
    """The last trainings, newest first."""
    rows = session.execute(select(*_COLUMNS).order_by(Training.id.desc()).limit(limit))
    return [TrainingView(**row) for row in rows.mappings()]


def open_one(session: Session) -> TrainingView | None:
    """The training that is queued or running."""
    row = session.execute(select(*_COLUMNS).where(Training.state != "ended")).mappings().one_or_none()
    return None if row is None else TrainingView(**row)


def due(session: Session, *, before: datetime, least_new: int) -> bool:
    """Whether the last training is older than `before` and so many observations are newer than it."""
    asked: datetime | None = session.execute(select(func.max(Training.requested_at))).scalar_one()
    newer = select(Observation.id).limit(least_new)
    if asked is not None:
        if asked >= before:
            return False
        newer = newer.where(Observation.observed_at > asked)
    return len(session.execute(newer).all()) >= least_new


def abandoned(session: Session, *, now: datetime, silent_since: datetime) -> UUID | None:
    """The open training that nobody works on: its doorbell was lost, or its process died."""
    return session.execute(
        select(Training.id).where(
            or_(
                and_(Training.state == "queued", Training.requested_at < silent_since),
                and_(Training.state == "running", Training.lease_expires_at < now),
            )
        )
    ).scalar_one_or_none()
