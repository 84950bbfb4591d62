"""How much of the inventory one job may have: less than is free where its tenant's quota ends or others come first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from scheduler.domain.arrays import Flags, Floats, Ints
from scheduler.domain.offers import Offer


@dataclass(frozen=True, slots=True)
class Kept:
    """Free GPUs of an offer that a waiting job of higher standing will need, and when."""

    gpus: int
    from_s: float
    """Seconds from now; what has ended by then (at p90) may use them meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """What is left of a tenant's quota, and what there is in all; None is no limit."""

    gpus: int | None = None
    most_gpus: int | None = None
    micros: int | None = None
    """This month's, with what the running attempts may yet cost taken off."""
    most_micros: int | None = None

    def holds(self, gpus: int, micros: int) -> bool:
        """Whether so much is left."""
        return (self.gpus is None or gpus <= self.gpus) and (self.micros is None or micros <= self.micros)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What limits one job beside its own constraints and what is free."""

    kept: Mapping[UUID, Kept] = field(default_factory=dict)
    ahead: Set[UUID] = frozenset()
    """Offers whose free GPUs waiting jobs of higher standing could use now: this one has nothing of them."""
    headroom: Headroom = field(default_factory=Headroom)
    assigned: tuple[UUID, int] | None = None
    """The offer and GPU count that the assignment of all waiting jobs gave this one; it wins while it is feasible."""

    @property
    def concerns(self) -> frozenset[UUID]:
        """Offers that are not as free, or more wanted, for this job than for any other."""
        return frozenset(self.kept) | (frozenset() if self.assigned is None else {self.assigned[0]})


OPEN = Room()
"""All that is free."""


def waited_for(room: Room, offers: Sequence[Offer]) -> Flags:
    """Whether others come first on each offer."""
    return np.array([offer.id in room.ahead for offer in offers], dtype=np.bool_)


def left_of(free: Ints, room: Room, offers: Sequence[Offer], place: Ints, use_p90_s: Floats) -> Ints:
    """For each candidate the free GPUs of its offer (at `place`) that it may use: none where others come first, and
    not those that are kept for somebody who starts before it would have ended."""
    if room.ahead:
        free = np.where(waited_for(room, offers)[place], 0, free)
    if not room.kept:
        return free
    none = Kept(0, np.inf)
    kept = [room.kept.get(offer.id, none) for offer in offers]
    gpus = np.array([one.gpus for one in kept], dtype=np.int64)[place]
    starts = np.array([one.from_s for one in kept], dtype=np.float64)[place]
    return np.where(use_p90_s > starts, np.maximum(0, free - gpus), free)


def over_quota(room: Room, gpu_count: Ints, p90_micros: Ints) -> tuple[Ints, Ints]:
    """For each candidate the GPUs and the micro-dollars by which it passes what is left of the quota; 0 within it."""
    left = room.headroom
    nothing = np.zeros(len(gpu_count), dtype=np.int64)
    gpus = nothing if left.gpus is None else np.maximum(gpu_count - left.gpus, 0)
    micros = nothing if left.micros is None else np.maximum(p90_micros - left.micros, 0)
    return gpus, micros


def ever_within_quota(room: Room, gpu_count: Ints, p90_micros: Ints) -> Flags:
    """For each candidate whether the whole quota would do, if nothing else used it."""
    most = room.headroom
    enough = np.ones(len(gpu_count), dtype=np.bool_)
    if most.most_gpus is not None:
        enough &= gpu_count <= most.most_gpus
    if most.most_micros is not None:
        enough &= p90_micros <= most.most_micros
    return enough
