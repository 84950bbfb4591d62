"""The queue: what waiting jobs could use, who holds a reserved start, and when what runs is predicted to end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, case, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert

from scheduler.domain.options import Option
from scheduler.domain.states import AttemptState, JobState
from scheduler.storage.base import core
from scheduler.storage.engine import Session
from scheduler.storage.tables import Attempt, Job, Offer, Reservation, Waits

MOST_OFFERS = 64
"""A job that could use more offers than this is remembered by their GPU types: to be asked at every placement."""

_WAITS = core(Waits)
_ONCE = {"job_id", "tenant_id", "since"}
"""What does not change while a job waits."""

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
    card_id: UUID | None = None
    """The card that it may be on with others, one of whom holds the GPU."""
    spot: bool = False
    sold_as: tuple[str, str, str] = ("", "", "")
    """Provider, region and instance type, by which interruptions are published."""
    machines: int = 1
    resumes: bool = True
    """Whether what was interrupted goes on from a checkpoint."""


def wants_of(options: Sequence[Option]) -> dict[str, int]:
    """What a waiting job could use, short enough to be asked at every placement."""
    by_offer: dict[str, int] = {}
    by_type: dict[str, int] = {}
    for option in options:
        for found, name in ((by_offer, str(option.offer_id)), (by_type, option.gpu_type)):
            found[name] = min(found.get(name, option.gpu_count), option.gpu_count)
    return by_offer if len(by_offer) <= MOST_OFFERS else by_type


_ENTER = insert(_WAITS)
_ENTER = _ENTER.on_conflict_do_update(
    index_elements=["job_id"],
    set_={column.name: _ENTER.excluded[column.name] for column in _WAITS.columns if column.name not in _ONCE},
)


def enter(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Jobs wait, or wait on with something else decided; every row names every column."""
    session.execute(_ENTER, list(rows))


def those_in(session: Session, job_ids: Sequence[UUID]) -> set[UUID]:
    """Those of some jobs that were decided to wait, and nothing else since."""
    return set(session.execute(select(_WAITS.c.job_id).where(_WAITS.c.job_id.in_(job_ids))).scalars())


def leave(session: Session, job_id: UUID) -> None:
    """A job is not queued any more."""
    session.execute(delete(Waits).where(Waits.job_id == job_id).execution_options(synchronize_session=False))


def is_empty(session: Session) -> bool:
    """Whether no job waits that others would have to reckon with."""
    return not session.execute(select(exists(select(Waits.job_id)))).scalar_one()


