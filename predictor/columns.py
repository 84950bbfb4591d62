"""Questions as columns: every number the arithmetic and the features read, one array cell per question.

Lengths are tokens, sizes bytes per element, rates TFLOPS. Facts of the model, the GPU and the
layout are in `predictor.fact_columns`; here is what the workload says and what follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeVar

import numpy as np

from predictor.errors import InvalidWorkload
from predictor.fact_columns import GpuColumns, LayoutColumns, ModelColumns, gpu_columns, layout_columns, model_columns
from predictor.forecast import Question
from predictor.gather import Distinct, Flags, Floats, as_columns, distinct, gather
from predictor.roofline.pace import (
    NEW_CARD_YEAR,
    ServingPaceColumns,
    TrainingPaceColumns,
    serving_pace,
    serving_pace_of_new_cards,
    training_pace,
)
from predictor.roofline.rates import matrix_tflops
from predictor.words import Attention, Checkpointing, VramMetric
from predictor.workload import InferenceWorkload, TrainingWorkload
from predictor.workloads.numbers import (
    ATTENTION_CODES,
    CHECKPOINTING_CODES,
    METRIC_CODES,
    inference_numbers,
    training_numbers,
)

W = TypeVar("W", TrainingWorkload, InferenceWorkload)

SELECTIVE_CHECKPOINTING = CHECKPOINTING_CODES[Checkpointing.SELECTIVE]
FULL_CHECKPOINTING = CHECKPOINTING_CODES[Checkpointing.FULL]
EAGER_ATTENTION = ATTENTION_CODES[Attention.EAGER]
DRIVER = METRIC_CODES[VramMetric.DRIVER]
RESERVED = METRIC_CODES[VramMetric.RESERVED]
ALLOCATED = METRIC_CODES[VramMetric.ALLOCATED]
STATED = METRIC_CODES[VramMetric.STATED]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingColumns:
    """Training questions."""

    model: ModelColumns
    gpu: GpuColumns
    layout: LayoutColumns
    pace: TrainingPaceColumns
    metric: Floats
    """DRIVER, RESERVED, ALLOCATED or STATED."""

    sequence: Floats
    """As asked: a mean or a cap where lengths vary."""
    peak_sequence: Floats
    """Of the longest batch, padding included."""
    mean_sequence: Floats
    """Of the mean batch, padding included."""
    length_spread: Floats
    """Standard deviation of the logarithm of a batch's tokens; 0 where all are equally long."""
    varied: Flags
    """Lengths differ from batch to batch."""
    micro_batch: Floats
    """Sequences per data-parallel rank and forward pass."""
    sequences_per_step: Floats
    """Over the whole layout."""
    accumulation: Floats
    """Forward-backward passes per optimizer step and rank."""
    steps: Floats
    tokens_per_step: Floats
    """Over the whole layout."""

    full: Flags
    """Full training; otherwise adapters on a frozen base."""
    quantized: Flags
    """The frozen base is quantised."""
    prepared_kbit: Flags
    """PEFT's k-bit preparation: norms, embeddings and head of the quantised base in FP32."""
    lora_rank: Floats
    lora_parameters: Floats
    trained_parameters: Floats
    train_embeddings: Flags

    compute_bytes: Floats
    """Of an activation element."""
    base_bytes: Floats
    """Of an element of the layers' linear weights as stored: quantised where the base is."""
    weight_bytes: Floats
    """Of an element of all other weights as stored."""
    trained_weight_bytes: Floats
    """Of a trained element, adapters kept in FP32 included."""
    gradient_bytes: Floats
    master_bytes: Floats
    """FP32 copy beside low-precision weights; 0 without."""
    state_bytes: Floats
    """Optimizer states per trained parameter, all states together."""
    step_copy_bytes: Floats
    """Temporary of the optimizer step per trained parameter."""
    eight_bit_matmul: Flags
    """Matrix arithmetic in FP8 or FP4: weights have a cached low-precision copy."""

    checkpointing: Floats
    """NO_CHECKPOINTING, SELECTIVE_CHECKPOINTING or FULL_CHECKPOINTING."""
    attention: Floats
    """FLASH_ATTENTION, SDPA_ATTENTION or EAGER_ATTENTION."""
    fused_loss: Flags
    """The logits are never materialised."""
    lean_loss: Flags
    """Cross-entropy in place: the logits exist once, without FP32 copies."""
    fused_blocks: Flags
    """Norms, rotary embedding and activation functions are fused kernels, which keep less."""
    fused_adapters: Flags
    """So are low-rank adapters."""
    megatron: Flags
    """Megatron's way: vocabulary-parallel loss, FP32 gradients in one buffer that lives through the step."""
    sequence_parallel: Flags
    """Tensor-parallel ranks split norms and residuals too."""
    autocast: Flags
    """FP32 weights, cast to the compute type as they are used."""
    whole_gradients: Flags
    """Gradients that accumulate under FSDP are held whole until the last pass (accelerate's no_sync)."""
    upcast_shards: Flags
    """Nobody said whether there is an FP32 copy, and mixed precision would make FSDP's shards one."""
    offload: Flags
    """Optimizer states live in host memory."""
    compute_tflops: Floats
    """Dense data-sheet rate of the matrix arithmetic on this card, after fall-backs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceColumns:
    """Batch inference questions."""

    model: ModelColumns
    gpu: GpuColumns
    layout: LayoutColumns
    pace: ServingPaceColumns
    metric: Floats
    """DRIVER, RESERVED, ALLOCATED or STATED."""

    requests: Floats
    steady: Flags
    """The requests are a share of a much longer run: its rate, without ramp and tail."""
    input: Floats
    output: Floats
    cached_prefix: Floats
    max_batch: Floats
    """Sequences in flight over all replicas as asked; NaN where Pythia chooses."""

    weight_bytes: Floats
    """Of an element of the layers' linear weights, scales included."""
    unquantized_bytes: Floats
    """Of an element of embeddings, head and norms."""
    activation_bytes: Floats
    cache_bytes: Floats
    """Of a KV-cache element."""

    paged: Flags
    """The cache is in pages, sequences come and go (vLLM, SGLang, TensorRT-LLM); otherwise one contiguous batch."""
    page_tokens: Floats
    max_running: Floats
    """Sequences in flight that the engine allows per replica by default."""
    prefill_chunk: Floats
    """Most tokens of one forward pass per replica; NO_WINDOW where a whole batch of prompts is run at once."""
    keeps_prompt_logits: Flags
    """Computes the logits of every prompt position, with an FP32 copy (Transformers before mid-2024)."""
    graphs_gib: Floats
    """CUDA graphs and compiled engine per GPU."""
    compute_tflops: Floats
    """Dense data-sheet rate of the matrix arithmetic on this card, after fall-backs."""


