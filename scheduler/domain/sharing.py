"""Several jobs of one tenant on one card: whether they fit together, and how long each of them then takes.

Memory adds up: every process has its own CUDA context, which a forecast of the driver's reading includes. The chance
that all fit is bounded whatever their forecasts' errors have to do with each other (they come from the same predictor):
if each need stays below a limit of its own and the limits add up to the card, all fit, so P(they do not) is at most
the sum of the chances that one passes its limit (C. E. Bonferroni, 1936). The limits are set equally many standard
deviations out on the log scale.

Time is sliced: without NVIDIA's MPS the contexts of several processes take turns on a card. Every job is taken to keep
a card busy by itself, which is the most that it can ask for, so of k jobs each advances at 1/k of its own pace
(processor sharing). While a job does its rest r, another on the card does min(r, its own rest), hence a job ends after
the sum over all on the card of min(their rest, its rest). All of that times `SWITCHING`. Jobs that leave the card idle
at times end sooner than that; none is taken to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from uuid import UUID

from predictor.forecast import Forecast, Vram
from predictor.workloads.spec import CustomSpec, WorkloadSpec
from scheduler.domain.fit import LEAST_SIGMA
from scheduler.domain.machines import Tariff
from scheduler.domain.quantiles import Z90, Z95
from scheduler.domain.remaining import remaining
from scheduler.domain.spec import Constraints, JobSpec

_NORMAL = NormalDist()

MOST_ON_A_CARD = 4
"""Jobs on one card; a CHECK of the table says the same."""

SWITCHING = 1.1
"""How much longer everything takes for the switching between contexts and the caches that each finds cold: assumed, no
measurement of ours stands behind it."""

BACKENDS = frozenset({"local", "simulated"})
"""Execution backends that can run several attempts on one card."""

PREALLOCATING = frozenset({"vllm", "sglang", "tensorrt-llm", "trtllm", "jax", "tensorflow"})
"""Engines that take most of the card at start, whatever the job needs: nobody can join them, nor they anybody."""

_FAR = 8.0
"""Standard deviations beyond which a chance is 0 or 1."""
_LEAST_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Seconds of a card that a job needs if it has it to itself, start-up included."""

    p10_s: float
    p50_s: float
    p90_s: float

    def within(self, probability: float) -> float:
        """What is not exceeded with this probability: log-normal on each side of the median, as in `quantiles`."""
        z, p50_s = _NORMAL.inv_cdf(probability), max(self.p50_s, _LEAST_S)
        side = max(self.p90_s if z >= 0 else self.p10_s, _LEAST_S)
        return float(p50_s * (side / p50_s) ** (abs(z) / Z90))

    def after(self, served_s: float) -> Work:
        """What is left when so many seconds of the card have been had, given that it has not ended."""
        return Work(**remaining(self.p10_s, self.p50_s, self.p90_s, served_s)._asdict())


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """When a job has run on a card, in seconds before now."""

    from_s: float
    """Since when it runs, or ran."""
    to_s: float
    """0 for one that still runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A job that holds a seat on a card."""

    attempt_id: UUID
    job_id: UUID
    vram: Vram
    fit_probability: float | None
    usable_gib: float
    whole: Work
    """All of its work."""
    rest: Work
    """What is left of it."""
    elapsed_s: float
    """Since its command began; 0 before."""
    constraints: Constraints
    spent_micros: int
    """What its job has paid for: earlier attempts, and what is booked of this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card that somebody of a tenant holds and that has a seat left."""

    id: UUID
    version: int
    """Grows with every job that joins: whoever decided on another version has not seen who is there."""
    offer_id: UUID
    tariff: Tariff
    """Of its machine, frozen when the first came."""
    provision_s: float
    ready_s: float
    """Seconds until it can take work."""
    booked_s: float
    """Up to where its machine's time is in the ledger."""
    metered_s: float
    """What its machine's meter is taken to read now."""
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """With whom a placement shares its card, as the record says it."""

    card_id: UUID
    version: int
    tariff: Tariff
    job_ids: tuple[UUID, ...]
    """Those that are there already."""
    fit_probability: float
    """That all of them fit together, at least."""

    @property
    def words(self) -> str:
        """In one line, with the formula and what is assumed."""
        many = len(self.job_ids) + 1
        others = "another job" if many == 2 else f"{many - 1} other jobs"
        return (
            f"shares its card with {others}; all fit with probability {self.fit_probability:.3f} or more; each ends "
            f"after {SWITCHING:g} x the sum of min(rest of each, its own rest): time-sliced, every job taken to fill "
            "the card alone, the factor assumed"
        )

    def to_json(self) -> dict[str, object]:
        """For the record."""
        return {
            "card_id": str(self.card_id),
            "with_jobs": [str(job_id) for job_id in self.job_ids],
            "fit_probability": round(self.fit_probability, 4),
            "switching": SWITCHING,
        }


