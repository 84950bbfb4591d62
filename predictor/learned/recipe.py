"""The choices of a training that a held-out comparison can question; as they stand here, what ships.

Each is a switch, so that an ablation is the same training with one thing left out and never a copy of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How trees are grown."""

    habits: bool = True
    """A first layer that reads how software and cards behave, and nothing of the job."""
    particulars: bool = True
    """A second layer that reads all columns."""
    monotone: bool = True
    """Trees may only rise with batch, length and rank."""
    bent_loss: bool = True
    """Misses far out pull no harder than those near; else the loss is squared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one task is learned."""

    growth: Growth = Growth()
    trust: bool = True
    """The correction is applied as far as held-out groups bear it out; else whole, everywhere."""
    balance: bool = True
    """A source with many settings counts less for each in choosing trust and calibration."""
    spread: bool = True
    """Trees tell which questions are hard; else all are equally so at a distance."""
    by_distance: bool = True
    """Intervals are those of rows as far from the data; else one width serves all."""


SHIPPED = Recipe()
