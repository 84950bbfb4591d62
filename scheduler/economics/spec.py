"""What is asked of the economics, as people write it: read with Pydantic at the edges, frozen inside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from predictor.words import Checkpointing, Method, Precision, Quantization
from predictor.workload import InferenceWorkload, Software, TrainingWorkload
from predictor.workloads.spec import InferenceSpec, ModelSource, TrainingSpec, first_sentence, resolve
from scheduler.domain.errors import InvalidSpec
from scheduler.domain.money import usd_to_micros
from scheduler.domain.spec import Constraints
from scheduler.economics.api_price_list import WithApiPrices
from scheduler.economics.serving import Limits
from scheduler.economics.training_run import Terms

Seconds = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
InputLength = Annotated[float, Field(ge=1, le=10_000_000, allow_inf_nan=False)]
OutputLength = Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
# a hundredth is less than anybody plans for, and what is divided by it is still a figure
MaxUtilisation = Annotated[float, Field(ge=0.01, le=1)]


class TokensSpec(BaseModel):
    """A stream of requests of one kind, and where they may be served."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | dict[str, Any] = Field(description="A known id, or an architecture", examples=["Qwen/Qwen2.5-7B"])
    precision: Precision = Field(
        default=Precision.BF16, description="Of the weights; a card without units for it serves in the next wider one"
    )
    kv_cache_precision: Precision | None = None
    input_length: InputLength = Field(examples=[3150])
    output_length: OutputLength = Field(examples=[400])
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


S = TypeVar("S", bound=BaseModel)


class CrossoverSpec(TokensSpec, WithApiPrices):
    """A stream of requests that an API serves now, or a deployment of one's own could."""

    max_utilisation: MaxUtilisation = Field(
        default=0.8, description="Share of a deployment's capacity that is planned for; the rest is for peaks"
    )
    api_provider: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Compare the curve with this provider; the cheapest per request otherwise"
    )


def parse_crossover_spec(raw: object) -> CrossoverSpec:
    """Read a mapping; InvalidSpec with one sentence naming the first thing wrong."""
    return parse_spec(CrossoverSpec, raw, "crossover")


def parse_tokens_spec(raw: object) -> TokensSpec:
    """Read a mapping; InvalidSpec with one sentence naming the first thing wrong."""
    return parse_spec(TokensSpec, raw, "tokens")


def parse_spec(kind: type[S], raw: object, name: str) -> S:
    """Read a mapping; InvalidSpec with one sentence naming the first thing wrong."""
    if not isinstance(raw, Mapping):
        needed = ", ".join(key for key, field in kind.model_fields.items() if field.is_required())
        raise InvalidSpec(f"the question is a mapping with {needed}")
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


LLAMA_3_FAILURES = 419 / (54 * 24 * 16_384)
"""Unexpected interruptions per GPU-hour of the Llama 3 405B pre-training: 419 in 54 days on 16,384 H100
(Grattafiori et al., The Llama 3 Herd of Models, arXiv:2407.21783, section 3.3.4)."""

GB = 1e9

