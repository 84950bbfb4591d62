"""Read a workload as people write it, and say aloud what had to be assumed.

Pydantic checks the shape at the edge; `resolve` turns the checked spec into the frozen
values that the predictor computes with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from predictor.architectures.architecture import Architecture, parse_architecture
from predictor.errors import InvalidWorkload
from predictor.words import Attention, Checkpointing, Method, Precision, Quantization
from predictor.workload import CustomWorkload, InferenceWorkload, Software, TrainingWorkload, Workload

T = TypeVar("T")

Length = Annotated[float, Field(gt=0, le=100_000_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**15)]
Batch = Annotated[int, Field(ge=1, le=10_000_000)]
Name = Annotated[str, Field(min_length=1, max_length=200)]

MASTER_WEIGHT_ENGINES = ("megatron", "nemo", "fsdp", "deepspeed", "composer", "internlm", "torchtitan")
"""Training software whose habit is an FP32 master copy beside the low-precision weights; matched by prefix."""

LOW_PRECISION = (Precision.FP16, Precision.BF16)


class ModelSource(Protocol):
    """Something that knows architectures by id."""

    def get(self, model_id: str) -> Architecture:
        """The architecture, or UnknownModel."""
        ...


class SoftwareSpec(BaseModel):
    """Engine, version and kernels, where known."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # sources add words of their own; none changes the meaning

    engine: str = ""
    version: str = ""
    kernels: str = ""
    scenario: str = ""
    tuner: str = ""


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _ModelSpec(_Spec):
    model: str | dict[str, Any] = Field(description="A known model id, an architecture, or a Hugging Face config.json")
    precision: Precision | None = None
    precision_unstated: bool = Field(default=False, description="The source did not say the precision")


class TrainingSpec(_ModelSpec):
    """Full, LoRA or QLoRA training. Exactly one of num_steps, num_samples and num_tokens says how much."""

    type: Literal["training"]
    method: Method = Method.FULL
    sequence_length: Length | None = None
    micro_batch_size: Batch | None = None
    global_batch_size: Batch | None = None
    num_steps: Count | None = None
    num_samples: Count | None = None
    num_tokens: Annotated[float, Field(gt=0, le=1e18, allow_inf_nan=False)] | None = None
    optimizer: Name | None = None
    gradient_checkpointing: Checkpointing | None = None
    attention: Attention | None = None
    lora_rank: Annotated[int, Field(ge=1, le=65_536)] | None = None
    lora_target_modules: Annotated[list[Name], Field(min_length=1, max_length=100)] | Name | None = None
    quantization: Quantization | None = None
    fused_loss: bool | None = None
    optimizer_offload: Literal["cpu"] | None = None
    pure_low_precision: bool | None = None
    train_embeddings: bool | None = None
    engine: Name | None = None
    sequence_length_is_cap: bool = Field(default=False, description="Texts are often shorter than sequence_length")
    sequence_length_is_mean: bool = Field(default=False, description="Lengths vary around sequence_length")

    @model_validator(mode="after")
    def _agree(self) -> TrainingSpec:
        sizes = [name for name in ("num_steps", "num_samples", "num_tokens") if getattr(self, name) is not None]
        if len(sizes) != 1:
            said = " and ".join(sizes) or "none of them"
            raise ValueError(f"give exactly one of num_steps, num_samples and num_tokens; {said} was given")
        if self.precision in (Precision.INT8, Precision.INT4):
            raise ValueError(f"training does not compute in {self.precision}; for a quantised base set `quantization`")
        if self.method is Method.FULL and self.quantization is not None:
            raise ValueError("a full training run has no quantised frozen base; use method: qlora or drop quantization")
        if self.method is Method.FULL and (self.lora_rank or self.lora_target_modules):
            raise ValueError("lora_rank and lora_target_modules belong to method lora or qlora, but method is full")
        if self.global_batch_size and self.micro_batch_size and self.global_batch_size < self.micro_batch_size:
            raise ValueError(
                f"global_batch_size {self.global_batch_size} is smaller than micro_batch_size {self.micro_batch_size}"
            )
        return self


