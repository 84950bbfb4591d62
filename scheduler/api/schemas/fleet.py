"""A fleet's ways to serve a stream, as sent."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from scheduler.api.schemas.common import Out, Usd
from scheduler.api.schemas.economics import DeploymentOut, PriceListOut


class TrafficOut(Out):
    """The requests that every way has served."""

    name: str
    requests: int
    horizon_s: float = Field(description="How long the dedicated stand: a day, or the length of a trace")
    mean_rps: float
    peak_rps: float = Field(description="In the busiest 288th of the horizon: five minutes of a day")
    mean_input_tokens: float
    mean_output_tokens: float


class PercentilesOut(Out):
    """Seconds."""

    p50: float
    p95: float
    p99: float


class FleetDeploymentOut(DeploymentOut):
    """One replica."""

    billing_increment_s: int
    minimum_s: int
    provision_s: float = Field(description="Until the machine is there; not billed")
    start_s: float = Field(description="Process, weights and engine, until it serves; billed")


class WayEndOut(Out):
    """The same choice where every replica is as fast as the forecast's p10, or as slow as its p90."""

    cost_usd: Usd
    usd_per_mtok: Usd
    keeps_limit: bool
    queue_s: PercentilesOut
    ttft_s: PercentilesOut
    cold_starts: int
    utilisation: float
    replicas: list[float]


class WayOut(Out):
    """One way to serve the stream."""

    way: str = Field(description="api, dedicated, scale_to_zero or hybrid")
    cost_usd: Usd = Field(description="Of all requests")
    usd_per_mtok: Usd = Field(description="Per million tokens, input and output together")
    keeps_limit: bool = Field(description="An API's waits are not known and taken as short enough")
    deployment: FleetDeploymentOut | None
    dedicated_replicas: int
    idle_timeout_s: float | None
    queue_s: PercentilesOut | None
    ttft_s: PercentilesOut | None = Field(description="With the wait for a place")
    cold_starts: int
    utilisation: float | None = Field(
        description="Work done over what the replicas could have done in the time that they were paid for"
    )
    replica_s: float = Field(description="Seconds of replicas, before increments and minimums")
    replicas: list[float] = Field(description="Mean number in each 288th of the horizon")
    fast: WayEndOut | None = Field(description="Null for an API; above 2 million requests for all but the best way")
    slow: WayEndOut | None


class FleetPointOut(Out):
    """The hybrid with so many dedicated replicas."""

    dedicated_replicas: int
    idle_timeout_s: float | None
    cost_usd: Usd
    ttft_p95_s: float | None
    cold_starts: int
    keeps_limit: bool


class FleetApiOut(Out):
    """The API that was compared with."""

    provider: str
    model_key: str
    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd
    cached_input_usd_per_mtok: Usd | None
    price_date: str


class FleetOut(Out):
    """Ways to serve a stream: those that keep the limit by their cost, then the others."""

    question: dict[str, Any]
    assumptions: list[str]
    model_version: str
    traffic: TrafficOut
    api: FleetApiOut | None = Field(description="Null where nobody sells the model by the token")
    price_list: PriceListOut
    ways: list[WayOut]
    curve: list[FleetPointOut] = Field(description="Of the hybrid's deployment, by dedicated replicas")
