"""The question whether to own, to rent or to pay per token, as people write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from predictor.hardware import GpuType
from scheduler.domain.errors import InvalidSpec
from scheduler.economics.api_price_list import WithApiPrices
from scheduler.economics.roi import Means, Triangle
from scheduler.economics.spec import MaxUtilisation, TokensSpec, parse_spec

SERVER_SHARE = 10_200 / (8 * 700)
"""Power of a server over that of its GPUs: a DGX H100 draws up to 10.2 kW, its eight cards 700 W each (NVIDIA DGX
H100 user guide, power specifications)."""

IDLE_SHARE = 0.3
"""Of a server's power, what is drawn without work: assumed."""
IDLE_SAID = f"idle power: {IDLE_SHARE:g} of full"


class Range(BaseModel):
    """What something may be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: Annotated[float, Field(allow_inf_nan=False)]
    mid: Annotated[float, Field(allow_inf_nan=False)]
    high: Annotated[float, Field(allow_inf_nan=False)]

    @model_validator(mode="after")
    def _ascend(self) -> Range:
        if not self.low <= self.mid <= self.high:
            raise ValueError(f"low {self.low:g}, mid {self.mid:g} and high {self.high:g} must not fall")
        return self

    def triangle(self) -> Triangle:
        """The same for arithmetic."""
        return Triangle(low=self.low, mid=self.mid, high=self.high)


def _certain(value: Any) -> Any:
    """A number is a range without width."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"low": value, "mid": value, "high": value}
    return value


Uncertain = Annotated[Range, BeforeValidator(_certain, json_schema_input_type=float | Range)]
Price = Annotated[float, Field(gt=0, le=1e4, allow_inf_nan=False)]

Watts = Annotated[float, Field(gt=0, le=1e5)]
Pue = Annotated[float, Field(ge=1, le=10)]
Hosting = Annotated[float, Field(ge=0, le=1e5)]

PUE = 1.3
HOSTING_USD_PER_KW_MONTH = 150.0
USD_PER_KWH = Range(low=0.08, mid=0.12, high=0.2)
VALUE_KEPT = Range(low=0.4, mid=0.6, high=0.75)
WATTS_SAID = "the card's, and a DGX H100's share of a server beside it"

_BOUNDS = {
    "utilisation": (0.0, 10.0), "growth": (-0.99, 2.0), "price_fall": (-1.0, 0.99), "usd_per_kwh": (0.0, 100.0),
    "value_kept": (0.0, 1.0),
}  # fmt: skip


