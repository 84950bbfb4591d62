"""Observations: what a workload on a layout of a GPU type was measured to need.

An observation asks the same question as a forecast and carries the answer. Rows that belong
together (repeats, one model family, one source) say so by key, since a predictor is only
tested honestly on groups it has not seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from predictor.errors import InvalidFacts
from predictor.forecast import Question
from predictor.hardware import CPU, GpuCatalogue, GpuType
from predictor.layout import Layout, parse_layout
from predictor.splits import best_split
from predictor.words import VramMetric
from predictor.workload import CustomWorkload, InferenceWorkload, TrainingWorkload, Workload
from predictor.workloads.spec import ModelSource, first_sentence, parse_workload

Positive = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]

PREALLOCATED = "preallocated"
"""A reading of an engine that grabs the card up front (vLLM, SGLang): what it took, not what it needed."""

_ABSURD = 1.1
"""Times the label of a card: sources mix GB with GiB, but nothing reads more than this."""

UNSAID_NOTES = (
    "sequence_length_is_cap",
    "sequence_length_is_mean",
    "input_length_is_mean",
    "output_length_is_mean",
    "num_requests_assumed",
    "precision_unstated",
)
"""Fields that say how well another is known; they do not make a different job."""


SECOND_READINGS = {VramMetric.ALLOCATED: "#allocated", VramMetric.RESERVED: "#reserved"}
"""What ends the id of a further memory reading of a run."""


class Outcome(StrEnum):
    """How a measured run ended, as far as it teaches anything."""

    COMPLETED = "completed"
    OUT_OF_MEMORY = "out_of_memory"


class Simulated(InvalidFacts):
    """A simulated run must never teach a predictor."""

    code = "simulated_observation"


class ObservationSpec(BaseModel):
    """One observation as people and importers write it."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # sources keep columns of their own beside ours

    id: Annotated[str, Field(min_length=1, max_length=500)]
    source: Annotated[str, Field(min_length=1, max_length=200)]
    licence: str = "unstated"
    workload: dict[str, Any]
    gpu_type: str
    layout: dict[str, Any] = Field(default_factory=dict)
    software: dict[str, Any] | None = None
    outcome: Outcome
    simulated: bool
    peak_vram_gib: Positive | None = None
    vram_metric: VramMetric | Literal["preallocated"] = VramMetric.DRIVER
    peak_allocated_gib: Positive | None = None
    peak_reserved_gib: Positive | None = None
    tokens_per_second: Positive | None = None
    step_time_s: Positive | None = None
    runtime_s: Positive | None = None
    rank: Literal["", "fullest", "last"] = ""
    node_gpus: Annotated[int, Field(ge=1, le=1024)] = 8
    interconnect_gbps: Positive | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A question with its measured answer. Quantities that were not measured are None."""

    id: str
    source: str
    licence: str
    question: Question
    """Its `vram_metric` says whose reading `peak_vram_gib` is."""
    outcome: Outcome
    peak_vram_gib: float | None
    """On the fullest GPU; None after out of memory, when the peak is at least what the card can hold."""
    peak_allocated_gib: float | None
    """A second reading of the same run, of the tensors alone."""
    peak_reserved_gib: float | None
    """A third, of the allocator, where the main one is the driver's."""
    step_time_s: float | None
    """One optimizer step (training)."""
    runtime_s: float | None
    """The whole job (inference and custom)."""
    last_rank_only: bool
    """Memory was read on the last pipeline stage, which need not be the fullest: a lower bound."""
    configuration: str
    """Equal for repeats: workload without software version, GPU type and layout."""
    family: str
    """The model's family; of an architecture without an id its source."""

    @property
    def vram_lower_bound_gib(self) -> float | None:
        """What an out-of-memory run proves: the peak is at least what the card offers."""
        return self.question.gpu.usable_gib if self.outcome is Outcome.OUT_OF_MEMORY else None


