"""The economics, as sent."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from scheduler.api.schemas.common import Out, Usd


class TokenPriceOut(Out):
    """Dollars per million tokens, at the forecast's fast end, its median and its slow end."""

    low: Usd
    mid: Usd
    high: Usd


class QuantilesOut(Out):
    """A quantity's quantiles."""

    p10: float
    p50: float
    p90: float


class TokenCostOut(Out):
    """The tokens of one offer, GPU count and layout at its best operating point."""

    gpu_type: str
    gpu_count: int
    layout: dict[str, Any]
    provider: str
    region: str
    country: str | None
    spot: bool
    price_date: str
    usd_per_hour: Usd = Field(description="Of all GPUs together")
    precision: str = Field(description="What this card serves in")
    sequences_in_flight: int = Field(description="Over all replicas")
    stopped_by: str = Field(
        description="Why not more: memory, latency, rate (it would serve no more), engine (the longest batch tried)"
    )
    requests_per_second: QuantilesOut
    output_tokens_per_second: QuantilesOut
    ttft_s: QuantilesOut
    tpot_s: QuantilesOut
    prefill_share: float = Field(description="Of the machine's time")
    prefill_bound: str | None = Field(description="compute, bandwidth, communication or overhead")
    decode_bound: str | None
    input_usd_per_mtok: TokenPriceOut
    output_usd_per_mtok: TokenPriceOut | None
    blended_usd_per_mtok: TokenPriceOut
    peak_vram_p95_gib: float | None
    usable_vram_gib: float | None
    fit_probability: float | None
    basis: str
    in_domain: bool


class UnfitOut(Out):
    """A GPU type and count that is sold and allowed, and on which the work does not fit, or not in time."""

    gpu_type: str
    gpu_count: int


class TokensOut(Out):
    """What a million tokens cost, the cheapest blended token first."""

    question: dict[str, Any]
    assumptions: list[str]
    model_version: str
    best_of_each_gpu_type: list[TokenCostOut]
    costs: list[TokenCostOut]
    unfit: list[UnfitOut]


class DeploymentOut(Out):
    """A deployment that an API is compared with."""

    gpu_type: str
    gpu_count: int
    layout: dict[str, Any]
    provider: str
    region: str
    spot: bool
    usd_per_hour: Usd
    precision: str
    sequences_in_flight: int
    requests_per_day_at_most: float = Field(description="What it serves at full use, at the forecast's median")


class BreakEvenOut(Out):
    """From where a deployment is cheaper than an API."""

    deployment: DeploymentOut
    requests_per_day: float
    utilisation: float = Field(description="Of its capacity; it is planned up to the question's max_utilisation")
    utilisation_low: float = Field(description="At the fast end of the forecast")
    utilisation_high: float = Field(description="At its slow end")


class CrossingOut(Out):
    """One API against all deployments."""

    provider: str
    model_key: str
    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd
    cached_input_usd_per_mtok: Usd | None
    price_date: str
    request_usd: Usd
    crossing: BreakEvenOut | None = Field(description="The first that wins as traffic grows; null: never")
    crossing_if_slow: BreakEvenOut | None = Field(description="The same if every deployment is as slow as its p90")
    crossing_if_fast: BreakEvenOut | None
    lowest_utilisation: BreakEvenOut = Field(description="The deployment that comes nearest, reached or not")


class CurvePointOut(Out):
    """Dollars a day at some traffic."""

    requests_per_day: float
    api_usd: float
    dedicated_usd: float
    dedicated_low_usd: float
    dedicated_high_usd: float


class MoveOut(Out):
    """What one cause does to the break-even utilisation, by itself."""

    cause: str
    low_is: str
    low: float
    high_is: str
    high: float


class CrossoverOut(Out):
    """When a deployment of one's own beats an API, the cheapest API per request first."""

    question: dict[str, Any]
    assumptions: list[str]
    model_version: str
    crossings: list[CrossingOut]
    curve: list[CurvePointOut] = Field(description="Against the first API listed")
    moves: list[MoveOut] = Field(description="Of the break-even utilisation against it, the largest first")
