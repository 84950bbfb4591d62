"""The job spec: what a user asked to run, under which constraints.

Pydantic reads it at the edges; the value itself is frozen and travels through the domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from predictor.errors import InvalidLayout
from predictor.layout import Layout, parse_layout
from predictor.workloads.spec import WorkloadSpec, first_sentence
from scheduler.domain.errors import InvalidSpec

Text = Annotated[str, Field(min_length=1, max_length=500)]
Usd = Annotated[Decimal, Field(gt=0, le=Decimal(10**9), allow_inf_nan=False)]


class Objective(StrEnum):
    """What the best placement is: the cheapest whole job, or the soonest finished."""

    COST = "cost"
    TIME = "time"


class Spot(StrEnum):
    """Whether interruptible machines may be used."""

    FORBID = "forbid"
    ALLOW = "allow"
    REQUIRE = "require"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunSpec(_Part):
    """The command, and what it needs around it. The command is a list: no shell ever sees it."""

    command: Annotated[list[Annotated[str, Field(max_length=100_000)]], Field(min_length=1, max_length=10_000)]
    image: Text | None = None
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)], str] = Field(
        default_factory=dict
    )
    working_dir: Text | None = None

    @field_validator("command")
    @classmethod
    def _program(cls, value: list[str]) -> list[str]:
        if not value[0].strip():
            raise ValueError("command[0] is empty; it names the program to run")
        if any("\0" in part for part in value):
            raise ValueError("command holds a NUL character; remove it")
        return value


class Constraints(_Part):
    """What a placement must satisfy; an empty list means any."""

    gpu_types: list[Text] = Field(default_factory=list)
    exclude_gpu_types: list[Text] = Field(default_factory=list)
    gpu_count: Annotated[int, Field(ge=1, le=100_000)] | None = None
    max_gpus: Annotated[int, Field(ge=1, le=100_000)] = 8
    layout: dict[str, int | bool | str | None] | None = None
    providers: list[Text] = Field(default_factory=list)
    regions: list[Text] = Field(default_factory=list)
    jurisdictions: list[Text] = Field(default_factory=list)
    provider_jurisdictions: list[Text] = Field(default_factory=list)
    tenancy: Literal["any", "dedicated"] = "any"
    spot: Spot = Spot.FORBID
    deadline: AwareDatetime | None = None
    min_deadline_probability: Annotated[float, Field(gt=0, lt=1)] = 0.9
    max_cost_usd: Usd | None = None
    max_runtime_s: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    min_fit_probability: Annotated[float, Field(gt=0, lt=1)] = 0.95
    out_of_memory_usd: Annotated[Decimal, Field(ge=0, le=Decimal(10**6), allow_inf_nan=False)] = Field(
        Decimal(0), description="What a crash for lack of memory costs beside machines: weighed, never billed"
    )

    @field_validator("layout")
    @classmethod
    def _layout(cls, value: dict[str, int | bool | str | None] | None) -> dict[str, int | bool | str | None] | None:
        if value is not None:
            try:
                parse_layout(value)
            except InvalidLayout as error:
                raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _agree(self) -> Constraints:
        fixed = None if self.layout is None else parse_layout(self.layout)
        laid_out = fixed.gpu_count if isinstance(fixed, Layout) else fixed
        if None not in (laid_out, self.gpu_count) and laid_out != self.gpu_count:
            raise ValueError(f"layout has {laid_out} GPUs, but gpu_count is {self.gpu_count}; make them agree")
        count = self.gpu_count or laid_out
        # an exact count alone overrides the default of max_gpus; both given and disagreeing is a contradiction
        if count is not None and "max_gpus" in self.model_fields_set and count > self.max_gpus:
            raise ValueError(f"{count} GPUs are asked for, but max_gpus is {self.max_gpus}; raise it or drop it")
        both = {name.casefold() for name in self.gpu_types} & {name.casefold() for name in self.exclude_gpu_types}
        if both:
            raise ValueError(f"{min(both)} is both in gpu_types and in exclude_gpu_types; remove one")
        return self


class Simulation(_Part):
    """The truth a simulated provider shall find, for demonstrations and tests; real providers ignore it."""

    peak_vram_gib: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    runtime_s: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    seed: int | None = None


class JobSpec(_Part):
    """One job as its user describes it."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = "unnamed"
    workload: WorkloadSpec
    run: RunSpec | None = Field(default=None, description="Needed to submit; a plan can do without")
    constraints: Constraints = Field(default_factory=Constraints)
    objective: Objective = Objective.COST
    priority: Annotated[int, Field(ge=0, le=100)] = 50
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    webhook_url: Annotated[str, Field(max_length=2000, pattern=r"^https?://")] | None = None
    labels: dict[Text, Annotated[str, Field(max_length=500)]] = Field(default_factory=dict)
    simulation: Simulation | None = None


def parse_job_spec(raw: object) -> JobSpec:
    """Read a job spec from a mapping; InvalidSpec with one sentence naming the first thing wrong."""
    if not isinstance(raw, Mapping):
        raise InvalidSpec("a job spec is a mapping with name, workload and run")
    try:
        return JobSpec.model_validate(raw)
    except ValidationError as error:
        raise InvalidSpec(first_sentence(error, "spec")) from None