def all_waiting(session: Session) -> list[WaitingRow]:
    """Every queued job that has been decided at least once, in no order."""
    return _rows(session, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What it is to stand ahead of a job, as a condition that the database can ask of thousands at once."""

    job_id: UUID
    priority: int
    tenants_before: tuple[UUID, ...]
    """Of the same priority, all jobs of these stand ahead,"""
    tenants_level: tuple[UUID, ...]
    """and those of these that came first."""

    @property
    def conditions(self) -> list[Any]:
        """Of a row of `waits` joined with its job."""
        sooner = Job.tenant_id.in_(self.tenants_before) | (
            Job.tenant_id.in_(self.tenants_level) & (Job.id < self.job_id)
        )
        return [Job.id != self.job_id, (Job.priority > self.priority) | ((Job.priority == self.priority) & sooner)]


def rivals_of(session: Session, priority: int) -> dict[UUID, bool]:
    """Tenants with a waiting job of this priority or a higher one, and whether any of theirs is of this very one."""
    same = func.bool_or(Job.priority == priority)
    query = select(Waits.tenant_id, same).join(Job, Job.id == Waits.job_id).group_by(Waits.tenant_id)
    found = session.execute(query.where(Job.state == JobState.QUEUED, Job.priority >= priority))
    return {tenant: bool(level) for tenant, level in found}


def reserved_starts(session: Session, ahead: Ahead, offer_id: UUID | None = None) -> list[WaitingRow]:
    """Jobs ahead for which a start is held, on one offer or on any."""
    where = Waits.reserved_offer_id.is_not(None) if offer_id is None else Waits.reserved_offer_id == offer_id
    return _rows(session, [where, *ahead.conditions])


def could_use(
    session: Session,
    ahead: Ahead,
    offer_id: UUID,
    gpu_type: str,
    *,
    free: int,
    but: Collection[UUID],
    limit: int | None,
) -> list[WaitingRow]:
    """Jobs ahead for whose smallest wish so many GPUs of an offer are enough, in no order."""
    wish = func.coalesce(Waits.wants[str(offer_id)].astext, Waits.wants[gpu_type].astext)
    return _rows(session, [wish.cast(BigInteger) <= free, Job.id.not_in(but), *ahead.conditions], limit)


def fewest_wanted(session: Session, ahead: Ahead, *, but: Collection[UUID]) -> dict[str, int]:
    """Offer id, or GPU type, to the fewest GPUs that any of the jobs ahead could use there."""
    wish = func.jsonb_each_text(Waits.wants).table_valued("key", "value", joins_implicitly=True)
    query = (
        select(wish.c.key, func.min(wish.c.value.cast(BigInteger)))
        .select_from(Waits)
        .join(Job, Job.id == Waits.job_id)
        .where(Job.state == JobState.QUEUED, Job.id.not_in(but), *ahead.conditions)
        .group_by(wish.c.key)
    )
    return {name: int(gpus) for name, gpus in session.execute(query)}


def _rows(session: Session, conditions: Sequence[Any], limit: int | None = None) -> list[WaitingRow]:
    query = (
        select(
            Waits.job_id, Waits.tenant_id, Job.priority, Waits.wants, Waits.options, Waits.reserved_offer_id,
            Waits.reserved_gpus, Waits.reserved_start_at,
        )
        .join(Job, Job.id == Waits.job_id)
        .where(Job.state == JobState.QUEUED, *conditions)
        .limit(limit)
    )  # fmt: skip
    return [
        WaitingRow(**{**row, "options": tuple(Option(UUID(offer), *rest) for offer, *rest in row["options"])})
        for row in session.execute(query).mappings()
    ]


def kept_options(options: Sequence[Option]) -> list[list[Any]]:
    """The best options as they are stored."""
    return [[str(option.offer_id), *option[1:]] for option in options[:KEPT_OPTIONS]]


def running(session: Session, offer_ids: Sequence[UUID] | None = None, *, but: UUID | None = None) -> list[RunningRow]:
    """What holds GPUs, of some offers or of all, without one job's own attempts."""
    began = func.coalesce(Attempt.running_at, Attempt.started_at, Attempt.claimed_at, Attempt.reserved_at)
    query = (
        select(Reservation.offer_id, Reservation.gpu_count, began.label("since"), Attempt.state, Attempt.provision_s,
               Attempt.forecast["startup_s"].label("startup_s"), Attempt.forecast["runtime_s"].label("runtime_s"),
               Attempt.card_id, Attempt.spot, Offer.provider, Offer.region, Offer.instance_type, Offer.node_gpus,
               case((Attempt.spot, Job.spec["workload"]["type"].astext)).label("workload"))
        .join(Attempt, Attempt.id == Reservation.attempt_id)
        .join(Job, Job.id == Attempt.job_id)
        .join(Offer, Offer.id == Reservation.offer_id)
        .where(Reservation.released_at.is_(None))
    )  # fmt: skip
    if offer_ids is not None:
        query = query.where(Reservation.offer_id.in_(offer_ids))
    if but is not None:
        query = query.where(Attempt.job_id != but)
    return [
        RunningRow(
            offer_id=row["offer_id"], gpu_count=row["gpu_count"], since=row["since"],
            begun=row["state"] == AttemptState.RUNNING, provision_s=row["provision_s"],
            startup_s=float(row["startup_s"] or 0.0), runtime_s=_spread(row["runtime_s"]), card_id=row["card_id"],
            spot=row["spot"], sold_as=(row["provider"], row["region"], row["instance_type"]),
            machines=-(-row["gpu_count"] // row["node_gpus"]), resumes=row["workload"] != "custom",
        )
        for row in session.execute(query).mappings()
    ]  # fmt: skip


def _spread(body: Mapping[str, float] | None) -> tuple[float, float, float] | None:
    return None if not body else (body["p10"], body["p50"], body["p90"])
