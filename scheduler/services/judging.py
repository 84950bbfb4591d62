"""Judge what a training learned: champion against challenger, each on jobs that it has not seen or both have.

The challenger that may be put into use has learned from everything. So what the champion has not seen is forecast by
stand-ins for it: each learned without a part of those runs, and is asked about that part. Parts are of runs and not of
configurations, since a site's next jobs repeat its past ones as often as these did, and the five last runs of a job go
to five parts. What the champion has learned from, the challenger may have learned from too; those jobs
say whether it is unlearned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from predictor.bundle import Bundle
from predictor.errors import NotEnoughData
from predictor.evaluation.comparison import Comparison, compare
from predictor.site.screening import Quarantined
from predictor.site.training import Lesson
from predictor.telemetry import SECOND_READINGS, Observation, owner_of

JUDGES = 1000
"""The newest observations of each owner, which decide: what was true a year ago is another matter."""

PARTS, MANY, PARTS_OF_MANY = 5, 20_000, 2
"""How many stand-ins there are, and how many where so many observations make each one dear."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An observation, who gave it, and when; ids rise with time."""

    observation: Observation
    contributor: str
    at: datetime
    id: UUID


Learn = Callable[[Sequence[Seen]], Lesson]


def judge(
    champion: Bundle, lesson: Lesson, judges: Sequence[Seen], seen: Sequence[Seen], *, known: UUID | None, learn: Learn
) -> Comparison:
    """Compare on the judges; `known` is the last that the champion may have learned from, None where it saw none."""
    unseen = [one for one in judges if known is None or one.id > known]
    parts = PARTS if len(seen) <= MANY else PARTS_OF_MANY
    stand_ins: dict[UUID, Bundle] = {}
    for part in split(unseen, parts):
        without = {one.id for one in part}
        try:
            bundle = learn([one for one in seen if one.id not in without]).bundle
        except NotEnoughData:
            bundle = champion  # without them nothing would have been learned
        stand_ins.update(dict.fromkeys(without, bundle))
    return compare(
        champion,
        lesson.bundle,
        [one.observation for one in judges],
        contributors=[one.contributor for one in judges],
        learned_without=[stand_ins.get(one.id, lesson.bundle) for one in judges],
    )


def split(unseen: Sequence[Seen], parts: int) -> list[list[Seen]]:
    """Parts of nearly equal size; the runs of a job go to as many of them as there can be."""
    ordered = sorted(unseen, key=lambda one: (one.contributor, one.observation.configuration, one.id))
    return [ordered[first::parts] for first in range(min(parts, len(ordered)))]


def newest(seen: Iterable[Seen], quarantined: Sequence[Quarantined]) -> list[Seen]:
    """The newest of each owner, oldest first as `seen` is; what is quarantined proves nothing."""
    kept_out = {(one.source, one.id) for one in quarantined}
    taken: Counter[str] = Counter()
    found: list[Seen] = []
    for one in reversed(list(seen)):
        owner = owner_of(one.contributor)
        names = (one.observation.id + ending for ending in ("", *SECOND_READINGS.values()))
        if taken[owner] < JUDGES and not any((one.contributor, name) in kept_out for name in names):
            taken[owner] += 1
            found.append(one)
    return found[::-1]
