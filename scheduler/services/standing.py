"""Who waits ahead of a job for the same capacity: asked while the offer is locked, so that nobody slips in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scheduler.domain.backfill import Release, Reservation, Shelf, may_start
from scheduler.domain.offers import Offer
from scheduler.domain.options import Option
from scheduler.domain.remaining import Remaining, remaining
from scheduler.domain.room import Kept
from scheduler.domain.stock import Inventory
from scheduler.storage import queue, tenants
from scheduler.storage.engine import Engine, Session, reading
from scheduler.storage.queue import RunningRow, WaitingRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A job that would take capacity now."""

    job_id: UUID
    tenant_id: UUID
    priority: int
    use_p90_s: float
    beside: frozenset[UUID]
    """Jobs that it was weighed against already."""


def in_the_way(session: Session, newcomer: Newcomer, offer: Offer, gpu_count: int, *, free: int, now: datetime) -> bool:
    """Whether a waiting job of higher standing could use the offer now, or has a reserved start there that would be
    delayed. `free` is what there was before the newcomer took anything; the offer's row is locked."""
    others = queue.interested_in(session, offer.id, offer.gpu_type, priority=newcomer.priority, but=newcomer.job_id)
    if not others:
        return False
    ahead = _ahead(session, newcomer, others, now)
    if not ahead:
        return False
    shelf = Shelf(free, [
        Release(rest.p90_s, row.gpu_count)
        for row in queue.running(session, [offer.id]) if (rest := rest_of(row, now)) is not None
    ])  # fmt: skip
    held = [reservation for row in ahead if (reservation := _held(row, offer.id, now)) is not None]
    mine = Option(offer.id, offer.gpu_type, gpu_count, 0, 0, newcomer.use_p90_s, newcomer.use_p90_s)
    if not all(may_start(mine, shelf, reservation) for reservation in held):
        return True
    return any(_could_start(row, offer, shelf, held) for row in ahead if row.job_id not in newcomer.beside)


def _could_start(row: WaitingRow, offer: Offer, shelf: Shelf, held: Sequence[Reservation]) -> bool:
    fewest = row.fewest(offer.id, offer.gpu_type)
    if fewest is None or fewest > shelf.free:
        return False
    known = [option for option in row.options if option.offer_id == offer.id]
    others = [reservation for reservation in held if reservation.job_id != row.job_id]
    # an option beyond the few that are kept is taken for one that could start
    return not known or any(all(may_start(option, shelf, one) for one in others) for option in known)


def left_by_others(
    engine: Engine, newcomer: Newcomer, inventory: Inventory, *, now: datetime
) -> tuple[set[UUID], dict[UUID, Kept]]:
    """Offers that somebody ahead could use now, and what reserved starts leave of others until they come."""
    with reading(engine) as session:
        others = queue.of_priority(session, priority=newcomer.priority, but=newcomer.job_id)
        ahead = [row for row in _ahead(session, newcomer, others, now) if row.job_id not in newcomer.beside]
    free = inventory.free().tolist()
    blocked: set[UUID] = set()
    kept: dict[UUID, Kept] = {}
    for row in ahead:
        for offer, gpus in zip(inventory.stock.offers, free, strict=True):
            fewest = row.fewest(offer.id, offer.gpu_type)
            if fewest is not None and fewest <= gpus:
                blocked.add(offer.id)
        if row.reserved_offer_id is not None and row.reserved_start_at is not None:
            starts_s = (row.reserved_start_at - now).total_seconds()
            kept[row.reserved_offer_id] = Kept(2**31, starts_s)
    return blocked, kept


def _ahead(session: Session, newcomer: Newcomer, others: Sequence[WaitingRow], now: datetime) -> list[WaitingRow]:
    """Those of higher standing: by priority, by what their tenant has used of its share, by who came first."""
    concerned = {newcomer.tenant_id, *(row.tenant_id for row in others)}
    use = dict.fromkeys(concerned, 0.0)
    if len(concerned) > 1:
        use |= {tenant: standing.use for tenant, standing in tenants.standings(session, [*concerned], now).items()}
    mine = (-newcomer.priority, use[newcomer.tenant_id], newcomer.job_id)
    return [row for row in others if (-row.priority, use[row.tenant_id], row.job_id) < mine]


def _held(row: WaitingRow, offer_id: UUID, now: datetime) -> Reservation | None:
    if row.reserved_offer_id != offer_id or row.reserved_start_at is None or row.reserved_gpus is None:
        return None
    start_s = max(0.0, (row.reserved_start_at - now).total_seconds())
    option = Option(offer_id, "", row.reserved_gpus, 0, 0, 0.0, 0.0)
    return Reservation(job_id=row.job_id, option=option, start_s=start_s, spare=0)


def rest_of(row: RunningRow, now: datetime) -> Remaining | None:
    """How much longer something holds its GPUs; None where that was never known."""
    if row.runtime_s is None:
        return None
    before = row.startup_s + (0.0 if row.begun else row.provision_s)
    p10, p50, p90 = (before + run for run in row.runtime_s)
    return remaining(p10, p50, p90, max(0.0, (now - row.since).total_seconds()))
