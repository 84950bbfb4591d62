"""The queue: what waiting jobs could use, who holds a reserved start, and when what runs is predicted to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, func, select, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import Text

from scheduler.domain.options import Option
from scheduler.domain.states import AttemptState, JobState
from scheduler.storage.engine import Session
from scheduler.storage.tables import Attempt, Job, Reservation, Waits

MOST_OFFERS = 64
"""A job that could use more offers than this is remembered by their GPU types: to be asked at every placement."""

KEPT_OPTIONS = 8
"""Options of a waiting job that are kept for predicting its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRow:
    """A waiting job, as others have to reckon with it."""

    job_id: UUID
    tenant_id: UUID
    priority: int
    wants: Mapping[str, int]
    """Offer id, or GPU type, to the fewest GPUs that it could use there."""
    options: tuple[Option, ...]
    reserved_offer_id: UUID | None
    reserved_gpus: int | None
    reserved_start_at: datetime | None

    @property
    def gpu_seconds(self) -> float:
        """What it would use on its best option."""
        return self.options[0].gpu_count * self.options[0].use_p50_s if self.options else 0.0

    def fewest(self, offer_id: UUID, gpu_type: str) -> int | None:
        """The fewest GPUs that it could use of an offer; None where it could not use it at all."""
        found = self.wants.get(str(offer_id))
        return self.wants.get(gpu_type) if found is None else found


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRow:
    """Something that holds GPUs, and the forecast of how long. Seconds."""

    offer_id: UUID
    gpu_count: int
    since: datetime
    """When its machine was ordered, or the command began, if it has."""
    begun: bool
    provision_s: float
    startup_s: float
    runtime_s: tuple[float, float, float] | None
    """p10, p50 and p90; None where it was never known."""


def wants_of(options: Sequence[Option]) -> dict[str, int]:
    """What a waiting job could use, short enough to be asked at every placement."""
    by_offer: dict[str, int] = {}
    by_type: dict[str, int] = {}
    for option in options:
        for found, name in ((by_offer, str(option.offer_id)), (by_type, option.gpu_type)):
            found[name] = min(found.get(name, option.gpu_count), option.gpu_count)
    return by_offer if len(by_offer) <= MOST_OFFERS else by_type


def enter(session: Session, *, job_id: UUID, tenant_id: UUID, since: datetime, now: datetime, **values: Any) -> None:
    """A job waits, or waits on with something else decided."""
    row = {"reserved_offer_id": None, "reserved_gpus": None, "reserved_start_at": None, "decided_at": now} | values
    statement = insert(Waits).values(job_id=job_id, tenant_id=tenant_id, since=since, **row)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["job_id"], set_={name: statement.excluded[name] for name in row}
        )
    )


def leave(session: Session, job_id: UUID) -> None:
    """A job is not queued any more."""
    session.execute(delete(Waits).where(Waits.job_id == job_id).execution_options(synchronize_session=False))


def is_empty(session: Session) -> bool:
    """Whether no job waits that others would have to reckon with."""
    return not session.execute(select(exists(select(Waits.job_id)))).scalar_one()


def all_waiting(session: Session) -> list[WaitingRow]:
    """Every queued job that has been decided at least once, in no order."""
    return _rows(session, [])


def interested_in(session: Session, offer_id: UUID, gpu_type: str, *, priority: int, but: UUID) -> list[WaitingRow]:
    """Queued jobs of this priority or a higher one that could use an offer."""
    names = type_coerce([str(offer_id), gpu_type], ARRAY(Text))
    return _rows(session, [Waits.wants.has_any(names), Job.priority >= priority, Job.id != but])


def of_priority(session: Session, *, priority: int, but: UUID) -> list[WaitingRow]:
    """Queued jobs of this priority or a higher one."""
    return _rows(session, [Job.priority >= priority, Job.id != but])


def _rows(session: Session, conditions: Sequence[Any]) -> list[WaitingRow]:
    query = (
        select(
            Waits.job_id, Waits.tenant_id, Job.priority, Waits.wants, Waits.options, Waits.reserved_offer_id,
            Waits.reserved_gpus, Waits.reserved_start_at,
        )
        .join(Job, Job.id == Waits.job_id)
        .where(Job.state == JobState.QUEUED, *conditions)
    )  # fmt: skip
    return [
        WaitingRow(**{**row, "options": tuple(Option(UUID(offer), *rest) for offer, *rest in row["options"])})
        for row in session.execute(query).mappings()
    ]


def kept_options(options: Sequence[Option]) -> list[list[Any]]:
    """The best options as they are stored."""
    return [[str(option.offer_id), *option[1:]] for option in options[:KEPT_OPTIONS]]


def running(session: Session, offer_ids: Sequence[UUID] | None = None) -> list[RunningRow]:
    """What holds GPUs, of some offers or of all."""
    began = func.coalesce(Attempt.running_at, Attempt.started_at, Attempt.claimed_at, Attempt.reserved_at)
    query = (
        select(Reservation.offer_id, Reservation.gpu_count, began.label("since"), Attempt.state, Attempt.provision_s,
               Attempt.forecast["startup_s"].label("startup_s"), Attempt.forecast["runtime_s"].label("runtime_s"))
        .join(Attempt, Attempt.id == Reservation.attempt_id)
        .where(Reservation.released_at.is_(None))
    )  # fmt: skip
    if offer_ids is not None:
        query = query.where(Reservation.offer_id.in_(offer_ids))
    return [
        RunningRow(
            offer_id=row["offer_id"], gpu_count=row["gpu_count"], since=row["since"],
            begun=row["state"] == AttemptState.RUNNING, provision_s=row["provision_s"],
            startup_s=float(row["startup_s"] or 0.0), runtime_s=_spread(row["runtime_s"]),
        )
        for row in session.execute(query).mappings()
    ]  # fmt: skip


def _spread(body: Mapping[str, float] | None) -> tuple[float, float, float] | None:
    return None if not body else (body["p10"], body["p50"], body["p90"])
