"""What a job is, once everything left out has been assumed out loud.

These values are made by `predictor.workloads.spec`, which reads what a person wrote and
names every default it took in `assumptions`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from predictor.architectures.architecture import Architecture
from predictor.layout import Layout
from predictor.words import Attention, Checkpointing, Method, Precision, Quantization


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """What runs the work; empty strings where it was not said."""

    engine: str = ""
    version: str = ""
    kernels: str = ""
    scenario: str = ""
    tuner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingWorkload:
    """Fine-tuning or pre-training of one architecture. Lengths are tokens; a mean may be fractional."""

    architecture: Architecture
    method: Method
    precision: Precision
    """Compute type of matrix arithmetic, and of the weights under `pure_low_precision`."""
    sequence_length: float
    micro_batch_size: int
    """Sequences per GPU (data-parallel rank) and forward pass."""
    global_batch_size: int | None
    """Sequences per optimizer step over all ranks; None: micro batch x data parallelism, no accumulation."""
    num_steps: int | None
    num_samples: int | None
    num_tokens: float | None
    optimizer: str
    gradient_checkpointing: Checkpointing
    attention: Attention
    lora_rank: int
    """0 for full training."""
    lora_target_modules: tuple[str, ...]
    """Empty: every linear layer of attention and MLP."""
    quantization: Quantization | None
    fused_loss: bool
    optimizer_offload: bool
    pure_low_precision: bool
    """Weights and optimizer states in `precision`, no FP32 master copy."""
    train_embeddings: bool
    software: Software
    sequence_length_is_mean: bool = False
    """Lengths vary around `sequence_length`: time follows the mean, the peak follows the longest batch."""
    sequence_length_is_cap: bool = False
    """Lengths vary below `sequence_length`."""
    assumptions: tuple[str, ...] = ()

    def sequences_per_step(self, layout: Layout) -> int:
        """Sequences that one optimizer step consumes over the whole layout."""
        return self.global_batch_size or self.micro_batch_size * layout.data_parallel

    def accumulation_steps(self, layout: Layout) -> int:
        """Forward-backward passes per optimizer step on each data-parallel rank, at least 1."""
        return max(1, math.ceil(self.sequences_per_step(layout) / (self.micro_batch_size * layout.data_parallel)))

    def steps(self, layout: Layout) -> int:
        """Optimizer steps of the whole job."""
        if self.num_steps is not None:
            return self.num_steps
        sequences = self.sequences_per_step(layout)
        if self.num_samples is not None:
            return max(1, math.ceil(self.num_samples / sequences))
        assert self.num_tokens is not None  # noqa: S101 - one of the three is always set by the reader of specs
        return max(1, math.ceil(self.num_tokens / (sequences * self.sequence_length)))


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceWorkload:
    """Batch generation: `num_requests` prompts of a mean length, each answered with a mean number of tokens."""

    architecture: Architecture
    precision: Precision
    """Of the weights."""
    kv_cache_precision: Precision
    activation_precision: Precision
    num_requests: int
    input_length: float
    output_length: float
    cached_prefix_length: float
    """Prompt tokens already in the prefix cache; at most `input_length`."""
    max_batch_size: int | None
    """Sequences in flight over all replicas; None: chosen per candidate."""
    engine: str
    software: Software
    assumptions: tuple[str, ...] = ()

    @property
    def generated_tokens(self) -> float:
        """Tokens the whole job generates."""
        return self.num_requests * self.output_length


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomWorkload:
    """Any other job, known by its kind, its features and what its user said of it."""

    kind: str
    features: tuple[tuple[str, float | str], ...] = ()
    """Sorted by name, so that equal jobs compare equal."""
    vram_gib: float | None = None
    runtime_s: float | None = None
    software: Software = field(default_factory=Software)
    assumptions: tuple[str, ...] = ()

    @property
    def feature_map(self) -> Mapping[str, float | str]:
        """The features by name."""
        return dict(self.features)


Workload = TrainingWorkload | InferenceWorkload | CustomWorkload
