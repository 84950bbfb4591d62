"""A list of API prices as it is asked with, and which of its prices are hard to believe.

A price that cannot be true refuses the list. One that is only far from what the list that ships has seen is used,
since it may be a contract of the asker's own, and named in the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from predictor.workloads.spec import ModelSource
from scheduler.economics.api_prices import (
    HIGHEST_USD_PER_MTOK,
    MOST_PRICES,
    SHIPPED,
    ApiPrice,
    read_api_prices,
    served_name,
)

JUMP = 10
"""By which factor a price may leave what the shipped list has for that provider's model, or else for the model."""

Text = Annotated[str, Field(min_length=1, max_length=200)]
Usd = Annotated[Decimal, Field(gt=0, le=HIGHEST_USD_PER_MTOK, max_digits=18, allow_inf_nan=False)]


class ApiPriceIn(BaseModel):
    """One model of one provider, as in `datasets/`; dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Text
    model_key: Text = Field(description="As the provider's API names it")
    model: Text = Field(description="The same model's known id")
    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd
    cached_input_usd_per_mtok: Usd | None = None
    provider_hq: Text | None = None
    price_date: date
    source: Text = "given with the question"

    @model_validator(mode="after")
    def _cached_is_cheaper(self) -> ApiPriceIn:
        if self.cached_input_usd_per_mtok is not None and self.cached_input_usd_per_mtok > self.input_usd_per_mtok:
            raise ValueError("cached_input_usd_per_mtok is above input_usd_per_mtok")
        return self

    def price(self) -> ApiPrice:
        """The same for arithmetic."""
        return ApiPrice(
            provider=self.provider, model_key=self.model_key, model=self.model, input_usd=self.input_usd_per_mtok,
            output_usd=self.output_usd_per_mtok, cached_input_usd=self.cached_input_usd_per_mtok,
            provider_hq=self.provider_hq, price_date=self.price_date.isoformat(),
        )  # fmt: skip


class WithApiPrices(BaseModel):
    """A question that reads prices per token."""

    api_prices: Annotated[list[ApiPriceIn], Field(min_length=1, max_length=MOST_PRICES)] | None = Field(
        default=None, exclude=True, description="Instead of the list that ships; the answer does not repeat it"
    )

    @model_validator(mode="after")
    def _once_each(self) -> WithApiPrices:
        seen: set[tuple[str, str]] = set()
        for price in self.api_prices or ():
            identity = (price.provider.casefold(), price.model_key.casefold())
            if identity in seen:
                raise ValueError(f"api_prices has {price.model_key} of {price.provider} twice")
            seen.add(identity)
        return self

    def price_list(self, models: ModelSource) -> PriceList:
        """The prices to answer with."""
        if self.api_prices is None:
            return PriceList(name=SHIPPED, prices=tuple(read_api_prices()), doubts=())
        prices = [one.price() for one in self.api_prices]
        return PriceList(
            name="given with the question", prices=tuple(prices),
            doubts=tuple(doubts(prices, read_api_prices(), models)),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Prices, where they are from, and what is hard to believe about them."""

    name: str
    prices: tuple[ApiPrice, ...]
    doubts: tuple[str, ...]
    """One sentence each."""


def doubts(prices: Sequence[ApiPrice], shipped: Sequence[ApiPrice], models: ModelSource) -> Iterator[str]:
    """Prices a factor of ten or more from those that ship: of that provider's model, or else of the model."""
    names = {name: served_name(name, models) for name in {one.model for one in (*prices, *shipped)}}
    for price in prices:
        same = [one for one in shipped if names[one.model] == names[price.model]]
        known = [one for one in same if one.provider.casefold() == price.provider.casefold()] or same
        if not known:
            continue
        whose = price.provider if known[0].provider.casefold() == price.provider.casefold() else "all providers"
        for what, usd, seen in (
            ("input", price.input_usd, [one.input_usd for one in known]),
            ("output", price.output_usd, [one.output_usd for one in known]),
        ):
            low, high = min(seen), max(seen)
            if usd >= JUMP * high or usd * JUMP <= low:
                factor = f"{usd / high:.0f} times" if usd > high else f"a {low / usd:.0f}th of"
                yield (
                    f"{price.provider} {price.model_key}: ${usd:f} per million {what} tokens is {factor} what {whose} "
                    f"asked on {known[0].price_date} (${low:f} to ${high:f}); check its unit"
                )
