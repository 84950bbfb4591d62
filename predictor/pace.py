"""Habits of software that decide time: what a pass costs beside the GPU's own work.

Constants are seconds on a current server CPU, fitted once over all engines' public measurements of one class of
software, never of one GPU or model. An unknown engine gets the pace of the most common one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from predictor.gather import Flags, Floats
from predictor.workload import InferenceWorkload, Software, TrainingWorkload


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
    stages_overlap: bool = True
    """Pipeline stages work on different sequences at once; otherwise layers are merely spread over cards."""


_VLLM = ServingPace(step_s=1.5e-3, sequence_s=10e-6, layer_s=25e-6, matrix_share=0.85, cache_share=0.8)
_OLD_VLLM = ServingPace(step_s=5e-3, sequence_s=60e-6, layer_s=30e-6, matrix_share=0.8, cache_share=0.7)

_SERVING = {
    "vllm": _VLLM,
    "sglang": _VLLM,
    "tensorrt-llm": ServingPace(step_s=0.6e-3, sequence_s=6e-6, layer_s=20e-6, matrix_share=0.9, cache_share=0.85),
    "deepspeed-mii": ServingPace(step_s=5e-3, sequence_s=60e-6, layer_s=60e-6, matrix_share=0.7, cache_share=0.5),
    "llama.cpp": ServingPace(
        step_s=1e-3, sequence_s=20e-6, layer_s=60e-6, matrix_share=0.4, memory_share=0.7, cache_share=0.2,
        stages_overlap=False,
    ),
    "transformers": ServingPace(
        step_s=2e-3, sequence_s=20e-6, layer_s=20e-6, launch_s=800e-6, matrix_share=0.8, cache_share=0.5,
        stages_overlap=False,
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
    stages_overlap: Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPace:
    """What training software adds to the work of one micro step, and how lean its kernels are."""

    launch_s: float
    """Host time to launch one layer forward; backward takes twice as long."""
    step_s: float
    """Data loading, clipping, logging and the optimizer's launches of one step."""
    width_bytes: float
    """Bytes moved by elementwise kernels forward, per token, layer and element of the hidden width."""
    mlp_bytes: float
    """The same per element of the MLP's inner width."""


_EAGER = TrainingPace(launch_s=600e-6, step_s=30e-3, width_bytes=60.0, mlp_bytes=12.0)
_FUSED = TrainingPace(launch_s=350e-6, step_s=20e-3, width_bytes=30.0, mlp_bytes=8.0)

_TRAINING = {"megatron": _FUSED, "nemo": _FUSED, "fsdp": _FUSED, "composer": _FUSED, "internlm": _FUSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPaceColumns:
    """TrainingPace, one row per question."""

    launch_s: Floats
    step_s: Floats
    width_bytes: Floats
    mlp_bytes: Floats


def serving_pace(workload: InferenceWorkload) -> Mapping[str, float]:
    """The pace of a workload's engine by field name, matched by prefix."""
    pace = next((pace for prefix, pace in _SERVING.items() if workload.engine.startswith(prefix)), _VLLM)
    if pace is _VLLM and _is_first_vllm(workload.engine, workload.software):
        pace = _OLD_VLLM
    return asdict(pace)


def training_pace(workload: TrainingWorkload) -> Mapping[str, float]:
    """The pace of a workload's trainer by field name, matched by prefix."""
    engine = workload.software.engine
    return asdict(next((pace for prefix, pace in _TRAINING.items() if engine.startswith(prefix)), _EAGER))


def _is_first_vllm(engine: str, software: Software) -> bool:
    """True for vLLM before its second scheduler (0.8, March 2025), which took the host out of the GPU's way."""
    found = re.search(r"(\d+)\.(\d+)", software.version)
    return engine.startswith("vllm") and found is not None and (int(found[1]), int(found[2])) < (0, 8)