class RoiSpec(WithApiPrices):
    """A fleet, what it would cost, and the prices of doing without."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu_type: Annotated[str, Field(min_length=1, max_length=200)] = Field(examples=["H100-SXM"])
    gpus: Annotated[int, Field(ge=1, le=100_000)] = Field(examples=[8])
    months: Annotated[int, Field(ge=1, le=120)] = 36
    discount_rate: Annotated[float, Field(ge=0, le=10)] = Field(default=0.08, description="Of a year: assumed")
    max_utilisation: MaxUtilisation = Field(
        default=0.8, description="Of a fleet, above which machines are rented on demand, and of those"
    )
    capital_usd_per_gpu: Annotated[float, Field(gt=0, le=1e7)] | None = Field(
        default=None, description="With its share of server and network"
    )
    reserved_usd_per_gpu_hour: Price | None = None
    on_demand_usd_per_gpu_hour: Price | None = Field(default=None, description="null: the cheapest offer's")
    serverless_usd_per_gpu_hour: Price | None = Field(default=None, description="Of a busy hour")
    api_usd_per_gpu_hour: Price | None = Field(
        default=None, description="What an API charges for the work that such a GPU does in a busy hour"
    )
    work: TokensSpec | None = Field(
        default=None,
        description="Instead: the requests that the fleet serves; an API's price of them, and how many "
        "a GPU serves in a busy hour, give api_usd_per_gpu_hour",
    )
    api_provider: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Of the work; the cheapest for it otherwise"
    )
    watts_per_gpu: Watts | None = Field(
        default=None, description="With its share of the server; null: the card's and a DGX H100's share beside it"
    )
    pue: Pue = Field(default=PUE, description="Assumed")
    hosting_usd_per_kw_month: Hosting = Field(default=HOSTING_USD_PER_KW_MONTH, description="Assumed")
    staff_usd_per_month: Annotated[float, Field(ge=0, le=1e8)] = Field(
        default=5000.0, description="That owning takes above the other ways: assumed"
    )
    utilisation: Uncertain = Field(
        default=Range(low=0.2, mid=0.4, high=0.7), description="Demand of the first month, as a share of the fleet"
    )
    growth: Uncertain = Field(default=Range(low=0.0, mid=0.2, high=0.6), description="Of demand, in a year: assumed")
    price_fall: Uncertain = Field(
        default=Range(low=0.0, mid=0.15, high=0.35), description="Of prices but reserved ones, in a year: assumed"
    )
    usd_per_kwh: Uncertain = Field(default=USD_PER_KWH, description="Assumed")
    value_kept: Uncertain = Field(default=VALUE_KEPT, description="Of capital, in a year: assumed")

    @model_validator(mode="after")
    def _agree(self) -> RoiSpec:
        for name, (least, most) in _BOUNDS.items():
            given: Range = getattr(self, name)
            if not (least <= given.low and given.high <= most):
                raise ValueError(f"{name} is {given.low:g} to {given.high:g}, must be within {least:g} and {most:g}")
        if self.work is not None and self.api_usd_per_gpu_hour is not None:
            raise ValueError("work and api_usd_per_gpu_hour contradict each other: give one of them")
        if self.work is None and (self.api_provider is not None or self.api_prices is not None):
            raise ValueError("api_provider and api_prices are those of the work that an API would do: give work")
        ways = ("capital_usd_per_gpu", "reserved_usd_per_gpu_hour", "serverless_usd_per_gpu_hour",
                "api_usd_per_gpu_hour", "work")  # fmt: skip
        if all(getattr(self, way) is None for way in ways):
            raise ValueError(f"nothing to compare renting on demand with: give one of {', '.join(ways)}")
        return self

    def means(self, gpu: GpuType, cheapest_usd: float | None, certain: Mapping[str, float] | None = None) -> Means:
        """For arithmetic; InvalidSpec where nobody sells such a GPU on demand and no price was given.

        `certain`: values of what is else uncertain, whatever was asked.
        """
        on_demand = self.on_demand_usd_per_gpu_hour or cheapest_usd
        if on_demand is None:
            raise InvalidSpec(f"no offer sells {self.gpu_type} on demand: give on_demand_usd_per_gpu_hour")
        return Means(
            gpus=self.gpus, months=self.months, discount_rate=self.discount_rate, max_utilisation=self.max_utilisation,
            watts_per_gpu=self.watts_per_gpu or gpu.tdp_w * SERVER_SHARE, idle_share=IDLE_SHARE, pue=self.pue,
            capital_usd_per_gpu=self.capital_usd_per_gpu, hosting_usd_per_kw_month=self.hosting_usd_per_kw_month,
            staff_usd_per_month=self.staff_usd_per_month, on_demand_usd=on_demand,
            reserved_usd=self.reserved_usd_per_gpu_hour, serverless_usd=self.serverless_usd_per_gpu_hour,
            api_usd=self.api_usd_per_gpu_hour, **self._uncertain(certain or {}),
        )  # fmt: skip

    def _uncertain(self, certain: Mapping[str, float]) -> dict[str, Triangle]:
        return {
            name: Triangle(low=certain[name], mid=certain[name], high=certain[name])
            if name in certain
            else getattr(self, name).triangle()
            for name in _BOUNDS
        }

    def assumed(self, means: Means) -> list[str]:
        """The defaults that were taken."""
        said = {
            "on_demand_usd_per_gpu_hour": f"{means.on_demand_usd:g} (the cheapest offer)",
            "watts_per_gpu": f"{means.watts_per_gpu:.0f} ({WATTS_SAID})",
        }
        notes = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if (
                name in self.model_fields_set
                or name == "api_prices"
                or field.is_required()
                or (value is None and name not in said)
            ):
                continue
            shown = f"{value.low:g} .. {value.mid:g} .. {value.high:g}" if isinstance(value, Range) else value
            notes.append(f"{name}: {said.get(name, shown)}")
        return notes if means.capital_usd_per_gpu is None else [*notes, IDLE_SAID]


def parse_roi_spec(raw: object) -> RoiSpec:
    """Read a mapping; InvalidSpec with one sentence naming the first thing wrong."""
    return parse_spec(RoiSpec, raw, "roi")
