"""The economics, as sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

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


class LotOut(Out):
    """Some GPUs of one offer, and how work is laid out over them."""

    gpu_type: str
    gpu_count: int
    layout: dict[str, Any]
    provider: str
    region: str
    country: str | None
    spot: bool
    price_date: str
    usd_per_hour: Usd = Field(description="Of all GPUs together")


class TrustOut(Out):
    """How much a forecast is worth."""

    fit_probability: float | None
    basis: str
    in_domain: bool


class TokenCostOut(LotOut, TrustOut):
    """The tokens of one offer, GPU count and layout at its best operating point."""

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
    costs: list[TokenCostOut] = Field(description="Of every offer, count and layout that the work fits on")
    unfit: list[UnfitOut]


class DeploymentOut(LotOut):
    """A deployment that an API is compared with."""

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
    always_requests_per_day: float | None = Field(
        description="From here on some number of copies never costs more; before, whoever has to add one may pay more "
        "again. null: never"
    )
    crossing_if_slow: BreakEvenOut | None = Field(description="The same if every deployment is as slow as its p90")
    crossing_if_fast: BreakEvenOut | None
    lowest_utilisation: BreakEvenOut = Field(description="The deployment that comes nearest, reached or not")


class PriceListOut(Out):
    """The prices per token that were compared with."""

    name: str
    oldest: str = Field(description="Day of the oldest price of the list")
    newest: str
    doubts: list[str] = Field(description="Prices a factor of ten from those that ship, used all the same")


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


class PrefixPointOut(Out):
    """Both prices where all requests share so much of their prompts."""

    share: float
    cached_tokens: float
    api_request_usd: Usd
    own_request_usd: Usd = Field(description="At the question's max_utilisation")
    utilisation: float = Field(description="At which a deployment breaks even")
    utilisation_low: float
    utilisation_high: float


class CrossoverOut(Out):
    """When a deployment of one's own beats an API, the cheapest API per request first."""

    question: dict[str, Any]
    assumptions: list[str]
    model_version: str
    crossings: list[CrossingOut]
    curve: list[CurvePointOut] = Field(description="Against the first API listed")
    moves: list[MoveOut] = Field(description="Of the break-even utilisation against it, the largest first")
    shared_prefix: list[PrefixPointOut] = Field(
        description="On the deployment that wins first, or comes nearest, against it; from none of the prompt on"
    )
    price_list: PriceListOut


class RunTakesOut(Out):
    """A training run at the forecast's fast end, its median or its slow end; restarts are expected values in each."""

    hours: float = Field(description="From the order of the machines to the end")
    usd: Usd
    machine_usd: Usd
    storage_usd: Usd
    training_hours: float = Field(description="Bare work, as forecast")
    evaluation_hours: float
    checkpoint_hours: float = Field(description="That the work waits for checkpoints to be written")
    lost_hours: float = Field(description="Work done again, and restarts")
    interruptions: float = Field(description="Expected")
    checkpoint_interval_s: float


class TrainingRunCostOut(LotOut, TrustOut):
    """A training run on some GPUs of one offer, in the fastest layout that fits."""

    scaling_efficiency: float = Field(description="Throughput per GPU over that on the smallest count that fits")
    smallest_gpu_count: int
    interruptions_per_hour: float
    checkpoint_write_s: float
    p10: RunTakesOut
    p50: RunTakesOut
    p90: RunTakesOut


class TrainingRunOut(Out):
    """What a training run costs, the cheapest first."""

    question: dict[str, Any]
    assumptions: list[str]
    model_version: str
    checkpoint_gib: float
    pareto: list[TrainingRunCostOut] = Field(description="Each is sooner than all that are cheaper")
    best_of_each_gpu_type: list[TrainingRunCostOut]
    runs: list[TrainingRunCostOut]
    unfit: list[UnfitOut]
    hopeless: list[UnfitOut] = Field(description="Interrupted too often ever to get from checkpoint to checkpoint")


class WasteSumsOut(Out):
    """What was paid, and what of it was of no use."""

    paid_usd: Usd
    paid_gpu_hours: float
    usd: Usd = Field(description="Of no use")
    gpu_hours: float = Field(description="Of no use")
    gib_hours: float = Field(description="GPU memory that was paid for and not needed, as far as it was measured")


class WasteCauseOut(Out):
    """One cause; the causes add up to the total."""

    cause: str = Field(
        description="too_large_card, too_many_cards, idle_machine, out_of_memory, cold_start, not_kept or headroom"
    )
    usd: Usd
    gpu_hours: float
    gib_hours: float


class WasteGroupOut(WasteSumsOut):
    """One tenant, user or GPU type."""

    name: str | None = Field(description="null: no user is named in the job's label `user`, or a machine was idle")


class RightSizeOut(Out):
    """The cheapest candidate of the decision on which the measured peak would have fit."""

    gpu_type: str
    gpu_count: int
    provider: str
    usd: Usd = Field(description="Of the whole use, its run drawn out as the measured one was")


class JobWasteOut(WasteSumsOut):
    """A job with what it wasted."""

    job_id: UUID
    job: str
    tenant: str
    user: str | None
    gpu_type: str = Field(description="Of its last attempt")
    gpu_count: int
    cause: str = Field(description="The dearest")
    saving_usd: Usd = Field(description="That right-sizing would have saved")
    right_size: RightSizeOut | None


class WasteOut(Out):
    """What was paid for and not used."""

    since: datetime
    until: datetime
    tenant: str | None = Field(description="null: all of them")
    simulated: bool
    total: WasteSumsOut
    causes: list[WasteCauseOut]
    tenants: list[WasteGroupOut]
    users: list[WasteGroupOut]
    gpu_types: list[WasteGroupOut]
    saving_usd: Usd = Field(description="That right-sizing would have saved, cold starts of both included")
    right_sized_attempts: int
    jobs: list[JobWasteOut] = Field(description="The ten that wasted most")


class UsdQuantilesOut(Out):
    """Dollars over all draws."""

    p10: Usd
    p50: Usd
    p90: Usd


class PaybackOut(Out):
    """When owning has cost no more than this way, resale left out."""

    months: int | None = Field(description="Most likely; null: not within the horizon")
    probability: float = Field(description="That it is within the horizon")
    p10_months: float | None = Field(description="Over the draws in which it is")
    p50_months: float | None
    p90_months: float | None


class WayCostOut(Out):
    """What a way of coming by GPUs costs over the horizon, discounted."""

    way: str = Field(description="buy, reserved, on_demand, serverless or api")
    usd: Usd = Field(description="If everything is as is most likely")
    parts: dict[str, Usd] = Field(description="Of that; they add up, to the rounding of each")
    drawn: UsdQuantilesOut
    cheapest_probability: float
    saves_usd: Usd = Field(description="Net present value against renting on demand")
    cumulative_usd: list[Usd] = Field(description="To the end of each month from 0 on; resale comes in the last")
    payback: PaybackOut | None = Field(description="Of owning, against this way")


class RoiOut(Out):
    """Every way that has a price, the cheapest first."""

    question: dict[str, Any]
    assumptions: list[str]
    price_list: PriceListOut | None = Field(description="Null: no price per token was looked up")
    ways: list[WayCostOut]
