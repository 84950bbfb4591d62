"""Capacity held for attempts: `offers.reserved_gpus` moves here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, insert, select, text, update

from scheduler.storage.engine import Session
from scheduler.storage.tables import Offer, Reservation


def reserve(session: Session, offer_id: UUID, gpu_count: int) -> int | None:
    """Count GPUs of an offer as held, if so many are free; the check and the change are one statement.

    What was free before, the held ones included; None where that was not enough.

    A failed try may still have locked the row (PostgreSQL locks a row that changed under it before it looks
    again), so it is rolled back to a savepoint: a transaction never holds more than the one offer it got.
    """
    savepoint = session.begin_nested()
    got = session.execute(
        update(Offer)
        .where(Offer.id == offer_id, Offer.enabled, Offer.reserved_gpus + gpu_count <= Offer.capacity_gpus)
        .values(reserved_gpus=Offer.reserved_gpus + gpu_count)
        .returning(Offer.capacity_gpus - Offer.reserved_gpus + gpu_count)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if got is None:
        savepoint.rollback()
        return None
    savepoint.commit()
    return int(got)


# locked in the order of their keys, as an import of prices locks them, so that no two wait for each other; "C" is the
# order in which Python sorts text, whatever the database's own is
_TAKE = text("""
WITH wanted AS (
  SELECT * FROM unnest(CAST(:offers AS uuid[]), CAST(:gpus AS bigint[])) AS w(id, gpus)
), held AS MATERIALIZED (
  SELECT o.id FROM offers o JOIN wanted ON wanted.id = o.id WHERE o.enabled
  ORDER BY o.provider COLLATE "C", o.region COLLATE "C", o.instance_type COLLATE "C", o.gpu_type COLLATE "C"
  FOR NO KEY UPDATE OF o
)
UPDATE offers SET reserved_gpus = reserved_gpus + wanted.gpus
FROM held JOIN wanted ON wanted.id = held.id
WHERE offers.id = held.id AND offers.reserved_gpus + wanted.gpus <= offers.capacity_gpus
RETURNING offers.id, offers.capacity_gpus - offers.reserved_gpus + wanted.gpus
""")


def take(session: Session, wanted: Mapping[UUID, int]) -> dict[UUID, int] | None:
    """Count GPUs of some offers as held; what was free of each before, or None where any had too few.

    After None the transaction holds locks on several offers and has taken from some: it is to be undone.
    """
    given = {"offers": list(wanted), "gpus": list(wanted.values())}
    free = {offer_id: int(gpus) for offer_id, gpus in session.execute(_TAKE, given)}
    return free if len(free) == len(wanted) else None


_OPEN = insert(Reservation.__table__)  # type: ignore[arg-type]


def open_for(
    session: Session,
    *,
    attempt_id: UUID,
    tenant_id: UUID,
    offer_id: UUID,
    gpu_count: int,
    committed_micros: int | None,
    now: datetime,
) -> None:
    """Write down who holds what `reserve` has counted, and what it may cost."""
    session.execute(
        _OPEN,
        {"attempt_id": attempt_id, "tenant_id": tenant_id, "offer_id": offer_id, "gpu_count": gpu_count,
         "committed_micros": committed_micros, "reserved_at": now},
    )  # fmt: skip


def release(session: Session, attempt_id: UUID, now: datetime) -> bool:
    """Give an attempt's capacity back, exactly once; False where it was given back before."""
    held = session.execute(
        update(Reservation)
        .where(Reservation.attempt_id == attempt_id, Reservation.released_at.is_(None))
        .values(released_at=now)
        .returning(Reservation.offer_id, Reservation.gpu_count)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if held is None:
        return False
    session.execute(
        update(Offer)
        .where(Offer.id == held.offer_id)
        .values(reserved_gpus=Offer.reserved_gpus - held.gpu_count)
        .execution_options(synchronize_session=False)
    )
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Imbalance:
    """An offer whose counter is not the sum of its open reservations."""

    offer_id: UUID
    counted: int
    held: int


def imbalances(session: Session) -> list[Imbalance]:
    """Offers whose counter and open reservations differ; there should be none at any commit."""
    held = func.coalesce(func.sum(Reservation.gpu_count), 0)
    rows = session.execute(
        select(Offer.id, Offer.reserved_gpus, held)
        .outerjoin(Reservation, (Reservation.offer_id == Offer.id) & Reservation.released_at.is_(None))
        .group_by(Offer.id)
        .having(Offer.reserved_gpus != held)
    )
    return [Imbalance(offer_id=offer_id, counted=counted, held=int(sum_held)) for offer_id, counted, sum_held in rows]
