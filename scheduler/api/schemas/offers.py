"""Offers, as sent and as received."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from predictor.layout import MAX_GPUS
from scheduler.api.schemas.common import Out, Usd

Word = Annotated[str, Field(min_length=1, max_length=200)]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")]
Gpus = Annotated[int, Field(ge=0, le=1_000_000)]
Price = Annotated[Decimal, Field(ge=0, le=1000, decimal_places=6, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=86_400 * 30, allow_inf_nan=False)]


class OfferOut(Out):
    """What a provider sells now: one GPU type in one region."""

    id: UUID
    provider: str
    region: str
    country: str | None
    provider_hq: str | None
    instance_type: str
    gpu_type: str
    node_gpus: int
    sold_gpus: list[int] = Field(description="GPU counts of one machine that are sold")
    max_nodes: int
    capacity_gpus: int
    free_gpus: int
    on_demand_usd_per_gpu_hour: Usd | None
    spot_usd_per_gpu_hour: Usd | None
    price_date: str
    billing_increment_s: int
    minimum_s: int
    provision_s: float
    interconnect_gbps: float | None
    egress_usd_per_gib: Usd | None = Field(description="For what leaves its network; null where no price list says")
    tenancy: str
    backend: str = Field(
        description="What runs jobs placed here: local, slurm, kubernetes, or simulated (no machine is rented)"
    )
    assumed: list[str] = Field(description="Fields that no price list states, nor anybody who put or changed it")
    source: str
    enabled: bool
    away: bool = Field(description="Its host is silent: nothing of it is free until that is heard again")
    updated_at: datetime


class OfferIn(BaseModel):
    """An offer to put in; one of the same provider, region, instance type and GPU type is replaced."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Word
    region: Annotated[str, Field(max_length=200)] = ""
    country: Country | None = None
    provider_hq: Country | None = None
    instance_type: Word
    gpu_type: Word
    node_gpus: Annotated[int, Field(ge=1, le=1024)]
    sold_gpus: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="By default the whole machine only"
    )
    max_nodes: Annotated[int, Field(ge=1, le=10_000)] = 1
    capacity_gpus: Gpus
    on_demand_usd_per_gpu_hour: Price | None = None
    spot_usd_per_gpu_hour: Price | None = None
    price_date: date
    billing_increment_s: Annotated[int, Field(ge=1, le=86_400)] = 1
    minimum_s: Annotated[int, Field(ge=0, le=86_400 * 30)] = 0
    provision_s: Seconds = 0
    interconnect_gbps: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    egress_usd_per_gib: Annotated[Decimal, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    tenancy: Literal["shared", "dedicated", "unknown"] = "unknown"
    backend: Literal["local", "simulated", "slurm", "kubernetes", "dstack"] = "simulated"

    @model_validator(mode="after")
    def _agree(self) -> OfferIn:
        if self.on_demand_usd_per_gpu_hour is None and self.spot_usd_per_gpu_hour is None:
            raise ValueError("give on_demand_usd_per_gpu_hour, spot_usd_per_gpu_hour or both")
        if self.node_gpus * self.max_nodes > MAX_GPUS:
            raise ValueError(
                f"node_gpus × max_nodes is {self.node_gpus * self.max_nodes}, more than the {MAX_GPUS} GPUs of the "
                "largest layout"
            )
        if max(self.sold_gpus or (1,)) > self.node_gpus:
            raise ValueError(f"sold_gpus holds {max(self.sold_gpus or ())}, but the machine has {self.node_gpus} GPUs")
        if self.backend == "kubernetes" and self.max_nodes > 1:
            raise ValueError(
                "a Job of a cluster runs on one node here: max_nodes must be 1 where backend is kubernetes"
            )
        return self


class OfferChange(BaseModel):
    """What may change of an offer; a field that is absent stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    capacity_gpus: Gpus = 0
    enabled: bool = True
    on_demand_usd_per_gpu_hour: Price | None = None
    spot_usd_per_gpu_hour: Price | None = None
    price_date: date | None = None

    @model_validator(mode="after")
    def _dated(self) -> OfferChange:
        if not self.model_fields_set:
            raise ValueError("nothing to change; give capacity_gpus, enabled or a price with its price_date")
        priced = self.model_fields_set & {"on_demand_usd_per_gpu_hour", "spot_usd_per_gpu_hour"}
        if priced and self.price_date is None:
            raise ValueError("a new price needs the day it was read: price_date")
        if self.price_date is not None and not priced:
            raise ValueError("price_date belongs to a new price")
        return self


class OffersStored(Out):
    """What putting an offer in did."""

    stored: int = Field(description="Offers that were added or took a new price")


class ImportOut(Out):
    """What became of a price list."""

    import_id: UUID
    format: str = Field(description="pythia, listing, gpuhunt or skypilot: known by the header", examples=["gpuhunt"])
    stored: int = Field(description="Offers that were added or took the price")
    older: int = Field(description="Prices older than the one in use: remembered, not put to use")
    quarantined: int = Field(description="Prices that are not believed: GET /v1/prices/quarantine lists them")
    skipped: dict[str, int] = Field(description="Lines that are no offer of ours, by reason")


class PriceOut(Out):
    """What an offer was, from a moment on."""

    price_date: str
    on_demand_usd_per_gpu_hour: Usd | None
    spot_usd_per_gpu_hour: Usd | None
    capacity_gpus: int
    enabled: bool
    source: str
    import_id: UUID | None
    inventory_version: int = Field(description="Decisions name the version they were made on")
    applied: bool = Field(description="False for a list older than the price in use: remembered, not put to use")
    recorded_at: datetime


class PriceImportOut(Out):
    """A price list that was taken in."""

    id: UUID
    format: str
    sha256: str
    lines: int
    stored: int
    older: int
    quarantined: int
    skipped: dict[str, int]
    oldest_price_date: str | None
    newest_price_date: str | None
    imported_at: datetime


class QuarantineOut(Out):
    """A price that is not believed, until somebody releases or drops it."""

    id: UUID
    provider: str
    region: str
    instance_type: str
    gpu_type: str
    on_demand_usd_per_gpu_hour: Usd | None
    spot_usd_per_gpu_hour: Usd | None
    price_date: str
    doubt: str = Field(description="below_band, above_band, fell or rose", examples=["below_band"])
    factor: float = Field(description="How far it lies outside")
    reason: str = Field(examples=["$0.0100 on demand is too low to be true: H100-SXM has cost $1.14 to $23.33 …"])
    state: str = Field(description="held, released or dropped")
    applied: bool | None = Field(
        description="Of a price that is released: whether its offer took it; false where a newer one is in use, which "
        "stays. null of one that is held or dropped"
    )
    held_at: datetime