def read_observation(raw: Mapping[str, Any], models: ModelSource, gpus: GpuCatalogue) -> Observation:
    """Check one raw observation; a PythiaError with one sentence says why it cannot be used."""
    try:
        spec = ObservationSpec.model_validate(raw)
    except ValidationError as error:
        raise InvalidFacts(first_sentence(error, "observation")) from None
    if spec.simulated:
        raise Simulated(f"observation {spec.id} is simulated; only real measurements may teach a predictor")
    gpu = gpus.get(spec.gpu_type)
    workload = parse_workload(spec.workload, models, spec.software)
    layout = parse_layout(spec.layout)
    if isinstance(layout, int):
        layout = best_split(workload, gpu, layout, node_gpus=spec.node_gpus)
    metric = VramMetric.DRIVER if spec.vram_metric == PREALLOCATED else VramMetric(spec.vram_metric)
    observation = Observation(
        id=spec.id,
        source=spec.source,
        licence=spec.licence,
        question=Question(
            workload=workload,
            gpu=gpu,
            layout=layout,
            node_gpus=spec.node_gpus,
            interconnect_gbps=spec.interconnect_gbps,
            vram_metric=metric,
        ),
        outcome=spec.outcome,
        peak_vram_gib=_memory(spec, gpu),
        # an engine that grabs the card fills it with tensors of its own
        peak_allocated_gib=None if spec.vram_metric == PREALLOCATED else spec.peak_allocated_gib,
        peak_reserved_gib=spec.peak_reserved_gib if spec.vram_metric == VramMetric.DRIVER else None,
        step_time_s=_step_time(spec, workload, layout),
        runtime_s=_runtime(spec, workload),
        last_rank_only=spec.rank == "last" and layout.pipeline_parallel > 1,
        configuration=_configuration(spec),
        family=_family(spec, workload),
    )
    if not _teaches(observation):
        raise InvalidFacts(f"observation {spec.id} measures nothing: give a peak, a time or tokens_per_second")
    return observation


def owner_of(source: str) -> str:
    """Who stands behind a source: `lab/old` and `lab/new` are both the lab's, however many names it gives its rows."""
    return source.partition("/")[0]


def other_readings(observation: Observation) -> tuple[Observation, ...]:
    """The further memory readings of a run, each as an observation of its own."""
    if observation.outcome is not Outcome.COMPLETED:
        return ()
    readings = {
        VramMetric.ALLOCATED: observation.peak_allocated_gib,
        VramMetric.RESERVED: observation.peak_reserved_gib,
    }
    return tuple(
        replace(
            observation,
            id=observation.id + SECOND_READINGS[metric],
            question=replace(observation.question, vram_metric=metric),
            peak_vram_gib=peak,
            peak_allocated_gib=None,
            peak_reserved_gib=None,
            step_time_s=None,
            runtime_s=None,
        )
        for metric, peak in readings.items()
        if peak is not None
    )


def _memory(spec: ObservationSpec, gpu: GpuType) -> float | None:
    if spec.peak_vram_gib is None or spec.outcome is Outcome.OUT_OF_MEMORY or spec.vram_metric == PREALLOCATED:
        return None
    if gpu.name != CPU and spec.peak_vram_gib > _ABSURD * gpu.memory_gb_nominal:
        raise InvalidFacts(
            f"observation {spec.id}: peak_vram_gib {spec.peak_vram_gib:g} is more than "
            f"a {gpu.name} holds ({gpu.memory_gb_nominal:g} GB)"
        )
    return spec.peak_vram_gib


def _step_time(spec: ObservationSpec, workload: Workload, layout: Layout) -> float | None:
    if not isinstance(workload, TrainingWorkload) or spec.outcome is not Outcome.COMPLETED:
        return None
    if spec.step_time_s is not None:
        return spec.step_time_s
    if spec.tokens_per_second is not None:
        return workload.sequences_per_step(layout) * workload.sequence_length / spec.tokens_per_second
    return spec.runtime_s / workload.steps(layout) if spec.runtime_s is not None else None


def _runtime(spec: ObservationSpec, workload: Workload) -> float | None:
    if isinstance(workload, TrainingWorkload) or spec.outcome is not Outcome.COMPLETED:
        return None
    if spec.runtime_s is not None:
        return spec.runtime_s
    if isinstance(workload, InferenceWorkload) and spec.tokens_per_second and workload.output_length > 0:
        return workload.generated_tokens / spec.tokens_per_second
    return None


def _teaches(observation: Observation) -> bool:
    measured = (
        observation.peak_vram_gib,
        observation.peak_allocated_gib,
        observation.peak_reserved_gib,
        observation.step_time_s,
        observation.runtime_s,
        observation.vram_lower_bound_gib,
    )
    return any(value is not None for value in measured)


def _configuration(spec: ObservationSpec) -> str:
    workload = {name: value for name, value in spec.workload.items() if name not in UNSAID_NOTES and value is not None}
    layout = {name: value for name, value in spec.layout.items() if value is not None}
    canonical = json.dumps([workload, spec.gpu_type, layout], sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _family(spec: ObservationSpec, workload: Workload) -> str:
    if isinstance(workload, CustomWorkload):
        return workload.kind
    return workload.architecture.family if isinstance(spec.workload.get("model"), str) else spec.source