class InferenceSpec(_ModelSpec):
    """Batch inference over a set of requests."""

    type: Literal["inference"]
    kv_cache_precision: Precision | None = None
    num_requests: Count
    input_length: Annotated[float, Field(ge=0, le=100_000_000, allow_inf_nan=False)] | None = None
    output_length: Annotated[float, Field(ge=0, le=100_000_000, allow_inf_nan=False)] | None = None
    cached_prefix_length: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    max_batch_size: Batch | None = None
    engine: Name | None = None
    num_requests_assumed: bool = False
    input_length_is_mean: bool = False
    output_length_is_mean: bool = False

    @model_validator(mode="after")
    def _agree(self) -> InferenceSpec:
        if self.input_length is not None and self.cached_prefix_length > self.input_length:
            raise ValueError(
                f"cached_prefix_length {self.cached_prefix_length:g} is longer than input_length {self.input_length:g}"
            )
        if self.input_length == 0 and self.output_length == 0:
            raise ValueError("input_length and output_length are both 0: there is nothing to do")
        return self


class CustomSpec(_Spec):
    """Any other job: a kind, features, and what its user knows of it."""

    type: Literal["custom"]
    kind: Name
    features: Annotated[
        dict[Name, Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=500)]],
        Field(max_length=200),
    ] = Field(default_factory=dict)
    vram_gib: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    runtime_s: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None


WorkloadSpec = Annotated[TrainingSpec | InferenceSpec | CustomSpec, Field(discriminator="type")]
_ADAPTER: TypeAdapter[TrainingSpec | InferenceSpec | CustomSpec] = TypeAdapter(WorkloadSpec)


def parse_workload(raw: object, models: ModelSource, software: Mapping[str, object] | None = None) -> Workload:
    """Read a raw workload (and the line's `software`, if any); InvalidWorkload with one sentence otherwise."""
    if not isinstance(raw, Mapping):
        raise InvalidWorkload("workload is missing or not a mapping; give at least its type, model and size")
    try:
        spec = _ADAPTER.validate_python(raw)
        said = SoftwareSpec.model_validate({k: v for k, v in (software or {}).items() if v is not None})
    except ValidationError as error:
        raise InvalidWorkload(first_sentence(error, "workload")) from None
    return resolve(spec, models, Software(**said.model_dump()))


def resolve(spec: TrainingSpec | InferenceSpec | CustomSpec, models: ModelSource, software: Software) -> Workload:
    """Fill in what was left out; each default taken stands in the result's `assumptions`."""
    match spec:
        case TrainingSpec():
            return _training(spec, models, software)
        case InferenceSpec():
            return _inference(spec, models, software)
        case CustomSpec():
            return CustomWorkload(
                kind=spec.kind,
                features=tuple(sorted(spec.features.items())),
                vram_gib=spec.vram_gib,
                runtime_s=spec.runtime_s,
                software=software,
            )


def first_sentence(error: ValidationError, where: str) -> str:
    """The first thing wrong, as one sentence with its path and the value that was given."""
    first = error.errors(include_url=False)[0]
    # pydantic puts the tag of the union into the path; people did not write it
    path = ".".join(str(part) for part in first["loc"] if part not in ("training", "inference", "custom"))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{where}.{path} is not a field of this kind of work; check its spelling or remove it"
    if first["type"] == "missing":
        return f"{where}.{path} is missing"
    if first["type"].startswith("union_tag"):
        return f"{where}.type must be training, inference or custom"
    value = first.get("input")
    shown = "" if isinstance(value, dict | list) or first["type"] == "value_error" else f" (it is {value!r:.60})"
    return f"{where}.{path}: {message}{shown}" if path else f"{where}: {message}"


def _architecture(model: str | dict[str, Any], models: ModelSource) -> Architecture:
    return models.get(model) if isinstance(model, str) else parse_architecture(model, source="workload.model")


class _Assumptions(list[str]):
    """Collects the defaults taken while a spec is resolved."""

    def default(self, name: str, given: T | None, value: T, why: str = "") -> T:
        """The given value, or the default, noted."""
        if given is not None:
            return given
        self.append(f"{name}: {value}{f' ({why})' if why else ''}")
        return value


