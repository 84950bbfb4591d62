"""Fill gaps without delaying who waits for a large piece (EASY backfilling).

The most urgent job that does not fit now gets a reserved start: the moment at which, by the predicted ends of what
runs, its GPUs are free on one offer. Others may start there before it only if they have ended by then, or if enough
is left beside it. Lifka, The ANL/IBM SP scheduling system, JSSPP 1995; predicted ends are p90, so that one job in ten
ends later than reckoned, not half of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from scheduler.domain.options import Option
from scheduler.domain.room import Kept


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """GPUs that come back, seconds from now."""

    at_s: float
    gpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A start that no other job may delay."""

    job_id: UUID
    option: Option
    start_s: float
    spare: int
    """GPUs of the offer that are free then and not needed; they may be used for as long as one likes."""


@dataclass(slots=True)
class Shelf:
    """One offer while a round of decisions goes on: what is free, and when the rest returns."""

    free: int
    releases: list[Release] = field(default_factory=list)

    def take(self, gpus: int, until_s: float) -> None:
        """Start something that is predicted to end then."""
        self.free -= gpus
        self.releases.append(Release(until_s, gpus))

    def free_at(self, at_s: float) -> int:
        """GPUs that are free then, if nothing more is started."""
        return self.free + sum(release.gpus for release in self.releases if release.at_s <= at_s)

    def earliest(self, gpus: int) -> float:
        """Seconds until so many are free, if nothing more is started; infinite if they never are."""
        free = self.free
        if free >= gpus:
            return 0.0
        for release in sorted(self.releases):
            free += release.gpus
            if free >= gpus:
                return release.at_s
        return math.inf


def reserve_start(job_id: UUID, options: Iterable[Option], shelves: Mapping[UUID, Shelf]) -> Reservation | None:
    """The earliest start that a job can have, on the first of its options among equals; None if it has none."""
    best: tuple[float, Option] | None = None
    for option in options:
        shelf = shelves.get(option.offer_id)
        start = math.inf if shelf is None else shelf.earliest(option.gpu_count)
        if start < math.inf and (best is None or start < best[0]):
            best = start, option
    if best is None:
        return None
    start, option = best
    spare = shelves[option.offer_id].free_at(start) - option.gpu_count
    return Reservation(job_id=job_id, option=option, start_s=start, spare=spare)


def may_start(option: Option, shelf: Shelf, held: Reservation | None) -> bool:
    """Whether an option is free now and would not delay the reserved start."""
    if shelf.free < option.gpu_count:
        return False
    if held is None or held.option.offer_id != option.offer_id or option.use_p90_s <= held.start_s:
        return True
    return option.gpu_count <= shelf.free_at(held.start_s) - held.option.gpu_count


def kept_for(held: Reservation, shelf: Shelf) -> Kept:
    """What a decision about another job must leave: of what is free now, all but the spare, from the start on."""
    spare = shelf.free_at(held.start_s) - held.option.gpu_count
    return Kept(max(0, shelf.free - max(0, spare)), held.start_s)


def predicted_starts(
    queue: Sequence[tuple[UUID, Sequence[Option]]], shelves: Mapping[UUID, Shelf], *, uses: str
) -> dict[UUID, float]:
    """Seconds until each job of the queue starts, if each in turn takes its earliest option and holds it for `uses`
    (`use_p50_s` or `use_p90_s`); infinite where it never fits.

    A start is never before that of the job ahead of it on the same offer: what backfilling gains is not promised.
    """
    ends = {offer: Shelf(shelf.free, list(shelf.releases)) for offer, shelf in shelves.items()}
    floor: dict[UUID, float] = {}
    starts: dict[UUID, float] = {}
    for job_id, options in queue:
        best: tuple[float, Option] | None = None
        for option in options:
            shelf = ends.get(option.offer_id)
            if shelf is None:
                continue
            start = max(shelf.earliest(option.gpu_count), floor.get(option.offer_id, 0.0))
            if start < math.inf and (best is None or start < best[0]):
                best = start, option
        starts[job_id] = math.inf if best is None else best[0]
        if best is not None:
            start, option = best
            shelf = ends[option.offer_id]
            floor[option.offer_id] = start
            _occupy(shelf, start, option.gpu_count, start + float(getattr(option, uses)))
    return starts


def _occupy(shelf: Shelf, start_s: float, gpus: int, until_s: float) -> None:
    """Take GPUs from the moment on at which enough have returned; what has returned by then is free."""
    back = [release for release in shelf.releases if release.at_s <= start_s]
    shelf.releases = [release for release in shelf.releases if release.at_s > start_s]
    shelf.free += sum(release.gpus for release in back) - gpus
    shelf.releases.append(Release(until_s, gpus))
