"""Capacity held for attempts: `offers.reserved_gpus` moves here and nowhere else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, func, insert, select, text, update

from scheduler.domain.states import AttemptState
from scheduler.storage.base import core
from scheduler.storage.engine import Session
from scheduler.storage.tables import Attempt, Offer, Reservation


def seems_free(session: Session, offer_id: UUID, gpu_count: int) -> bool:
    """Whether so many GPUs of an offer are free, as far as can be seen without a lock."""
    enough = Offer.enabled & ~Offer.away & (Offer.reserved_gpus + gpu_count <= Offer.capacity_gpus)
    return bool(session.execute(select(enough).where(Offer.id == offer_id)).scalar_one_or_none())


def reserve(session: Session, offer_id: UUID, gpu_count: int) -> int | None:
    """Count GPUs of an offer as held, if so many are free; the check and the change are one statement.

    What was free before, the held ones included; None where that was not enough: the transaction is then to be undone,
    as PostgreSQL may have locked a row that changed under it before it looked again.
    """
    got = session.execute(
        update(Offer)
        .where(Offer.id == offer_id, Offer.enabled, ~Offer.away, Offer.reserved_gpus + gpu_count <= Offer.capacity_gpus)
        .values(reserved_gpus=Offer.reserved_gpus + gpu_count)
        .returning(Offer.capacity_gpus - Offer.reserved_gpus + gpu_count)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return None if got is None else int(got)


# locked in the order of their keys, as an import of prices locks them, so that no two wait for each other; "C" is the
# order in which Python sorts text, whatever the database's own is
_TAKE = text("""
WITH wanted AS (
  SELECT * FROM unnest(CAST(:offers AS uuid[]), CAST(:gpus AS bigint[])) AS w(id, gpus)
), held AS MATERIALIZED (
  SELECT o.id FROM offers o JOIN wanted ON wanted.id = o.id WHERE o.enabled AND NOT o.away
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


_HELD = core(Reservation)
_OPEN = insert(_HELD)


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


_RELEASE = (
    update(_HELD)
    .where(_HELD.c.attempt_id == bindparam("attempt"), _HELD.c.released_at.is_(None))
    .values(released_at=bindparam("now"))
    .returning(_HELD.c.offer_id, _HELD.c.gpu_count)
)
_INHERIT = update(_HELD).where(_HELD.c.attempt_id == bindparam("attempt"), _HELD.c.released_at.is_(None))
_OFFERS = core(Offer)
_GIVE_BACK = (
    update(_OFFERS)
    .where(_OFFERS.c.id == bindparam("offer"))
    .values(reserved_gpus=_OFFERS.c.reserved_gpus - bindparam("gpus"))
)


def release(session: Session, attempt_id: UUID, now: datetime, *, heir: UUID | None = None) -> bool:
    """Give an attempt's capacity back, exactly once; False where it was given back before.

    Where an heir is named, who shares the card that this transaction holds, the capacity is the heir's from now on.
    """
    held = session.execute(_RELEASE, {"attempt": attempt_id, "now": now}).one_or_none()
    if held is None:
        return False
    if heir is not None:
        if held.gpu_count:
            session.execute(_INHERIT, {"attempt": heir, "gpu_count": held.gpu_count, "reserved_at": now})
        return True
    session.execute(_GIVE_BACK, {"offer": held.offer_id, "gpus": held.gpu_count})
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


def leaked(session: Session) -> dict[UUID, UUID]:
    """Attempts that have ended and still hold capacity, each with its offer; there should be none at any commit."""
    rows = session.execute(
        select(Reservation.attempt_id, Reservation.offer_id)
        .join(Attempt, Attempt.id == Reservation.attempt_id)
        .where(Reservation.released_at.is_(None), Attempt.state == AttemptState.ENDED)
    )
    return {attempt_id: offer_id for attempt_id, offer_id in rows}  # noqa: C416 - rows are no pairs to mypy


# in the order of `_TAKE`
_LOCK = text("""
SELECT id FROM offers WHERE id = ANY(CAST(:offers AS uuid[]))
ORDER BY provider COLLATE "C", region COLLATE "C", instance_type COLLATE "C", gpu_type COLLATE "C" FOR NO KEY UPDATE
""")
_RELEASE_ENDED = text(f"""
UPDATE reservations r SET released_at = :now FROM attempts a
WHERE a.id = r.attempt_id AND a.state = '{AttemptState.ENDED}' AND r.released_at IS NULL
  AND r.offer_id = ANY(CAST(:offers AS uuid[]))
""")  # noqa: S608 - a state
_RECOUNT = text("""
UPDATE offers o SET reserved_gpus = held.gpus
FROM (SELECT id, (SELECT coalesce(sum(gpu_count), 0) FROM reservations r
                  WHERE r.offer_id = offers.id AND r.released_at IS NULL) AS gpus
      FROM offers WHERE id = ANY(CAST(:offers AS uuid[]))) held
WHERE o.id = held.id AND o.reserved_gpus <> held.gpus
""")


def mend(session: Session, offer_ids: Collection[UUID], *, now: datetime) -> None:
    """Release what ended attempts hold of some offers, and count anew what is held.

    Whoever moves a counter holds its offer until it commits, so once all are locked each counter is that of the
    reservations that can be seen, or of one whose owner waits for the lock to move it.
    """
    given = {"offers": list(offer_ids)}
    session.execute(_LOCK, given)
    session.execute(_RELEASE_ENDED, {**given, "now": now})
    session.execute(_RECOUNT, given)
