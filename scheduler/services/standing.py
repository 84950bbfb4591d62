"""Who waits ahead of a job for the same capacity: asked while the offer is locked, so that nobody slips in between."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from scheduler.domain.backfill import Release, Reservation, Shelf, may_start
from scheduler.domain.fair_share import headroom
from scheduler.domain.offers import Offer
from scheduler.domain.options import Option
from scheduler.domain.remaining import Remaining, remaining
from scheduler.domain.room import Headroom, Kept, Room
from scheduler.domain.sharing import SWITCHING
from scheduler.domain.spot import CHECKPOINT_S, interrupted, load_hazards
from scheduler.domain.stock import Inventory
from scheduler.storage import queue, tenants
from scheduler.storage.engine import Session
from scheduler.storage.queue import Ahead, RunningRow, WaitingRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A job that would take capacity now."""

    job_id: UUID
    tenant_id: UUID
    priority: int
    use_p90_s: float
    beside: frozenset[UUID]
    """Jobs that it was weighed against already."""
    use: Mapping[UUID, float] = field(default_factory=dict)
    """What tenants have used of their shares, as far as that was asked lately: it takes a sum over days of use."""


def in_the_way(session: Session, newcomer: Newcomer, offer: Offer, gpu_count: int, *, free: int, now: datetime) -> bool:
    """Whether a waiting job of higher standing could use the offer now, or has a reserved start there that would be
    delayed. `free` is what there was before the newcomer took anything; the offer's row is locked."""
    rivals = queue.rivals_of(session, newcomer.priority)
    if not rivals:
        return False
    ahead = _ahead(session, newcomer, rivals, now)
    held = [
        reservation for row in queue.reserved_starts(session, ahead, offer.id)
        if (reservation := _held(row, offer.id, now)) is not None
    ]  # fmt: skip
    # without a reserved start one of them is enough: thousands may wait, and the offer is locked
    others = queue.could_use(
        session, ahead, offer.id, offer.gpu_type, free=free, but=newcomer.beside, limit=None if held else 1
    )
    if not held:
        return bool(others)
    # it may have been written down already, but `free` is from before it took any
    running = queue.running(session, [offer.id], but=newcomer.job_id)
    shelf = Shelf(free, [Release(back.rest.p90_s, back.gpus) for back in coming_back(running, now)])
    mine = Option(offer.id, offer.gpu_type, gpu_count, 0, 0, newcomer.use_p90_s, newcomer.use_p90_s)
    if not all(may_start(mine, shelf, reservation) for reservation in held):
        return True
    return any(_could_start(row, offer, shelf, held) for row in others)


def holds_a_start(session: Session, newcomer: Newcomer, offer_id: UUID, *, now: datetime) -> bool:
    """Whether a start is held on an offer for a waiting job of higher standing."""
    rivals = queue.rivals_of(session, newcomer.priority)
    return bool(rivals) and bool(queue.reserved_starts(session, _ahead(session, newcomer, rivals, now), offer_id))


def _could_start(row: WaitingRow, offer: Offer, shelf: Shelf, held: Sequence[Reservation]) -> bool:
    fewest = row.fewest(offer.id, offer.gpu_type)
    if fewest is None or fewest > shelf.free:
        return False
    known = [option for option in row.options if option.offer_id == offer.id]
    others = [reservation for reservation in held if reservation.job_id != row.job_id]
    # an option beyond the few that are kept is taken for one that could start
    return not known or any(all(may_start(option, shelf, one) for one in others) for option in known)


def left_by_others(session: Session, newcomer: Newcomer, inventory: Inventory, room: Room, *, now: datetime) -> Room:
    """The room without the offers that somebody ahead could use now, nor what of others is kept for reserved starts."""
    ahead = _ahead(session, newcomer, queue.rivals_of(session, newcomer.priority), now)
    fewest = queue.fewest_wanted(session, ahead, but=newcomer.beside)
    held = [row for row in queue.reserved_starts(session, ahead) if row.job_id not in newcomer.beside]
    offers, free = inventory.stock.offers, inventory.free().tolist()
    blocked = {
        offer.id
        for offer, gpus in zip(offers, free, strict=True)
        if any(fewest.get(name, gpus + 1) <= gpus for name in (str(offer.id), offer.gpu_type))
    }
    gpus_of = {offer.id: gpus for offer, gpus in zip(offers, free, strict=True)}
    kept = {
        row.reserved_offer_id: Kept(gpus_of[row.reserved_offer_id], (row.reserved_start_at - now).total_seconds())
        for row in held
        if row.reserved_offer_id in gpus_of and row.reserved_start_at is not None
    }
    return replace(room, ahead=room.ahead | blocked, kept={**room.kept, **kept})


