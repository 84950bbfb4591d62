"""A decision as a value: a placement, a wait or a refusal, each with the candidates that were considered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from predictor.forecast import Forecast
from predictor.layout import Layout
from scheduler.domain.offers import Offer
from scheduler.domain.options import Options
from scheduler.domain.sharing import Sharing
from scheduler.domain.states import DecisionKind
from scheduler.domain.verdicts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a candidate would take: seconds from the order to the end of the work, and micro-dollars."""

    use_p50_s: float
    use_p90_s: float
    done_s: float
    """Not exceeded with the probability that a deadline is asked to be met with."""
    p50_micros: int
    p90_micros: int
    """Of all attempts together."""
    try_p90_micros: int
    """Of one that does not run out of memory."""
    expected_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One candidate with its forecast and its verdict."""

    offer: Offer
    gpu_count: int
    layout: Layout | None
    """None where the offer was ruled out before any layout was thought of."""
    spot: bool
    micros_per_gpu_hour: int
    provision_s: float
    """Until its machine can take work; less than the offer says where one is warm."""
    forecast: Forecast | None
    fit_probability: float | None
    """After what earlier attempts have taught; the forecast's own stays in the forecast."""
    estimate: Estimate | None
    verdict: Verdict
    variant_assumed: str | None = None
    sharing: Sharing | None = None
    """With whom it would share a card that is held already; None for a card of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Naive:
    """What a catalogue sorted by price would have chosen: the lowest price per hour whose memory holds the weights."""

    offer: Offer
    gpu_count: int
    layout: Layout
    micros_per_hour: int
    fit_probability: float
    expected_micros: int
    """With what is lost if it runs out of memory, but without the second try that it would then need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """What a decision looked at."""

    candidates: tuple[Judged, ...]
    """The best of every GPU type and count, the chosen one first, then the nearest to being chosen."""
    total: int
    """All candidates, listed or not: offer × GPU count × layout."""
    rejected_by_reason: Mapping[str, int]
    """How many each reason rejected, the unlisted ones included."""
    naive: Naive | None
    oldest_price_date: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The job can run here and now."""

    chosen: Judged
    reason: str
    considered: Considered

    kind = DecisionKind.PLACEMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The job fits somewhere, but not now."""

    reason: str
    considered: Considered
    options: Options
    """Where it could run once capacity returns, the best first."""

    kind = DecisionKind.WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The job fits nowhere, or nothing that it fits meets its constraints."""

    reason: str
    considered: Considered

    kind = DecisionKind.REFUSAL


Decision = Placement | Wait | Refusal
