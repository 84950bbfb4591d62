"""Questions for the tests of time: workloads as people write them, with one field changed at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictor.architectures.catalogue import load_models
from predictor.columns import inference_columns, training_columns
from predictor.forecast import Question
from predictor.hardware import GpuType, load_gpu_types
from predictor.layout import Layout, parse_layout
from predictor.roofline.inference import InferenceTime, inference_roofline
from predictor.roofline.training import TrainingTime, training_roofline
from predictor.workloads.spec import parse_workload

LLAMA_7B = "meta-llama/Llama-2-7b-hf"
LLAMA_70B = "meta-llama/Llama-3.1-70B"
MIXTRAL = "mistralai/Mixtral-8x7B-v0.1"
DEEPSEEK = "deepseek-ai/DeepSeek-V3"
MODELS = (LLAMA_7B, LLAMA_70B, MIXTRAL, DEEPSEEK, "openai/gpt-oss-120b", "Qwen/Qwen2-0.5B")
GPUS = ("A100-80GB-SXM", "H100-PCIe", "H200-SXM", "B200", "L40S", "T4", "MI300X")


def question(
    workload: dict[str, Any],
    gpu: str | GpuType = "A100-80GB-SXM",
    layout: dict[str, Any] | None = None,
    software: dict[str, object] | None = None,
) -> Question:
    """A question with a layout whose open size is filled by data parallelism."""
    read = parse_layout(layout or {})
    assert isinstance(read, Layout)
    return Question(
        workload=parse_workload(workload, load_models(), software),
        gpu=load_gpu_types().get(gpu) if isinstance(gpu, str) else gpu,
        layout=read,
    )


def training(**changes: Any) -> dict[str, Any]:
    """Full training of a 7B model, one step, with the given fields changed."""
    usual: dict[str, Any] = {
        "type": "training",
        "model": LLAMA_7B,
        "method": "full",
        "precision": "bf16",
        "sequence_length": 4096,
        "micro_batch_size": 4,
        "num_steps": 1,
        "gradient_checkpointing": "none",
        "engine": "megatron-lm",
    }
    return usual | changes


def inference(**changes: Any) -> dict[str, Any]:
    """One request to a 7B model at a time, with the given fields changed."""
    usual: dict[str, Any] = {
        "type": "inference",
        "model": LLAMA_7B,
        "precision": "fp16",
        "num_requests": 1,
        "input_length": 16,
        "output_length": 513,
        "max_batch_size": 1,
        "engine": "tensorrt-llm",
    }
    return usual | changes


def time_training(*questions: Question) -> TrainingTime:
    """The roofline of training questions."""
    return training_roofline(training_columns(questions))


def time_inference(*questions: Question, batch: float | None = None) -> InferenceTime:
    """The roofline of inference questions, at one batch for all or at what each asked."""
    columns = inference_columns(questions)
    return inference_roofline(columns, np.full(len(questions), batch) if batch is not None else columns.max_batch)
