"""Short ways to ask: questions about catalogue models, as a spec would be read."""

from __future__ import annotations

from typing import Any

from predictor.architectures.catalogue import load_models
from predictor.forecast import Question
from predictor.hardware import load_gpu_types
from predictor.layout import Layout
from predictor.words import VramMetric
from predictor.workload import InferenceWorkload, TrainingWorkload
from predictor.workloads.spec import parse_workload

LLAMA_2_7B = "meta-llama/Llama-2-7b-hf"
LLAMA_3_8B = "meta-llama/Meta-Llama-3-8B"
LLAMA_3_70B = "meta-llama/Llama-3.1-70B-Instruct"
DEEPSEEK_V3 = "deepseek-ai/DeepSeek-V3"


def train(
    model: object = LLAMA_3_8B,
    *,
    gpu: str = "H100-SXM",
    layout: Layout | None = None,
    metric: VramMetric = VramMetric.ALLOCATED,
    software: dict[str, object] | None = None,
    **spec: Any,
) -> Question:
    """A training question; one sample of work unless the spec says how much."""
    if not {"num_steps", "num_samples", "num_tokens"} & set(spec):
        spec["num_samples"] = 1
    workload = parse_workload({"type": "training", "model": model, **spec}, load_models(), software)
    assert isinstance(workload, TrainingWorkload)
    return Question(workload=workload, gpu=load_gpu_types().get(gpu), layout=layout or Layout(), vram_metric=metric)


def serve(
    model: object = LLAMA_3_8B,
    *,
    gpu: str = "H100-SXM",
    layout: Layout | None = None,
    metric: VramMetric = VramMetric.ALLOCATED,
    software: dict[str, object] | None = None,
    **spec: Any,
) -> Question:
    """An inference question; a thousand requests unless the spec says otherwise."""
    raw = {"type": "inference", "model": model, "num_requests": 1000, **spec}
    workload = parse_workload(raw, load_models(), software)
    assert isinstance(workload, InferenceWorkload)
    return Question(workload=workload, gpu=load_gpu_types().get(gpu), layout=layout or Layout(), vram_metric=metric)
