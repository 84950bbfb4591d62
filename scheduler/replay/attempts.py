"""What a replay leaves behind: every use of a machine, as columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from scheduler.domain.arrays import Flags, Floats, Ints


class Attempt(NamedTuple):
    """One use of a machine."""

    job: int
    offer: int
    """Place in the market's stock."""
    row: int
    """Of the menu of the job's kind."""
    gpu_count: int
    placed_s: float
    """On the clock of `Jobs.submit_s`."""
    used_s: float
    """Provisioning, start-up and run."""
    run_s: float
    """Run alone; until the crash, where there was one."""
    completed: bool
    """False: ran out of memory."""
    billed_s: int
    cost_micros: int


@dataclass(slots=True)
class Journal:
    """Attempts in the order in which they were placed."""

    attempts: list[Attempt] = field(default_factory=list)
    late: set[int] = field(default_factory=set)
    """Jobs for which no free or taken placement promised the deadline: they were asked again without it."""
    unlikely: set[int] = field(default_factory=set)
    """Jobs that fit nowhere with the asked probability: they were asked again for the likeliest."""

    def columns(self) -> Columns:
        """The attempts as arrays."""
        by_field = list(zip(*self.attempts, strict=True)) or [()] * len(Attempt._fields)
        kinds = (
            np.int64,
            np.int64,
            np.int64,
            np.int64,
            np.float64,
            np.float64,
            np.float64,
            np.bool_,
            np.int64,
            np.int64,
        )
        return Columns(*(np.array(cells, dtype=kind) for cells, kind in zip(by_field, kinds, strict=True)))


@dataclass(frozen=True, slots=True)
class Columns:
    """`Attempt`, one array per field."""

    job: Ints
    offer: Ints
    row: Ints
    gpu_count: Ints
    placed_s: Floats
    used_s: Floats
    run_s: Floats
    completed: Flags
    billed_s: Ints
    cost_micros: Ints
