"""The job spec: what a user asked to run, under which constraints.

Pydantic reads it at the edges; the value itself is frozen and travels through the domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from predictor.errors import InvalidLayout
from predictor.layout import Layout, parse_layout
from predictor.workloads.spec import WorkloadSpec, first_sentence
from scheduler.domain.errors import InvalidSpec
from scheduler.domain.files import FileIn, FileOut
from scheduler.domain.secrets import NAME as SECRET_NAME

Text = Annotated[str, Field(min_length=1, max_length=500)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
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
    env: dict[Variable, str] = Field(default_factory=dict)
    working_dir: Text | None = None
    secrets: dict[Variable, Annotated[str, Field(pattern=SECRET_NAME)]] = Field(
        default_factory=dict,
        description="Environment variables and the stored secrets whose values they get; a list: both of one name",
    )

    inputs: Annotated[list[FileIn], Field(max_length=1000)] = Field(
        default_factory=list, description="Files that are there before the command starts"
    )
    outputs: Annotated[list[FileOut], Field(max_length=1000)] = Field(
        default_factory=list, description="Files that are kept when the command has ended"
    )

    @field_validator("secrets", mode="before")
    @classmethod
    def _by_variable(cls, value: object) -> object:
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return {name: name for name in value}
        return value

    @model_validator(mode="after")
    def _once(self) -> RunSpec:
        if both := self.env.keys() & self.secrets.keys():
            raise ValueError(f"{min(both)} is both in env and in secrets; remove one")
        if own := [name for name in self.secrets if name.startswith("PYTHIA_") or name == "CUDA_VISIBLE_DEVICES"]:
            raise ValueError(f"secrets.{min(own)} is a variable that Pythia sets; choose another name")
        return self

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
    share_card: Literal["allow", "forbid"] = Field(
        "allow",
        description="Whether other jobs of its tenant may be on its card, where the tenant shares cards and tenancy is "
        "not dedicated",
    )
    spot: Spot = Spot.FORBID
    deadline: AwareDatetime | None = None
    min_deadline_probability: Annotated[float, Field(gt=0, lt=1)] = 0.9
    max_cost_usd: Usd | None = None
    max_runtime_s: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    max_runtime_over_p90: Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False)] | None = Field(
        None, description="Stop a command that runs longer than so many times its forecast at p90, start-up included"
    )
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
    run_command: bool | None = Field(
        None, description="Whether the command really runs here; null: as the installation is set up"
    )


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
    output_gib: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = Field(
        0.0, description="GiB that leave the provider when the job is done: charged where an offer charges for it"
    )
    labels: dict[Text, Annotated[str, Field(max_length=500)]] = Field(default_factory=dict)
    simulation: Simulation | None = None


PLAIN_RUN = frozenset({"command", "image", "env", "working_dir"})
"""What everything that runs commands can carry out."""


def beyond_plain(run: RunSpec) -> list[str]:
    """What else of a run was asked for. Whoever cannot carry it out refuses it: leaving it out would be silent."""
    return sorted(name for name in run.model_fields_set - PLAIN_RUN if getattr(run, name))


class Demands(NamedTuple):
    """What a job's run asks of whatever carries it out."""

    lacks_image: bool
    """It has a command and no image to run it in; a plan without a command may get both."""
    beyond: tuple[str, ...]
    """`beyond_plain` of it."""


NO_DEMANDS = Demands(lacks_image=False, beyond=())


def demands_of(spec: JobSpec) -> Demands:
    """What a job's run asks for."""
    if spec.run is None:
        return NO_DEMANDS
    return Demands(lacks_image=spec.run.image is None, beyond=tuple(beyond_plain(spec.run)))


def parse_job_spec(raw: object) -> JobSpec:
    """Read a job spec from a mapping; InvalidSpec with one sentence naming the first thing wrong."""
    if not isinstance(raw, Mapping):
        raise InvalidSpec("a job spec is a mapping with name, workload and run")
    try:
        return JobSpec.model_validate(raw)
    except ValidationError as error:
        raise InvalidSpec(first_sentence(error, "spec")) from None
