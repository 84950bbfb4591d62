"""The published formulas on the observations they were written for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmarks.baselines_formulas import (
    BYTES,
    accelerate_inference_gib,
    accelerate_training_gib,
    deepspeed_zero2_gib,
    deepspeed_zero3_gib,
)
from predictor.architectures.architecture import Architecture
from predictor.telemetry import Observation
from predictor.words import Method, Sharding
from predictor.workload import InferenceWorkload, TrainingWorkload


def accelerate_memory(observation: Observation) -> float | None:
    """GiB, of full training under AdamW or of inference, on one GPU or on whole copies of the model."""
    workload, layout = observation.question.workload, observation.question.layout
    split = layout.tensor_parallel * layout.pipeline_parallel * layout.context_parallel
    if split > 1 or layout.sharding is not Sharding.NONE:
        return None
    if isinstance(workload, TrainingWorkload):
        if workload.method is not Method.FULL or workload.optimizer != "adamw" or workload.optimizer_offload:
            return None
        return accelerate_training_gib(workload.architecture.num_parameters, str(workload.precision))
    if isinstance(workload, InferenceWorkload) and str(workload.precision) in BYTES:
        return accelerate_inference_gib(workload.architecture.num_parameters, str(workload.precision))
    return None


def deepspeed_memory(observation: Observation) -> float | None:
    """GiB of full training under Adam, sharded by data parallelism alone (ZeRO 2 and 3, which FSDP is)."""
    workload, layout = observation.question.workload, observation.question.layout
    if not isinstance(workload, TrainingWorkload) or layout.data_parallel != layout.gpu_count:
        return None
    if workload.method is not Method.FULL or workload.optimizer != "adamw" or workload.optimizer_offload:
        return None
    parameters = workload.architecture.num_parameters
    if layout.sharding is Sharding.ZERO2:
        return deepspeed_zero2_gib(parameters, layout.gpu_count)
    if layout.sharding is Sharding.ZERO3:
        return deepspeed_zero3_gib(parameters, largest_module(workload.architecture), layout.gpu_count)
    return None


def largest_module(architecture: Architecture) -> int:
    """Parameters of the largest single matrix: an embedding or one of the MLP's."""
    return architecture.hidden_size * max(architecture.vocab_size, architecture.intermediate_size)


PUBLISHED: Mapping[str, Callable[[Observation], float | None]] = {
    "accelerate": accelerate_memory,
    "deepspeed": deepspeed_memory,
}


def say(name: str, observations: Sequence[Observation]) -> dict[str, float]:
    """What one formula says, by id of the observations it applies to."""
    return dict(_said(PUBLISHED[name], observations))


def _said(
    formula: Callable[[Observation], float | None], observations: Sequence[Observation]
) -> Iterable[tuple[str, float]]:
    for observation in observations:
        said = formula(observation)
        if said is not None:
            yield observation.id, said
