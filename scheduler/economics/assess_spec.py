"""The questionnaire of an assessment: what is paid for tokens now, what it must do, and what binds it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scheduler.domain.spec import Constraints
from scheduler.economics.api_price_list import WithApiPrices
from scheduler.economics.roi_spec import (
    HOSTING_USD_PER_KW_MONTH,
    IDLE_SAID,
    PUE,
    USD_PER_KWH,
    VALUE_KEPT,
    WATTS_SAID,
    Hosting,
    Pue,
    RoiSpec,
    Watts,
)
from scheduler.economics.spec import MaxUtilisation, TokensSpec, parse_spec

MOST_MODELS = 8
"""Of one questionnaire: each takes some ten seconds of a processor."""

PEAK = 2.0
"""Requests in the busiest minute over the day's mean: a plain wave, assumed unless given."""

Text = Annotated[str, Field(min_length=1, max_length=200)]
Money = Annotated[Decimal, Field(gt=0, le=Decimal(10**9), max_digits=18, allow_inf_nan=False)]
Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2100, 1, 1))]
Country = Annotated[str, Field(pattern=r"^[A-Za-z]{2}$")]


class ModelUse(TokensSpec):
    """One model's stream of requests, and what it costs now."""

    monthly_usd: Money | None = Field(
        default=None, description="Token bill of a month before credits; absent: traffic at the list price"
    )
    requests_per_day: Annotated[float, Field(ge=1e-6, le=1e9, allow_inf_nan=False)] | None = Field(
        default=None, description="Absent: what the bill buys at the list price"
    )
    provider: Text | None = Field(default=None, description="Who is paid now; absent: the cheapest of the list")
    provider_hq: Country | None = Field(default=None, description="Where that company sits, if the list does not say")
    served_in: Country | None = Field(
        default=None, description="Where its machines stand, as its contract says; what is unknown satisfies nothing"
    )

    @model_validator(mode="after")
    def _known(self) -> ModelUse:
        if self.monthly_usd is None and self.requests_per_day is None:
            raise ValueError("give monthly_usd, requests_per_day or both: they say how much is used")
        return self


class Credits(BaseModel):
    """What an API provider has granted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd: Money = Field(description="Left on the day of the assessment, for all models together")
    expires: Day


class OwnPrices(BaseModel):
    """Prices of one GPU type that no list has; a way without one is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu_type: Text = Field(examples=["H100-SXM"])
    capital_usd_per_gpu: Annotated[float, Field(gt=0, le=1e7)] | None = None
    reserved_usd_per_gpu_hour: Annotated[float, Field(gt=0, le=1e4)] | None = None
    watts_per_gpu: Watts | None = Field(
        default=None, description="With its share of the server; null: the card's and a DGX H100's share beside it"
    )
    pue: Pue = Field(default=PUE, description="Assumed")
    hosting_usd_per_kw_month: Hosting = Field(default=HOSTING_USD_PER_KW_MONTH, description="Assumed")
    usd_per_kwh: Annotated[float, Field(ge=0, le=100)] = Field(default=USD_PER_KWH.mid, description="Assumed")
    value_kept: Annotated[float, Field(ge=0, le=1)] = Field(
        default=VALUE_KEPT.mid, description="Of capital, in a year: assumed"
    )

    @model_validator(mode="after")
    def _one(self) -> OwnPrices:
        if self.capital_usd_per_gpu is None and self.reserved_usd_per_gpu_hour is None:
            raise ValueError("give capital_usd_per_gpu, reserved_usd_per_gpu_hour or both, or leave it out")
        return self

    def roi(self, months: int) -> RoiSpec:
        """The same as a question of `roi`; staff is part of what running a model takes, and counted there."""
        return RoiSpec.model_validate(self.model_dump() | {"gpus": 1, "months": months, "staff_usd_per_month": 0.0})

    def assumed(self) -> list[str]:
        """The defaults that buying rests on; a reserved price holds all of it."""
        if self.capital_usd_per_gpu is None:
            return []
        names = ("pue", "hosting_usd_per_kw_month", "usd_per_kwh", "value_kept")
        said = [f"own.{name}: {getattr(self, name):g}" for name in names if name not in self.model_fields_set]
        if self.watts_per_gpu is None:
            said.append(f"own.watts_per_gpu: {WATTS_SAID}")
        return [*said, IDLE_SAID, "staff for what is bought: within operations_usd_per_month"]


class AssessSpec(WithApiPrices):
    """A questionnaire. Prices stay as they are over the horizon; what would flip the answer says how far they may."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Annotated[list[ModelUse], Field(min_length=1, max_length=MOST_MODELS)]
    as_of: Day | None = Field(default=None, description="The day of the bills; today if absent")
    growth: Annotated[float, Field(ge=-0.99, le=20, allow_inf_nan=False)] = Field(
        default=0.0, description="Of the traffic, in a year: 0.5 is half as much again"
    )
    peak_over_mean: Annotated[float, Field(ge=1, le=20, allow_inf_nan=False)] = Field(
        default=PEAK, description="Requests in the busiest minute over the day's mean"
    )
    max_utilisation: MaxUtilisation = Field(
        default=0.8, description="Share of a deployment's capacity that its busiest minute may take"
    )
    operations_usd_per_month: Annotated[float, Field(ge=0, le=1e8, allow_inf_nan=False)] = Field(
        default=0.0, description="What running one model oneself takes beside machines, staff too; nothing is assumed"
    )
    constraints: Constraints = Field(
        default_factory=Constraints, description="Of all models that state none of their own"
    )
    credits: Credits | None = None
    decide_by: Day | None = Field(default=None, description="The day on which the results must be there")
    horizon_months: Annotated[int, Field(ge=1, le=60)] = Field(default=24, description="From the switch on")
    own: OwnPrices | None = None

    def constraints_of(self, use: ModelUse) -> Constraints:
        """Its own, or those of all."""
        return use.constraints if "constraints" in use.model_fields_set else self.constraints

    def assumed(self) -> list[str]:
        """The defaults that were taken and matter."""
        names = ("growth", "peak_over_mean", "max_utilisation", "operations_usd_per_month", "horizon_months")
        said = [f"{name}: {getattr(self, name):g}" for name in names if name not in self.model_fields_set]
        own = [] if self.own is None else self.own.assumed()
        return [*said, *own, "prices of APIs and GPUs: as today over the whole horizon"]


def parse_assess_spec(raw: object) -> AssessSpec:
    """Read a mapping; InvalidSpec with one sentence naming the first thing wrong."""
    return parse_spec(AssessSpec, raw, "assess")
