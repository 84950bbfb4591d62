"""Habits of software that decide time: what a pass costs beside the GPU's own work.

Constants are seconds on a current server CPU, fitted once over all engines' public measurements of one class of
software, never of one GPU or model. An unknown engine gets the pace of the most common one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from predictor.gather import Flags, Floats
from predictor.words import Precision
from predictor.workload import InferenceWorkload, TrainingWorkload
from predictor.workloads.engines import fuses_blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPace:
    """What a serving engine adds to the work of one forward pass."""

    step_s: float
    """Scheduling, sampling and bookkeeping between two passes, while the GPU waits."""
    sequence_s: float
    """The same per sequence in flight."""
    layer_s: float
    """Start and drain of one layer's kernels, even when replayed from a CUDA graph."""
    launch_s: float = 0.0
    """Host time to launch one layer without a graph; runs beside the GPU's work."""
    matrix_share: float = 1.0
    """Of the achievable matrix rate, what the engine's kernels reach on whole prompts."""
    memory_share: float = 1.0
    """Of the achievable bandwidth, what its kernels reach when they read weights for few sequences."""
    cache_share: float = 1.0
    """Of the achievable bandwidth, what its attention reaches when it reads the cache."""
    expert_launch_s: float = 0.0
    """Host time to launch one expert where the experts of a layer are looped over; runs beside the GPU's work."""
    stages_overlap: bool = True
    """Pipeline stages work on different sequences at once; otherwise layers are merely spread over cards."""
    splits_tensors: bool = True
    """Tensor parallelism is what it says; otherwise it, too, merely spreads layers over cards."""


_VLLM = ServingPace(step_s=0.9e-3, sequence_s=10e-6, layer_s=28e-6, matrix_share=0.95, cache_share=0.82)
_FIRST_VLLM = ServingPace(
    step_s=3e-3, sequence_s=10e-6, layer_s=90e-6, matrix_share=0.5, memory_share=0.9, cache_share=0.7
)
_UNDATED_VLLM = ServingPace(
    step_s=1.6e-3, sequence_s=10e-6, layer_s=55e-6, matrix_share=0.7, memory_share=0.95, cache_share=0.8
)
"""Half way between the two: what does not say its version is often of 2023 and 2024."""

NEW_CARD_YEAR = 2024.0
"""Cards of this year and later were never served by the first vLLM."""