def training_columns(questions: Sequence[Question]) -> TrainingColumns:
    """Columns of questions whose workloads are all TrainingWorkload."""
    workloads = _workloads(questions, TrainingWorkload, "training")
    numbers: dict[str, object] = {}
    gpu = gpu_columns(list(map(attrgetter("gpu"), questions)))
    layout = layout_columns(questions, gpu)
    said = gather(workloads, training_numbers)
    # the rules of TrainingWorkload.sequences_per_step, accumulation_steps and steps, for all rows at once
    sequences = np.where(said["global_batch"] > 0, said["global_batch"], said["micro_batch"] * layout.dp)
    samples = np.where(said["num_samples"] > 0, said["num_samples"], said["num_tokens"] / said["sequence"])
    steps = np.where(said["num_steps"] > 0, said["num_steps"], np.maximum(1.0, np.ceil(samples / sequences)))
    numbers |= said
    numbers |= {
        "model": model_columns(workloads.each(lambda workload: workload.architecture)),
        "gpu": gpu,
        "layout": layout,
        "pace": as_columns(TrainingPaceColumns, gather(workloads, training_pace)),
        "metric": _metrics(questions),
        "sequences_per_step": sequences,
        "accumulation": np.maximum(1.0, np.ceil(sequences / (said["micro_batch"] * layout.dp))),
        "steps": steps,
        "tokens_per_step": sequences * said["sequence"],
        "compute_tflops": matrix_tflops(gpu, said["precision"], weights_only=False),
    }
    return as_columns(TrainingColumns, numbers)


def inference_columns(questions: Sequence[Question]) -> InferenceColumns:
    """Columns of questions whose workloads are all InferenceWorkload."""
    workloads = _workloads(questions, InferenceWorkload, "inference")
    gpu = gpu_columns(list(map(attrgetter("gpu"), questions)))
    said = gather(workloads, inference_numbers)
    pace = gather(workloads, serving_pace)
    if (new := gpu.year >= NEW_CARD_YEAR).any():
        on_new = gather(workloads, serving_pace_of_new_cards)
        pace = {name: np.where(new, on_new[name], pace[name]) for name in pace}
    numbers: dict[str, object] = dict(said)
    numbers |= {
        "model": model_columns(workloads.each(lambda workload: workload.architecture)),
        "gpu": gpu,
        "layout": layout_columns(questions, gpu),
        "pace": as_columns(ServingPaceColumns, pace),
        "metric": _metrics(questions),
        "compute_tflops": matrix_tflops(gpu, said["precision"], weights_only=True),
    }
    return as_columns(InferenceColumns, numbers)


def _metrics(questions: Sequence[Question]) -> Floats:
    metrics = distinct(list(map(attrgetter("vram_metric"), questions)))
    return gather(metrics, lambda metric: {"code": METRIC_CODES[metric]})["code"]


def _workloads(questions: Sequence[Question], kind: type[W], word: str) -> Distinct[W]:
    found: Distinct[W] = distinct(list(map(attrgetter("workload"), questions)))
    if not questions or not all(isinstance(workload, kind) for workload in found.objects):
        of_kind = sum(isinstance(question.workload, kind) for question in questions)
        raise InvalidWorkload(f"{of_kind} of {len(questions)} questions are about {word}; give at least one, all of it")
    return found