def _training(spec: TrainingSpec, models: ModelSource, software: Software) -> TrainingWorkload:
    architecture = _architecture(spec.model, models)
    notes = _Assumptions(architecture.assumptions)
    engine = (spec.engine or software.engine).lower()
    if not engine:
        engine = notes.default("engine", None, "transformers")
    precision = notes.default("precision", spec.precision, Precision.BF16)
    if spec.precision_unstated:
        notes.append(f"precision: {precision} (the source does not say)")
    low = precision in LOW_PRECISION and not engine.startswith(MASTER_WEIGHT_ENGINES)
    pure = notes.default("pure_low_precision", spec.pure_low_precision, low, f"the habit of {engine}")
    adapters = spec.method is not Method.FULL
    quantization = spec.quantization
    if spec.method is Method.QLORA:
        quantization = notes.default("quantization", spec.quantization, Quantization.NF4)
    if spec.sequence_length_is_cap:
        notes.append(f"sequence_length: {spec.sequence_length} is a cap; most samples are taken to be shorter")
    modules = spec.lora_target_modules
    if adapters and modules is None:
        notes.append("lora_target_modules: all-linear")
    named = (modules,) if isinstance(modules, str) else tuple(modules or ())
    return TrainingWorkload(
        architecture=architecture,
        method=spec.method,
        precision=precision,
        sequence_length=notes.default("sequence_length", spec.sequence_length, 2048.0),
        micro_batch_size=notes.default("micro_batch_size", spec.micro_batch_size, 1),
        global_batch_size=spec.global_batch_size,
        num_steps=spec.num_steps,
        num_samples=spec.num_samples,
        num_tokens=spec.num_tokens,
        optimizer=notes.default("optimizer", spec.optimizer, "adamw").lower(),
        gradient_checkpointing=notes.default("gradient_checkpointing", spec.gradient_checkpointing, Checkpointing.NONE),
        attention=notes.default("attention", spec.attention, Attention.FLASH),
        lora_rank=notes.default("lora_rank", spec.lora_rank, 16) if adapters else 0,
        lora_target_modules=() if named == ("all-linear",) else named,
        quantization=quantization,
        fused_loss=notes.default("fused_loss", spec.fused_loss, False),
        optimizer_offload=spec.optimizer_offload is not None,
        pure_low_precision=pure,
        # full training updates them unless told otherwise; adapters leave them frozen unless told otherwise
        train_embeddings=notes.default("train_embeddings", spec.train_embeddings, False)
        if adapters
        else spec.train_embeddings is not False,
        software=replace(software, engine=engine),
        sequence_length_is_mean=spec.sequence_length_is_mean,
        sequence_length_is_cap=spec.sequence_length_is_cap,
        assumptions=tuple(notes),
    )


def _inference(spec: InferenceSpec, models: ModelSource, software: Software) -> InferenceWorkload:
    architecture = _architecture(spec.model, models)
    notes = _Assumptions(architecture.assumptions)
    precision = notes.default("precision", spec.precision, Precision.BF16)
    if spec.precision_unstated:
        notes.append(f"precision: {precision} (the source does not say)")
    # weight-only formats and the low-precision matrix formats all keep activations in 16 bits between kernels
    activation = precision if precision in (Precision.FP32, Precision.FP16, Precision.TF32) else Precision.BF16
    engine = spec.engine or software.engine
    if not engine:
        engine = notes.default("engine", None, "vllm")
    if spec.num_requests_assumed:
        notes.append(f"num_requests: {spec.num_requests} (the source does not say)")
    return InferenceWorkload(
        architecture=architecture,
        precision=precision,
        kv_cache_precision=notes.default(
            "kv_cache_precision", spec.kv_cache_precision, activation, "that of the activations"
        ),
        activation_precision=activation,
        num_requests=spec.num_requests,
        input_length=notes.default("input_length", spec.input_length, max(1024.0, spec.cached_prefix_length)),
        output_length=notes.default("output_length", spec.output_length, 256.0),
        cached_prefix_length=spec.cached_prefix_length,
        max_batch_size=spec.max_batch_size,
        engine=engine.lower(),
        software=replace(software, engine=engine.lower()),
        assumptions=tuple(notes),
    )
