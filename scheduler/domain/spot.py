"""How often interruptible machines are taken away, and how much longer a job takes for it.

Interruptions are taken as a Poisson process. A job that is interrupted comes back from its last checkpoint on a machine
that has to be ordered and started again, so with R seconds for that, λ interruptions a second and a checkpoint every
c seconds, the work between two checkpoints takes (1/λ + R)(e^{λc} − 1) seconds on average instead of c
(J. T. Daly, Future Generation Computer Systems 22, 2006, equation 13, the time to write a checkpoint left out).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.special import nbdtr

from predictor.facts import datasets_dir, read_facts
from predictor.workload import CustomWorkload, Workload
from scheduler.domain.arrays import Floats
from scheduler.domain.offers import Offer
from scheduler.domain.quantiles import quantile

COLUMNS = (
    "provider", "region", "instance_type", "monthly_share_from", "monthly_share_to", "as_of", "source",
)  # fmt: skip

ASSUMED_DAILY_SHARE = 0.15
"""Share of interruptible machines that a day takes away where no figures are published: an assumption, far on the
careful side of the one provider that publishes any (its highest band begins at a fifth in a month)."""

OPEN_BAND_TO = 0.5
"""Upper end of a band without one (`more than 20 % a month`): assumed."""

CHECKPOINT_S = 1800.0
"""Training is taken to save itself, and batch inference to write its answers, every half an hour: assumed. A custom job
is taken to begin again, since nothing is known of it."""

MOST_INTERRUPTIONS = 64
"""A job that may well be interrupted more often is promised to no deadline: it is taken to need `NEVER_S`."""

NEVER_S = 1e9

_MONTH_H = 730.0
_LONGEST_WAIT = 30.0
"""λc beyond which a job is called hopeless rather than reckoned: it would need e³⁰ tries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """How often one machine of an offer is taken away."""

    per_hour: float
    source: str
    assumed: bool


class Hazards:
    """Hazards of interruptible offers, published or assumed."""

    def __init__(self, published: Mapping[tuple[str, str, str], Hazard]) -> None:
        self._published = dict(published)

    def of(self, offer: Offer) -> Hazard:
        """What is published of the machine in its region, else the assumption for all."""
        return self.at(offer.provider, offer.region, offer.instance_type)

    def at(self, provider: str, region: str, instance_type: str) -> Hazard:
        """The same, told from the names alone."""
        return self._published.get((provider, region, instance_type), _ASSUMED)


_ASSUMED = Hazard(per_hour=-math.log1p(-ASSUMED_DAILY_SHARE) / 24, source="no published figures", assumed=True)


def load_hazards(path: Path | None = None) -> Hazards:
    """Published interruptions, by default of ``datasets/spot_interruptions.csv``; a file is read once."""
    return _load(path or datasets_dir() / "spot_interruptions.csv")


@cache
def _load(path: Path) -> Hazards:
    published = {}
    for row in read_facts(path, COLUMNS, key=("provider", "region", "instance_type")):
        low = row.number("monthly_share_from", maximum=1)
        high = row.optional_number("monthly_share_to", minimum=max(low, 0.001), maximum=0.999)
        # the careful end of the band
        share = OPEN_BAND_TO if high is None else high
        published[row.text("provider"), row.text("region"), row.text("instance_type")] = Hazard(
            per_hour=-math.log1p(-share) / _MONTH_H,
            source=f"{row.text('source')}, {row.text('as_of')}",
            assumed=False,
        )
    return Hazards(published)


def checkpoint_s(workload: Workload) -> float:
    """Seconds of work that an interruption can undo at most; infinite where a job begins again."""
    return math.inf if isinstance(workload, CustomWorkload) else CHECKPOINT_S


def slowdown(run_s: Floats, restart_s: Floats, per_hour: Floats, every_s: float) -> Floats:
    """Expected seconds for each second of work on interruptible machines; 1 where `per_hour` is 0.

    `per_hour` is the rate at which any machine of the candidate is taken away: a job on several loses all of them.
    """
    rate = per_hour / 3600.0
    stretch = rate * np.minimum(run_s, every_s)
    short = np.minimum(np.maximum(stretch, 1e-12), _LONGEST_WAIT)
    factor: Floats = np.where(stretch > 0, (1.0 + rate * restart_s) * np.expm1(short) / short, 1.0)
    return factor


def at_most(run_s: Floats, restart_s: Floats, per_hour: Floats, every_s: float, probability: float | Floats) -> Floats:
    """Seconds that so much work does not exceed with this probability; `NEVER_S` where no time can be promised.

    The work is done in pieces from checkpoint to checkpoint (`every_s` may be infinite: one piece), each tried until
    nothing interrupts it. How often that fails over all pieces is negative binomial; each time costs at most a
    restart and a piece.
    """
    piece_s = np.minimum(run_s, every_s)
    pieces = np.ceil(run_s / np.maximum(piece_s, 1e-9))
    kept = np.exp(-per_hour / 3600.0 * (restart_s + piece_s))
    found: Floats = np.where(per_hour > 0, NEVER_S, run_s)
    for count in range(MOST_INTERRUPTIONS + 1):
        likely = (found == NEVER_S) & (nbdtr(count, pieces, kept) >= probability)
        found[likely] = (run_s + count * (restart_s + piece_s))[likely]
        if (found != NEVER_S).all():
            break
    return found


def within(
    p10_s: Floats,
    p50_s: Floats,
    p90_s: Floats,
    restart_s: Floats,
    per_hour: Floats,
    every_s: float,
    probability: float | Floats,
) -> Floats:
    """Seconds that work of which three quantiles are known does not exceed with this probability, interruptions
    included."""
    # the work and its interruptions are drawn apart: both stay below if each does with the root of it
    each = probability**0.5
    longer = quantile(p10_s, p50_s, p90_s, each)
    found = at_most(longer, restart_s, per_hour, every_s, each)
    return np.where(per_hour > 0, found, quantile(p10_s, p50_s, p90_s, probability))


def interrupted(
    run_s: tuple[float, float, float], restart_s: float, per_hour: float, every_s: float
) -> tuple[float, float, float] | None:
    """p10, p50 and p90 of one job's work with its interruptions, as a decision reckons them: none at best, the expected
    ones, and those that one job in ten exceeds. None where no time can be promised."""
    p10, p50, p90 = (np.array([value]) for value in run_s)
    restart, rate = np.array([restart_s]), np.array([per_hour])
    likely = float((p50 * slowdown(p50, restart, rate, every_s))[0])
    most = float(within(p10, p50, p90, restart, rate, every_s, 0.9)[0])
    return None if most >= NEVER_S else (run_s[0], likely, max(likely, most))


def spot_note(hazard: Hazard, workload: Workload) -> str:
    """What was assumed of interruptions, as a forecast's assumptions say it."""
    daily = 100 * -math.expm1(-24 * hazard.per_hour)
    every = checkpoint_s(workload)
    kept = "begins again" if math.isinf(every) else f"resumes from a checkpoint every {every / 60:.0f} min"
    origin = "assumed" if hazard.assumed else hazard.source
    return f"spot: a machine is taken away on {daily:.2g} % of days ({origin}); the job then {kept} (assumed)"
