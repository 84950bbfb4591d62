"""What the stores give: rows as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from scheduler.domain.offers import Offer
from scheduler.domain.states import AttemptState, DecisionKind, JobState, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """One job as it stands."""

    id: UUID
    tenant_id: UUID
    name: str
    state: JobState
    spec: Mapping[str, Any]
    """As it was sent."""
    priority: int
    max_attempts: int
    attempts_made: int
    spent_micros: int
    """What all ended attempts cost."""
    reason: str | None
    simulated: bool
    cancel_requested_at: datetime | None
    created_at: datetime
    ended_at: datetime | None
    next_decision_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateView:
    """A candidate of a decision as it stood when the decision was made, in the form in which it is sent and stored."""

    rank: int
    offer_id: UUID
    provider: str
    region: str
    country: str | None
    gpu_type: str
    gpu_count: int
    layout: Mapping[str, Any]
    spot: bool
    usd_per_hour: str | None
    """Of the whole placement, as decimal text; None without a price."""
    price_date: str
    provision_s: float
    """Until the machine is there."""
    forecast: Mapping[str, Any] | None
    fit_probability: float | None
    """After what earlier attempts have taught."""
    cost_usd: Mapping[str, str] | None
    """`p50`, `p90` and `expected` as decimal text; None without a run time."""
    verdict: str
    """chosen or rejected"""
    reason: str
    """A code of `scheduler.domain.verdicts.Code`."""
    reason_number: float | None
    reason_text: str
    sharing: Mapping[str, Any] | None = None
    """With whom it would share a card that is held already; None for a card of its own."""


class Listed(tuple[CandidateView, ...]):  # noqa: SLOT001 - what is written once is kept beside
    """The candidates of a decision in the order of rank."""

    @cached_property
    def json(self) -> str:
        """What is stored, and what is sent: a hundred kilobytes, so it is written once."""
        return to_json(tuple(self)).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """A placement, a wait or a refusal, with its candidates: the best of every GPU type and count."""

    id: UUID | None
    """None for a plan: nothing of it is stored."""
    job_id: UUID | None
    number: int
    kind: DecisionKind
    reason: str
    objective: str
    spec: Mapping[str, Any]
    model_version: str
    in_domain: bool | None
    candidates_considered: int
    rejected_by_reason: Mapping[str, int]
    price_date: str | None
    """The oldest price that was looked at."""
    inventory_version: int | None
    """Which inventory was looked at."""
    naive_cost_micros: int | None
    naive_choice: Mapping[str, Any] | None
    """The lowest price per hour whose memory holds the weights."""
    expected_cost_micros: int | None
    """Of the placement, where it is one."""
    assignment: Mapping[str, Any] | None = None
    """The round of waiting jobs that it was part of."""
    prediction_ms: float
    decided_at: datetime
    candidates: Listed

    @property
    def chosen(self) -> CandidateView | None:
        """The placement, where there is one."""
        return next((candidate for candidate in self.candidates if candidate.verdict == "chosen"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One try as it stands. Costs are micro-dollars, times of use are seconds."""

    id: UUID
    job_id: UUID
    decision_id: UUID
    number: int
    state: AttemptState
    outcome: Outcome | None
    backend: str
    offer_id: UUID
    provider: str
    region: str
    gpu_type: str
    gpu_count: int
    layout: Mapping[str, Any]
    spot: bool
    micros_per_gpu_hour: int
    forecast: Mapping[str, Any]
    reserved_at: datetime
    claimed_at: datetime | None
    started_at: datetime | None
    running_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    reason: str | None
    runtime_s: float | None
    billed_s: int | None
    cost_micros: int | None
    peak_vram_gib: float | None
    peak_allocated_gib: float | None
    vram_metric: str | None
    peak_rss_gib: float | None
    simulated: bool
    card_id: UUID | None
    """The card that it may share; None where it has its place to itself."""
    shared: bool
    """Whether another job was on its card meanwhile; known when it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """Something that happened to a job."""

    id: int
    job_id: UUID
    attempt_id: UUID | None
    kind: str
    from_state: str | None
    to_state: str | None
    data: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """A piece of what an attempt printed; ids ascend in the order of collection."""

    id: int
    attempt_id: UUID
    stream: str
    offset: int
    text: str
    collected_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationView:
    """An observation in its import form."""

    id: UUID
    source: str
    source_id: str
    kind: str
    body: Mapping[str, Any]
    attempt_id: UUID | None
    observed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """A version of the predictor, without its bundle."""

    version: str
    rows: int
    metrics: Mapping[str, Any]
    comparison: Mapping[str, Any] | None
    champion: bool
    created_at: datetime
    promoted_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferView:
    """An offer as the inventory keeps it."""

    offer: Offer
    enabled: bool
    away: bool
    """Its host is silent, so nothing of it is free."""
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceView:
    """What an offer was, from a moment on. Prices are micro-dollars per GPU-hour."""

    price_date: str
    on_demand_micros_per_gpu_hour: int | None
    spot_micros_per_gpu_hour: int | None
    capacity_gpus: int
    enabled: bool
    source: str
    import_id: UUID | None
    inventory_version: int
    applied: bool
    """False for a list older than the one that was in use."""
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceImportView:
    """A price list that was taken in, and what became of its lines."""

    id: UUID
    format: str
    sha256: str
    lines: int
    stored: int
    older: int
    quarantined: int
    skipped: Mapping[str, int]
    oldest_price_date: str | None
    newest_price_date: str | None
    imported_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineView:
    """A price that is not believed, with the offer that it would make."""

    id: UUID
    offer: Offer
    doubt: str
    factor: float
    reason: str
    state: str
    import_id: UUID | None
    held_at: datetime
    decided_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantView:
    """A tenant with its share and quotas."""

    id: UUID
    name: str
    share: float
    max_gpus: int | None
    max_micros_per_month: int | None
    share_cards: bool
    """Whether its jobs may be put on one card together."""
    created_at: datetime
