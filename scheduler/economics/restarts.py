"""What interruptions and checkpoints add to a run, and how often it should save itself.

Interruptions are a Poisson process that stops the whole run. With M seconds between them on average, d seconds that a
checkpoint stops the work, R seconds until the run is back and a checkpoint after every t seconds of work, w seconds of
work take

    M e^(R/M) (e^((t + d)/M) − 1) w / t

on average (J. T. Daly, Future Generation Computer Systems 22, 2006, equation 13): where M is long, that is for each
interruption half of t + d done again, and R. All times are seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_LONGEST_WAIT = 30.0
"""Pieces of work, in units of M, beyond which a run is hopeless: it would need e³⁰ tries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """How a run saves itself and comes back."""

    interruptions_per_hour: float
    """Of any of its machines; 0: never."""
    write_s: float
    """To write a checkpoint, and to read it again; positive."""
    blocking: float
    """Share of the writing that the work waits for, 0 to 1."""
    restart_s: float
    """From an interruption to the reading of the last checkpoint."""
    interval_s: float | None = None
    """Work between two checkpoints; None: the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Some work with what it is expected to take beside itself."""

    work_s: float
    interval_s: float
    checkpoint_s: float
    """That the work waits for checkpoints to be written, over the whole run."""
    lost_s: float
    """Work that is done again and restarts, over the whole run."""
    interruptions: float

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.work_s + self.checkpoint_s + self.lost_s


def best_interval_s(stop_s: float, between_s: float) -> float:
    """Seconds of work between checkpoints that each stop it for `stop_s`, interruptions being `between_s` apart.

    The square root of twice their product (J. W. Young, Communications of the ACM 17, 1974) with two further terms
    (Daly 2006, equation 37).
    """
    if math.isinf(between_s):
        return math.inf
    if stop_s >= 2 * between_s:
        return between_s
    ratio = stop_s / (2 * between_s)
    return math.sqrt(2 * stop_s * between_s) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - stop_s


def draw_out(work_s: float, upkeep: Upkeep) -> Drawn | None:
    """The expected course of so much work; None where it would hardly ever get from one checkpoint to the next."""
    rate = upkeep.interruptions_per_hour / 3600
    stop_s = upkeep.blocking * upkeep.write_s
    beside_s = upkeep.write_s - stop_s
    wanted = upkeep.interval_s or best_interval_s(stop_s, 1 / rate if rate else math.inf)
    # a checkpoint is begun when the one before it is written, and the last when the work is done
    interval_s = min(max(wanted, beside_s), work_s)
    pieces = work_s / interval_s
    checkpoint_s = pieces * stop_s
    if not rate:
        return Drawn(work_s=work_s, interval_s=interval_s, checkpoint_s=checkpoint_s, lost_s=0.0, interruptions=0.0)
    # what is written beside the work is of no use before it is complete: so much more is done again
    back_s = upkeep.restart_s + upkeep.write_s + beside_s
    if max(rate * back_s, rate * (interval_s + stop_s)) > _LONGEST_WAIT:
        return None
    total_s = math.exp(rate * back_s) * math.expm1(rate * (interval_s + stop_s)) / rate * pieces
    return Drawn(
        work_s=work_s,
        interval_s=interval_s,
        checkpoint_s=checkpoint_s,
        lost_s=max(total_s - work_s - checkpoint_s, 0.0),
        interruptions=total_s * rate,
    )
