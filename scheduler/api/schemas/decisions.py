"""Decisions and their candidates, as sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from scheduler.api.schemas.common import Out, Usd
from scheduler.domain.states import DecisionKind

FORECAST_EXAMPLE = {
    "gpu_type": "H100-SXM",
    "layout": {
        "gpu_count": 1, "tensor_parallel": 1, "pipeline_parallel": 1, "data_parallel": 1, "context_parallel": 1,
        "expert_parallel": 1, "data_parallel_attention": False, "sharding": "none",
    },
    "peak_vram_gib": {"p50": 58.1, "p95": 63.4},
    "usable_vram_gib": 79.65,
    "fit_probability": 0.998,
    "vram_breakdown_gib": {
        "weights": 15.0, "gradients": 15.0, "optimizer": 15.0, "activations": 11.3, "kv_cache": 0.0, "overhead": 1.8,
    },
    "tokens_per_second": {"p10": 8600.0, "p50": 9700.0, "p90": 10400.0},
    "step_time_s": {"p10": 6.3, "p50": 6.8, "p90": 7.6},
    "runtime_s": {"p10": 10600.0, "p50": 11400.0, "p90": 14100.0},
    "startup_s": 45.0,
    "max_batch_size": None,
    "basis": "learned",
    "in_domain": True,
    "assumptions": ["attention: flash"],
    "model_version": "2026-11-26.1",
}  # fmt: skip


class CostOut(Out):
    """What the whole job would cost, provisioning and start-up included."""

    p50: Usd
    p90: Usd = Field(description="Of all attempts together; max_cost_usd binds it")
    expected: Usd = Field(description="With the chance of running out of memory priced in; what is compared")


class CandidateOut(Out):
    """An offer with a layout, its forecast, and what became of it."""

    rank: int = Field(description="1 is the chosen one or, where none was, the nearest miss")
    offer_id: UUID
    provider: str
    region: str
    country: str | None
    gpu_type: str
    gpu_count: int
    layout: dict[str, Any]
    spot: bool
    usd_per_hour: Usd | None = Field(description="Of the whole placement")
    price_date: str
    provision_s: float = Field(description="Until the machine is there")
    forecast: dict[str, Any] | None = Field(
        description="As of POST /v1/predictions; null where a constraint ruled it out before",
        examples=[FORECAST_EXAMPLE],
    )
    fit_probability: float | None = Field(description="After what earlier attempts have taught")
    cost_usd: CostOut | None
    verdict: str = Field(description="chosen or rejected")
    reason: str = Field(description="A reason code: chosen, vram, deadline, dearer …", examples=["vram"])
    reason_number: float | None = Field(description="By how much; the code says of what", examples=[18.4])
    reason_text: str = Field(examples=["vram: short by 18.4 GiB"])
    sharing: dict[str, Any] | None = Field(
        description="With which jobs it would share a card that is held already, the probability that all fit "
        "together, and how long it takes beside them (`use_s`, from the order to the end); null for a card of its own"
    )


class FallbackOut(Out):
    """Where the job would go if the placement ran out of memory."""

    gpu_type: str
    gpu_count: int
    provider: str
    region: str
    within_budget: bool = Field(description="What both tries cost at p90 stays below max_cost_usd")


class DecisionOut(Out):
    """A placement, a wait or a refusal, with the candidates that were considered and why each lost."""

    id: UUID | None = Field(description="null for a plan, which is not kept")
    job_id: UUID | None
    number: int = Field(description="1 for a job's first decision")
    kind: DecisionKind
    reason: str = Field(description="Why this placement won, or why there is none")
    objective: str
    spec: dict[str, Any] = Field(description="The job spec as it was sent")
    model_version: str
    model_observations: int | None = Field(description="Of a plan: how many observations the predictor was trained on")
    in_domain: bool | None = Field(description="Whether the predictor has seen such jobs; null without a forecast")
    candidates_considered: int
    rejected_by_reason: dict[str, int]
    price_date: str | None
    inventory_version: int | None = Field(
        description="The inventory it was made on; null without a database, and at the prices of a day"
    )
    naive_choice: dict[str, Any] | None = Field(
        description="The lowest price per hour whose memory holds the weights: what sorting a catalogue would take"
    )
    naive_cost_usd: Usd | None
    assignment: dict[str, Any] | None = Field(
        description="The round of waiting jobs that it was part of: method, cost, bound and gap; null for one by itself"
    )
    prediction_ms: float
    decided_at: datetime
    if_out_of_memory: FallbackOut | None = Field(
        description="Of a plan; null where a crash would end the job, and in what was stored"
    )
    candidates: list[CandidateOut] = Field(description="The best of every GPU type and count, best first")