_SERVING = {
    "vllm": _VLLM,
    "sglang": _VLLM,
    "tensorrt-llm": ServingPace(
        step_s=0.5e-3, sequence_s=5e-6, layer_s=13e-6, matrix_share=0.9, memory_share=0.8, cache_share=0.9
    ),
    "deepspeed-mii": ServingPace(step_s=4.5e-3, sequence_s=90e-6, layer_s=75e-6, matrix_share=0.45, cache_share=0.9),
    "llama.cpp": ServingPace(
        step_s=2e-3, sequence_s=20e-6, layer_s=68e-6, matrix_share=0.35, memory_share=0.7, cache_share=0.5,
        stages_overlap=False, splits_tensors=False,
    ),
    "transformers": ServingPace(
        # its cache is concatenated anew in every step: read, written, read
        step_s=1e-3, sequence_s=20e-6, layer_s=20e-6, launch_s=800e-6, matrix_share=0.4, memory_share=0.65,
        cache_share=0.12, expert_launch_s=80e-6, stages_overlap=False,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPaceColumns:
    """ServingPace, one row per question."""

    step_s: Floats
    sequence_s: Floats
    layer_s: Floats
    launch_s: Floats
    matrix_share: Floats
    memory_share: Floats
    cache_share: Floats
    expert_launch_s: Floats
    stages_overlap: Flags
    splits_tensors: Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPace:
    """What training software adds to the work of one micro step, and how lean its kernels are."""

    launch_s: float
    """Host time to launch one layer forward; backward takes twice as long."""
    micro_s: float
    """Host time around each forward-backward pass: the next batch, embedding, loss, hooks."""
    step_s: float
    """Clipping, logging and the optimizer's launches of one step."""
    expert_launch_s: float
    """Host time to launch one expert forward, where the experts of a layer are looped over."""
    width_bytes: float
    """Bytes moved by elementwise kernels forward, per token, layer and element of the hidden width."""
    mlp_bytes: float
    """The same per element of the MLP's inner width."""
    model_chunks: float = 1.0
    """Pieces of the model on each pipeline stage; several are interleaved to shorten the bubble."""
    tensor_exposed: float = 1.0
    """Of the exchanges of tensor parallelism, what does not hide behind the products beside them."""


_EAGER = TrainingPace(
    launch_s=1.2e-3, micro_s=2e-3, step_s=28e-3, expert_launch_s=120e-6, width_bytes=90.0, mlp_bytes=7.0
)
"""Counted: two RMSNorms of eight small kernels, half of them in FP32 (36 each), two residual sums, rotary embedding."""
_FUSED_WIDTH_BYTES = 24.0
"""Counted: two fused norms, residual sums and rotary embedding, each read and written once."""
_FUSED = TrainingPace(launch_s=400e-6, micro_s=2e-3, step_s=30e-3, expert_launch_s=0.0, width_bytes=42.0, mlp_bytes=6.0)
_MEGATRON = replace(_FUSED, launch_s=2e-3, step_s=16e-3)
"""Transformer Engine's modules are long on the host and lean on the GPU."""
_NEMO = replace(_MEGATRON, model_chunks=4.0, tensor_exposed=0.5)
"""NVIDIA's recipes for Megatron: interleaved stages, tensor exchanges overlapped."""
_GROUPED_EXPERTS = ("scattermoe", "megablocks", "grouped", "unsloth")
"""Kernels that run all experts of a layer at once."""

_TRAINING = {
    "megatron-bridge": _NEMO,
    "nemo": _NEMO,
    "megatron": _MEGATRON,
    "fsdp": _FUSED,
    "composer": _FUSED,
    "internlm": _FUSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPaceColumns:
    """TrainingPace, one row per question."""

    launch_s: Floats
    micro_s: Floats
    step_s: Floats
    expert_launch_s: Floats
    width_bytes: Floats
    mlp_bytes: Floats
    model_chunks: Floats
    tensor_exposed: Floats


def serving_pace(workload: InferenceWorkload) -> Mapping[str, float]:
    """The pace of a workload's engine by field name, matched by prefix."""
    undated = _VLLM if workload.precision is Precision.FP4 else _UNDATED_VLLM  # a format of 2025
    return _engine_numbers(workload.engine, workload.software.version, undated)


def serving_pace_of_new_cards(workload: InferenceWorkload) -> Mapping[str, float]:
    """The same on a card from `NEW_CARD_YEAR` on: software that runs there is not older, dated or not."""
    return _engine_numbers(workload.engine, workload.software.version, _VLLM)


@lru_cache(maxsize=1024)
def _engine_numbers(engine: str, version: str, undated: ServingPace) -> Mapping[str, float]:
    pace = next((pace for prefix, pace in _SERVING.items() if engine.startswith(prefix)), _VLLM)
    return _numbers(_dated_vllm(version, undated) if engine.startswith("vllm") else pace)


def training_pace(workload: TrainingWorkload) -> Mapping[str, float]:
    """The pace of a workload's trainer by field name, matched by prefix."""
    return _trainer_numbers(workload.software.engine, workload.software.kernels)


@lru_cache(maxsize=1024)
def _trainer_numbers(engine: str, kernels: str) -> Mapping[str, float]:
    pace = next((pace for prefix, pace in _TRAINING.items() if engine.startswith(prefix)), _EAGER)
    if pace is _EAGER and fuses_blocks(kernels):
        pace = replace(pace, width_bytes=_FUSED_WIDTH_BYTES)
    if any(kernel in kernels for kernel in _GROUPED_EXPERTS):
        pace = replace(pace, expert_launch_s=0.0)
    return _numbers(pace)


def _numbers(pace: ServingPace | TrainingPace) -> Mapping[str, float]:
    return MappingProxyType(asdict(pace))


def _dated_vllm(version: str, undated: ServingPace) -> ServingPace:
    """The pace before or since the second scheduler (0.8, March 2025), which took the host out of the GPU's way."""
    if not version:
        return undated
    found = re.search(r"(\d+)\.(\d+)", version)
    return _FIRST_VLLM if found and (int(found[1]), int(found[2])) < (0, 8) else _VLLM