def may_share(spec: JobSpec) -> bool:
    """Whether a job allows that others are on its card.

    Not one whose engine takes the card up front, or whose engine is not known to leave it. Nor one whose run time is
    limited by its forecast: the limit is set when it starts, and whoever joins later makes it slower.
    """
    asked = spec.constraints
    allowed = asked.share_card == "allow" and asked.tenancy != "dedicated" and asked.max_runtime_over_p90 is None
    return allowed and not preallocates(spec.workload)


def preallocates(workload: WorkloadSpec) -> bool:
    """Whether the engine grabs the card. Inference that names no engine may: better no lesson than a wrong one."""
    if isinstance(workload, CustomSpec):
        said = (str(value).casefold() for value in workload.features.values())
        return not PREALLOCATING.isdisjoint(said)
    engine: str | None = getattr(workload, "engine", None)
    return engine.casefold() in PREALLOCATING if engine else workload.type == "inference"


def can_share(forecast: Forecast, *, gpu_count: int, spot: bool, backend: str) -> bool:
    """Whether a placement is of a kind that others could join: one card on demand, with all that matters forecast."""
    known = forecast.peak_vram is not None and forecast.usable_vram_gib and forecast.runtime_s is not None
    return bool(known) and gpu_count == 1 and not spot and backend in BACKENDS


def fit_together(needs: Sequence[Vram], usable_gib: float) -> float:
    """At least the probability that all these fit a card at once, however their errors hang together."""
    known = [need for need in needs if need.p50_gib > 0]
    spreads = [(need.p50_gib, max(math.log(need.p95_gib / need.p50_gib) / Z95, LEAST_SIGMA)) for need in known]

    def together(z: float) -> float:
        return sum(p50 * math.exp(sigma * z) for p50, sigma in spreads)

    if together(-_FAR) > usable_gib:
        return 0.0
    low, high = -_FAR, _FAR
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if together(middle) <= usable_gib else (low, middle)
    return max(0.0, 1.0 - len(needs) * _NORMAL.cdf(-low))


def ends_s(rests: Sequence[float]) -> list[float]:
    """Seconds until each of the jobs on a card has ended, given what each has left."""
    if len(rests) == 1:
        return list(rests)
    return [SWITCHING * sum(min(other, mine) for other in rests) for mine in rests]


def ends_within(works: Sequence[Work], probability: float) -> list[float]:
    """Seconds that no end exceeds with this probability, however the works hang together: each work is taken at a
    quantile that is passed only in its share of the other cases."""
    each = 1.0 - (1.0 - probability) / len(works)
    return ends_s([work.within(each) for work in works])


def served_s(mine: Presence, others: Sequence[Presence]) -> float:
    """Seconds of the card that a job has had since it began: those alone whole, those with others a share, less what
    the switching takes."""
    moments = sorted({mine.from_s, mine.to_s, *(end for one in others for end in (one.from_s, one.to_s))}, reverse=True)
    total = 0.0
    for early, late in pairwise(moments):
        if early > mine.from_s or late < mine.to_s:
            continue
        company = sum(one.from_s >= early and one.to_s <= late for one in others)
        total += (early - late) / (SWITCHING * (company + 1) if company else 1.0)
    return total
