"""Choose how to split a job over a GPU count that came without a layout: the fastest split that fits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictor.arithmetic import inference_arithmetic, training_arithmetic
from predictor.forecast import Question
from predictor.gather import Floats
from predictor.hardware import GpuType
from predictor.layout import Layout
from predictor.layouts import sensible_layouts
from predictor.workload import CustomWorkload, InferenceWorkload, Workload

SAFE_SHARE = 0.95
"""Of the usable memory, what a split may need: one that fits to the last byte is no split to recommend."""


def best_split(workload: Workload, gpu: GpuType, gpu_count: int, *, node_gpus: int = 8) -> Layout:
    """The fastest layout of `gpu_count` GPUs that fits, else the one that needs least memory; by arithmetic alone,
    so that telemetry and forecasts of the same question mean the same layout whatever has been learned since."""
    if isinstance(workload, CustomWorkload):
        return Layout(gpu_count=gpu_count, data_parallel=gpu_count)
    layouts = sensible_layouts(workload, gpu_count, node_gpus=node_gpus)
    if len(layouts) == 1:
        return layouts[0]
    questions = [Question(workload=workload, gpu=gpu, layout=layout, node_gpus=node_gpus) for layout in layouts]
    need, time = _need_and_time(workload, questions)
    fits = need <= SAFE_SHARE * (gpu.usable_gib or 0.0)
    return layouts[int(np.lexsort((need, np.where(fits, time, 0.0), ~fits))[0])]


def _need_and_time(workload: Workload, questions: Sequence[Question]) -> tuple[Floats, Floats]:
    if isinstance(workload, InferenceWorkload):
        serving = inference_arithmetic(questions)
        return serving.footprint.need_gib, serving.time.runtime_s
    training = training_arithmetic(questions)
    # layouts differ in sequences per step where no global batch is given, so compare the whole job
    return training.footprint.need_gib, training.time.step_time_s * training.columns.steps
