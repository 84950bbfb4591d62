"""What is asked of the economics, as people write it: read with Pydantic at the edges, frozen inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from predictor.words import Precision
from predictor.workload import InferenceWorkload, Software
from predictor.workloads.spec import InferenceSpec, ModelSource, first_sentence, resolve
from scheduler.domain.errors import InvalidSpec
from scheduler.domain.spec import Constraints
from scheduler.economics.serving import Limits

Seconds = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class TokensSpec(BaseModel):
    """A stream of requests of one kind, and where they may be served."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | dict[str, Any] = Field(description="A known id, or an architecture", examples=["Qwen/Qwen2.5-7B"])
    precision: Precision = Field(
        default=Precision.BF16, description="Of the weights; a card without units for it serves in the next wider one"
    )
    kv_cache_precision: Precision | None = None
    input_length: Annotated[float, Field(ge=1, le=10_000_000, allow_inf_nan=False)] = Field(examples=[3150])
    output_length: Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)] = Field(examples=[400])
    cached_prefix_length: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0, description="Prompt tokens that the engine's own prefix cache already holds"
    )
    engine: Annotated[str, Field(min_length=1, max_length=200)] = "vllm"
    max_ttft_s: Seconds | None = Field(default=None, description="Time to first token, kept at the forecast's p90")
    max_tpot_s: Seconds | None = Field(default=None, description="Time per output token, kept at the forecast's p90")
    constraints: Constraints = Field(default_factory=Constraints)

    @property
    def limits(self) -> Limits:
        """What a request may take, and how surely its memory must fit."""
        return Limits(
            ttft_s=self.max_ttft_s, tpot_s=self.max_tpot_s, fit_probability=self.constraints.min_fit_probability
        )


S = TypeVar("S", bound=TokensSpec)


class CrossoverSpec(TokensSpec):
    """A stream of requests that an API serves now, or a deployment of one's own could."""

    max_utilisation: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.8, description="Share of a deployment's capacity that is planned for; the rest is for peaks"
    )
    api_provider: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Compare the curve with this provider; the cheapest per request otherwise"
    )


def parse_crossover_spec(raw: object) -> CrossoverSpec:
    """Read a mapping; InvalidSpec with one sentence naming the first thing wrong."""
    return _parse(CrossoverSpec, raw, "crossover")


def parse_tokens_spec(raw: object) -> TokensSpec:
    """Read a mapping; InvalidSpec with one sentence naming the first thing wrong."""
    return _parse(TokensSpec, raw, "tokens")


def _parse(kind: type[S], raw: object, name: str) -> S:
    if not isinstance(raw, Mapping):
        raise InvalidSpec("the question is a mapping with model, input_length and output_length")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise InvalidSpec(first_sentence(error, name)) from None


def workload_of(spec: TokensSpec, models: ModelSource) -> InferenceWorkload:
    """The workload of one request; UnknownModel or InvalidSpec where there is none such."""
    try:
        asked = InferenceSpec(
            type="inference", model=spec.model, precision=spec.precision, kv_cache_precision=spec.kv_cache_precision,
            num_requests=1, input_length=spec.input_length, output_length=spec.output_length,
            cached_prefix_length=spec.cached_prefix_length, engine=spec.engine,
        )  # fmt: skip
    except ValidationError as error:
        raise InvalidSpec(first_sentence(error, "tokens")) from None
    workload = resolve(asked, models, Software())
    assert isinstance(workload, InferenceWorkload)  # noqa: S101 - inference was asked
    return workload
