"""What is asked about a fleet: a stream of requests, when they come, and how it may be served."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, model_validator

from scheduler.domain.errors import InvalidSpec
from scheduler.economics.api_price_list import WithApiPrices
from scheduler.economics.fleet_outcome import Rules
from scheduler.economics.spec import InputLength, OutputLength, Seconds, TokensSpec, parse_spec
from scheduler.economics.traffic import DAY_S, Shape, Traffic, synthetic_day, traffic_of

MOST_INLINE = 25_000
MOST_BY_SERVER = 1_000_000
"""Requests of a made-up day that a server answers for: seconds of a processor, not a minute."""

Rate = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]
Tokens = Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
Request = tuple[
    Annotated[float, Field(ge=0, le=40 * DAY_S, allow_inf_nan=False)], Annotated[Tokens, Field(ge=1)], Tokens
]


def mean_length(name: str, said: float | None, mean: float) -> float:
    """That of requests; ValueError where another was said: they would be priced for one thing and billed for another.

    A hundredth is rounding.
    """
    if said is not None and not math.isclose(said, mean, rel_tol=0.01):
        raise ValueError(f"{name} is {said:g}, but the requests have {mean:g} tokens on average: leave it out")
    return mean


def _may_be_absent(schema: dict[str, Any]) -> None:
    del schema["default"]  # it is none of those that may be sent


class FleetSpec(TokensSpec, WithApiPrices):
    """A stream whose requests come as in a trace, or as on a made-up day."""

    input_length: InputLength = Field(
        default=math.nan, description="Mean; that of the requests, where they are given", examples=[3150],
        json_schema_extra=_may_be_absent,
    )  # fmt: skip
    output_length: OutputLength = Field(
        default=math.nan, description="Mean; that of the requests, where they are given", examples=[400],
        json_schema_extra=_may_be_absent,
    )  # fmt: skip
    requests: Annotated[list[Request], Field(min_length=1, max_length=MOST_INLINE)] | None = Field(
        default=None,
        description="Seconds since the first, input tokens and output tokens of each; input_length and output_length "
        "are then their means, and may be left out",
    )
    mean_rps: Annotated[float, Field(gt=0, le=230, allow_inf_nan=False)] | None = Field(
        default=None, description="Instead of requests: a day of so many a second on average", examples=[2]
    )
    peak_rps: Rate | None = Field(default=None, description="In the day's busiest minute; mean_rps if absent")
    shape: Shape | None = Field(default=None, description="Flat, unless there is a peak: then day")
    length_cv: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = Field(
        default=1.0, description="Of a made-up day's lengths, lognormal: standard deviation over mean"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    max_ttft_p95_s: Seconds | None = Field(
        default=None,
        description="95 % of the requests have their first token within this, the wait for a place included; absent: "
        "it is enough that all have a place by the end of the day",
    )
    idle_timeout_s: Annotated[float, Field(ge=0, le=DAY_S, allow_inf_nan=False)] | None = Field(
        default=None, description="That an elastic replica stays when it is empty; absent: the best of those tried"
    )
    max_elastic_replicas: Annotated[int, Field(ge=1, le=2000)] = Field(
        default=1000, description="At once, beside the dedicated"
    )
    reserved_discount: Annotated[Decimal, Field(ge=0, lt=1)] = Field(
        default=Decimal(0), description="Off the price on demand of a replica that is kept all day"
    )
    load_gb_s: Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False)] | None = Field(
        default=None, description="What storage gives a machine that loads the model, GB/s; absent: as forecast (1.5)"
    )
    api_provider: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Compare with this provider alone; the cheapest for these requests otherwise"
    )

    @model_validator(mode="after")
    def _one_source(self) -> FleetSpec:
        if self.requests is not None and self.mean_rps is not None:
            raise ValueError("requests and mean_rps contradict each other: give one of them")
        if self.mean_rps is None and (self.peak_rps is not None or self.shape is not None):
            raise ValueError("peak_rps and shape are those of a made-up day: give its mean_rps")
        return self

    @model_validator(mode="after")
    def _lengths(self) -> FleetSpec:
        for place, name in ((1, "input_length"), (2, "output_length")):
            said = getattr(self, name) if name in self.model_fields_set else None
            if self.requests is not None:
                mean = math.fsum(request[place] for request in self.requests) / len(self.requests)
                self.__dict__[name] = mean_length(name, said, mean)
            elif said is None:
                raise ValueError(f"{name} is missing: only requests say how long they are")
        return self

    @property
    def rules(self) -> Rules:
        """What holds for every way to serve the stream."""
        return Rules(
            ttft_p95_s=self.max_ttft_p95_s, idle_s=self.idle_timeout_s, most_elastic=self.max_elastic_replicas,
            discount=self.reserved_discount, cached_tokens=self.cached_prefix_length,
        )  # fmt: skip

    def traffic(self) -> Traffic:
        """When its requests come; InvalidSpec where it does not say."""
        if self.requests is not None:
            return traffic_of("requests given", self.requests)
        if self.mean_rps is None:
            raise InvalidSpec("when do requests come? give mean_rps of a made-up day, or requests")
        peak = self.peak_rps or self.mean_rps
        return synthetic_day(
            self.shape or (Shape.FLAT if peak == self.mean_rps else Shape.DAY), mean_rps=self.mean_rps, peak_rps=peak,
            input_length=self.input_length, output_length=self.output_length, length_cv=self.length_cv, seed=self.seed,
        )  # fmt: skip


def parse_fleet_spec(raw: object) -> FleetSpec:
    """Read a mapping; InvalidSpec with one sentence naming the first thing wrong."""
    return parse_spec(FleetSpec, raw, "fleet")