def quota_left(session: Session, tenant_id: UUID, now: datetime, *, lock: bool = False) -> Headroom:
    """What is left of a tenant's quotas; where it has some and they are locked, nobody else takes of them meanwhile."""
    limits = tenants.limits_of(session, tenant_id, lock=lock)
    if limits is None:
        return Headroom()
    held, month = tenants.use_of(session, tenant_id, now, spent=limits.max_micros_per_month is not None)
    return headroom(limits.max_gpus, limits.max_micros_per_month, gpus=held, month_micros=month)


def _ahead(session: Session, newcomer: Newcomer, rivals: Mapping[UUID, bool], now: datetime) -> Ahead:
    """Those of higher standing: by priority, by what their tenant has used of its share, by who came first."""
    concerned = {newcomer.tenant_id, *(tenant for tenant, level in rivals.items() if level)}
    use = dict.fromkeys(concerned, 0.0)
    if len(concerned) > 1:
        use |= newcomer.use
        unknown = list(concerned - newcomer.use.keys())
        use |= {tenant: standing.use for tenant, standing in tenants.standings(session, unknown, now).items()}
    mine = use[newcomer.tenant_id]
    return Ahead(
        job_id=newcomer.job_id, priority=newcomer.priority,
        tenants_before=tuple(tenant for tenant in concerned if use[tenant] < mine),
        tenants_level=tuple(tenant for tenant in concerned if use[tenant] == mine),
    )  # fmt: skip


def _held(row: WaitingRow, offer_id: UUID, now: datetime) -> Reservation | None:
    if row.reserved_offer_id != offer_id or row.reserved_start_at is None or row.reserved_gpus is None:
        return None
    start_s = max(0.0, (row.reserved_start_at - now).total_seconds())
    option = Option(offer_id, "", row.reserved_gpus, 0, 0, 0.0, 0.0)
    return Reservation(job_id=row.job_id, option=option, start_s=start_s, spare=0)


class Back(NamedTuple):
    """GPUs of an offer that come back."""

    offer_id: UUID
    gpus: int
    rest: Remaining


def coming_back(rows: Sequence[RunningRow], now: datetime) -> list[Back]:
    """When what runs gives its GPUs back, as far as that is known.

    A card that several are on comes back with the last of them: after all the work that they have left, of which each
    is taken to have had its share since it began.
    """
    alone = [(row, rest_of(row, now)) for row in rows if row.card_id is None]
    found = [Back(row.offer_id, row.gpu_count, rest) for row, rest in alone if rest is not None]
    shared: dict[UUID, list[RunningRow]] = defaultdict(list)
    for row in rows:
        if row.card_id is not None:
            shared[row.card_id].append(row)
    for there in shared.values():
        longer = SWITCHING if len(there) > 1 else 1.0
        pace = 1.0 / (longer * len(there))
        rests = [rest for row in there if (rest := rest_of(row, now, pace=pace)) is not None]
        if len(rests) == len(there):
            rest = Remaining(*(longer * sum(quantiles) for quantiles in zip(*rests, strict=True)))
            found.append(Back(there[0].offer_id, sum(row.gpu_count for row in there), rest))
    return found


def rest_of(row: RunningRow, now: datetime, *, pace: float = 1.0) -> Remaining | None:
    """How much longer something holds its GPUs, if it goes on alone; None where nobody can say.

    `pace` is how much of them it has had so far. What is interrupted comes back: it is older than most who wait.
    """
    run_s = row.runtime_s
    if run_s is not None and row.spot:
        per_hour = row.machines * load_hazards().at(*row.sold_as).per_hour
        every_s = CHECKPOINT_S if row.resumes else math.inf
        run_s = interrupted(run_s, row.provision_s + row.startup_s, per_hour, every_s)
    if run_s is None:
        return None
    before = row.startup_s + (0.0 if row.begun else row.provision_s)
    p10, p50, p90 = (before + run for run in run_s)
    return remaining(p10, p50, p90, pace * max(0.0, (now - row.since).total_seconds()))
