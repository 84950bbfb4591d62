"""Keep from a lesson what cannot be, and what one owner alone says to the harm of the others.

Where several tenants share a predictor, one of them must not move the forecasts of all. What it says alone is heard up
to a factor within which the jobs of an unseen site mostly lie anyway; what goes further needs another owner whose jobs
of the same task miss alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.features import Task
from predictor.gather import Flags, Floats
from predictor.learned.samples import Samples
from predictor.telemetry import owner_of

ABSURD = 20.0
"""A measurement this many times above or below arithmetic is a slip of units, of the keyboard, or a lie."""

ALONE_MEMORY, ALONE_TIME = 1.5, 2.0
"""Times the forecast that one owner of several may teach alone."""

_LABEL = 1.1  # a card's label over what it offers: sources mix GB with GiB, but nothing reads more


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A measurement that taught nothing, and why."""

    id: str
    source: str
    task: Task | None
    """None for a custom job."""
    reason: str


def screen(task: Task, found: Samples) -> tuple[Samples, list[Quarantined]]:
    """Part a task's samples into those that can be, and those that cannot with their reasons.

    A run that did not fit where arithmetic says it needs far more is no contradiction.
    """
    off = (np.abs(found.residuals) > np.log(ABSURD)) & ~(found.lower_bound & (found.residuals < 0.0))
    over = (found.measured > found.usable + np.log(_LABEL)) & ~found.lower_bound & task.is_memory
    quarantined = [
        _kept_out(task, found, place, _reason(task, found, place, over=bool(over[place])))
        for place in np.flatnonzero(off | over).tolist()
    ]
    return found.take(~(off | over)), quarantined


def borne_out(task: Task, found: Samples, shift: Floats) -> tuple[Samples, list[Quarantined]]:
    """Part a task's samples into what the forecast or another owner bears out, and the rest.

    `shift` is what the bundle had learned elsewhere of each.
    """
    most = ALONE_MEMORY if task.is_memory else ALONE_TIME
    missed = found.residuals - shift
    alone = ~near(missed, found.source, most, told=~found.lower_bound) & ~(found.lower_bound & (missed < 0.0))
    reason = f"it is more than {most:g} times off the forecast, and no other tenant's jobs bear that out"
    quarantined = [_kept_out(task, found, place, reason) for place in np.flatnonzero(alone).tolist()]
    return found.take(~alone), quarantined


def near(missed: Floats, source: Sequence[str] | NDArray[np.str_], most: float, *, told: Flags) -> Flags:
    """Whether each miss, a logarithm, is within a factor of none at all, or of what another owner misses in the middle.

    `told` says which rows speak for their owners.
    """
    found: Flags = (np.abs(missed) <= np.log(most)) | agreed(missed, source, most, told=told)
    return found


def agreed(missed: Floats, source: Sequence[str] | NDArray[np.str_], most: float, *, told: Flags) -> Flags:
    """Whether each miss is within a factor of what another owner misses in the middle."""
    names, owner = np.unique([owner_of(str(name)) for name in source], return_inverse=True)
    found = np.zeros(len(missed), dtype=bool)
    for other in range(len(names)):
        said = missed[told & (owner == other)]
        if said.size:
            found |= (owner != other) & (np.abs(missed - np.median(said)) <= np.log(most))
    return found


def _kept_out(task: Task, found: Samples, place: int, reason: str) -> Quarantined:
    return Quarantined(id=str(found.ids[place]), source=str(found.source[place]), task=task, reason=reason)


def _reason(task: Task, found: Samples, place: int, *, over: bool) -> str:
    value, said = np.exp(found.measured[place]), np.exp(found.arithmetic[place])
    unit = "GiB" if task.is_memory else "s"
    if over:
        return f"{value:.4g} {unit} is more than the card's {np.exp(found.usable[place]):.4g} GiB"
    return f"{value:.4g} {unit} is more than {ABSURD:.0f} times off the {said:.4g} {unit} that arithmetic says"