Rank = Annotated[int, Field(ge=1, le=65_536)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class TrainingRunSpec(BaseModel):
    """A pre-training or fine-tuning run: how much of it, and what it needs beside its steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | dict[str, Any] = Field(description="A known id, or an architecture", examples=["Qwen/Qwen2.5-7B"])
    method: Method = Method.FULL
    precision: Precision = Precision.BF16
    num_tokens: Annotated[float, Field(gt=0, le=1e18, allow_inf_nan=False)] | None = Field(
        default=None, description="Of one epoch; this or num_samples"
    )
    num_samples: Annotated[int, Field(ge=1, le=10**15)] | None = None
    epochs: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1.0
    sequence_length: Annotated[float, Field(ge=1, le=100_000_000, allow_inf_nan=False)] = 2048
    micro_batch_size: Annotated[int, Field(ge=1, le=10_000_000)] = 1
    global_batch_size: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    optimizer: Name | None = None
    gradient_checkpointing: Checkpointing | None = None
    lora_rank: Rank | None = None
    quantization: Quantization | None = None
    engine: Name | None = None
    constraints: Constraints = Field(default_factory=Constraints)

    failures_per_gpu_hour: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = Field(
        default=LLAMA_3_FAILURES, description="That stop the run; what spot machines are taken away for comes on top"
    )
    restart_s: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = Field(
        default=None, description="Until the last checkpoint is read; null: order and start of a machine, as forecast"
    )
    checkpoint_gb_per_s: Annotated[float, Field(gt=0, le=1e5, allow_inf_nan=False)] = Field(
        default=1.0, description="10^9 bytes a second that one machine writes and reads: assumed unless given"
    )
    checkpoint_blocking: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="Share of the writing that the work waits for"
    )
    checkpoint_interval_s: Annotated[float, Field(ge=1, le=1e9, allow_inf_nan=False)] | None = Field(
        default=None, description="Of work; null: the best by Young and Daly"
    )
    evaluation_share: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = Field(
        default=0.02, description="Seconds of evaluation for each second of training: assumed unless given"
    )
    checkpoints_kept: Annotated[int, Field(ge=0, le=100_000)] = 3
    storage_usd_per_gib_month: Annotated[Decimal, Field(ge=0, le=1000, allow_inf_nan=False)] = Field(
        default=Decimal("0.025"), description="About what object storage lists: assumed unless given"
    )

    @model_validator(mode="after")
    def _agree(self) -> TrainingRunSpec:
        if (self.num_tokens is None) == (self.num_samples is None):
            raise ValueError("give either num_tokens or num_samples: they say how long the run is")
        return self

    @property
    def terms(self) -> Terms:
        """What the run meets and does beside its steps."""
        return Terms(
            failures_per_gpu_hour=self.failures_per_gpu_hour,
            restart_s=self.restart_s,
            bytes_per_s=self.checkpoint_gb_per_s * GB,
            blocking=self.checkpoint_blocking,
            interval_s=self.checkpoint_interval_s,
            evaluation_share=self.evaluation_share,
            checkpoints_kept=self.checkpoints_kept,
            storage_micros_per_gib_month=usd_to_micros(self.storage_usd_per_gib_month),
        )

    def assumed(self) -> list[str]:
        """The defaults that were taken, with their sources."""
        return [said for field, said in _ASSUMED.items() if field not in self.model_fields_set]


_ASSUMED = {
    "failures_per_gpu_hour": f"failures_per_gpu_hour: {LLAMA_3_FAILURES:.3g} (419 in 54 days on 16,384 GPUs, Llama 3)",
    "restart_s": "restart_s: order and start of a machine, as forecast",
    "checkpoint_gb_per_s": "checkpoint_gb_per_s: 1 for each machine",
    "checkpoint_blocking": "checkpoint_blocking: 1 (the work waits for the writing)",
    "checkpoint_interval_s": "checkpoint_interval_s: the best (Young 1974, Daly 2006)",
    "evaluation_share": "evaluation_share: 0.02",
    "checkpoints_kept": "checkpoints_kept: 3",
    "storage_usd_per_gib_month": "storage_usd_per_gib_month: 0.025 (about what object storage lists)",
}  # fmt: skip


def parse_training_run_spec(raw: object) -> TrainingRunSpec:
    """Read a mapping; InvalidSpec with one sentence naming the first thing wrong."""
    return parse_spec(TrainingRunSpec, raw, "training-run")


def training_workload_of(spec: TrainingRunSpec, models: ModelSource) -> TrainingWorkload:
    """The workload of all epochs; UnknownModel or InvalidSpec where there is none such."""
    samples, tokens = spec.num_samples, spec.num_tokens
    try:
        asked = TrainingSpec(
            type="training", model=spec.model, method=spec.method, precision=spec.precision,
            num_samples=None if samples is None else math.ceil(samples * spec.epochs),
            num_tokens=None if tokens is None else tokens * spec.epochs,
            sequence_length=spec.sequence_length, micro_batch_size=spec.micro_batch_size,
            global_batch_size=spec.global_batch_size, optimizer=spec.optimizer,
            gradient_checkpointing=spec.gradient_checkpointing, lora_rank=spec.lora_rank,
            quantization=spec.quantization, engine=spec.engine,
        )  # fmt: skip
    except ValidationError as error:
        raise InvalidSpec(first_sentence(error, "training-run")) from None
    workload = resolve(asked, models, Software())
    assert isinstance(workload, TrainingWorkload)  # noqa: S101 - training was asked
    return workload
