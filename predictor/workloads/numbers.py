"""What a workload says, as numbers: the cells of `predictor.columns` that depend on the workload alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from predictor.roofline.rates import RATE_CODES
from predictor.words import Attention, Checkpointing, Method, Precision, Quantization, VramMetric
from predictor.workload import InferenceWorkload, TrainingWorkload
from predictor.workloads.engines import Trainer, find_serving_engine, find_trainer, fuses_blocks
from predictor.workloads.lengths import training_lengths
from predictor.workloads.lora import lora_parameters
from predictor.workloads.optimizers import ADAMW, find_optimizer

CHECKPOINTING_CODES = {Checkpointing.NONE: 0.0, Checkpointing.SELECTIVE: 1.0, Checkpointing.FULL: 2.0}
ATTENTION_CODES = {Attention.FLASH: 0.0, Attention.SDPA: 1.0, Attention.EAGER: 2.0}
METRIC_CODES = {VramMetric.DRIVER: 0.0, VramMetric.RESERVED: 1.0, VramMetric.ALLOCATED: 2.0, VramMetric.STATED: 3.0}

QUANTIZED_BYTES = {
    # 4 bits, an 8-bit scale per 64 elements and an FP32 one per 256 of those (QLoRA, arXiv:2305.14314, section 3)
    Quantization.NF4: 0.5 + 1 / 64 + 4 / (64 * 256),
    # an FP16 scale and a zero point as wide as a weight per group of 128 (arXiv:2210.17323, 2306.00978)
    Quantization.GPTQ_INT4: 0.5 + 2.5 / 128,
    Quantization.AWQ_INT4: 0.5 + 2.5 / 128,
    Quantization.GPTQ_INT8: 1.0 + 3.0 / 128,
}
"""Bytes per element of a quantised frozen base, scales included."""

SERVED_BYTES = {
    Precision.FP32: 4.0,
    Precision.TF32: 4.0,
    Precision.FP16: 2.0,
    Precision.BF16: 2.0,
    Precision.FP8: 1.0,  # one scale per tensor or per 128 x 128 block: nothing
    Precision.INT8: 1.0 + 3.0 / 128,
    Precision.INT4: 0.5 + 2.5 / 128,
    Precision.FP4: 0.5 + 1.0 / 16,  # NVFP4: an FP8 scale per 16 elements
}
"""Bytes per element of served linear weights, scales included."""

_HABIT = "pure_low_precision: "
"""Begins the note of a workload that did not say whether there is an FP32 copy."""

_STEADY_SCENARIOS = ("offline", "server")
"""MLPerf's: a rate over ten minutes and 24,576 samples at least (MLPerf Inference rules, section 4)."""

_LEAN_KERNELS = ("foak", "unsloth")
"""They compute the loss in place, and adapters in one kernel."""


def training_numbers(w: TrainingWorkload) -> dict[str, float]:
    """The cells of `TrainingColumns` that follow from the workload alone, and the sizes others follow from."""
    full = w.method is Method.FULL
    trainer = find_trainer(w.software.engine)
    width = max(2.0, w.precision.nominal_bytes)  # FP8 and FP4 training keeps 16-bit weights and activations
    stored = width if w.pure_low_precision or width == 4.0 else trainer.weight_bytes
    trained = _trained(w, trainer, stored)
    kernels = _kernels(w.software.kernels)
    lengths = training_lengths(w)
    prepared = w.quantization is Quantization.NF4 and not kernels.load_quantized
    return {
        "sequence": w.sequence_length,
        "peak_sequence": lengths.peak,
        "mean_sequence": lengths.mean,
        "length_spread": lengths.spread,
        "varied": w.sequence_length_is_mean or w.sequence_length_is_cap,
        "micro_batch": w.micro_batch_size,
        "global_batch": w.global_batch_size or 0,
        "num_steps": w.num_steps or 0,
        "num_samples": w.num_samples or 0,
        "num_tokens": w.num_tokens or 0,
        "full": full,
        "quantized": w.quantization is not None,
        "prepared_kbit": prepared,
        "lora_rank": w.lora_rank,
        "lora_parameters": trained.adapters,
        "trained_parameters": trained.adapters + trained.others,
        "train_embeddings": w.train_embeddings,
        "compute_bytes": width,
        "base_bytes": QUANTIZED_BYTES[w.quantization] if w.quantization else stored,
        "weight_bytes": 4.0 if prepared else stored,
        "trained_weight_bytes": trained.mean(4.0, stored),
        "gradient_bytes": trained.mean(4.0, trained.gradient_bytes),
        "master_bytes": trained.master_bytes,
        "state_bytes": _state_bytes(w, trained.mean(4.0, trained.state_width)),
        "step_copy_bytes": 0.0 if trainer.fused_step else _step_copies(w) * trained.mean(4.0, trained.state_width),
        "eight_bit_matmul": w.precision in (Precision.FP8, Precision.FP4),
        "checkpointing": CHECKPOINTING_CODES[w.gradient_checkpointing],
        "attention": ATTENTION_CODES[w.attention],
        "fused_loss": w.fused_loss,
        "lean_loss": kernels.lean,
        "fused_blocks": trainer.fused_kernels or kernels.fused,
        "fused_adapters": kernels.lean,
        "megatron": trainer.megatron,
        # Megatron Core demands sequence parallelism where experts and tensors are both split
        "sequence_parallel": trainer.sequence_parallel or (trainer.megatron and w.architecture.num_moe_layers > 0),
        "autocast": trainer.autocast and not w.pure_low_precision and width < 4.0,
        "whole_gradients": trainer.whole_gradients,
        # FP16 without FP32 copies runs outside mixed precision, whose gradient scaler refuses FP16 gradients
        "upcast_shards": full and w.precision is not Precision.FP16 and _HABIT in "".join(w.assumptions),
        "offload": w.optimizer_offload,
        "precision": RATE_CODES[w.precision],
    }


def inference_numbers(w: InferenceWorkload) -> dict[str, float]:
    """The cells of `InferenceColumns` that follow from the workload alone."""
    engine = find_serving_engine(w.engine, w.software)
    return {
        "requests": w.num_requests,
        "steady": w.software.scenario in _STEADY_SCENARIOS,
        "input": w.input_length,
        "output": w.output_length,
        "cached_prefix": w.cached_prefix_length,
        "max_batch": float("nan") if w.max_batch_size is None else w.max_batch_size,
        "weight_bytes": SERVED_BYTES[w.precision],
        "unquantized_bytes": w.activation_precision.nominal_bytes,
        "activation_bytes": w.activation_precision.nominal_bytes,
        "cache_bytes": SERVED_BYTES[w.kv_cache_precision],
        "paged": engine.paged,
        "page_tokens": engine.page_tokens,
        "max_running": engine.max_running,
        "prefill_chunk": engine.prefill_chunk,
        "keeps_prompt_logits": engine.keeps_prompt_logits,
        "graphs_gib": engine.graphs_gib,
        "precision": RATE_CODES[w.precision],
    }


@dataclass(frozen=True, slots=True)
class _Kernels:
    """What the fused kernels and plug-ins that a run names change."""

    fused: bool
    lean: bool
    load_quantized: bool
    """They load the quantised base themselves, and skip PEFT's preparation."""


@lru_cache(maxsize=1024)
def _kernels(names: str) -> _Kernels:
    names = names.lower()
    return _Kernels(
        fused=fuses_blocks(names),
        lean=any(kernel in names for kernel in _LEAN_KERNELS),
        load_quantized="accelerated" in names,
    )


@dataclass(frozen=True, slots=True)
class _Trained:
    """What is trained: adapters, which PEFT keeps in FP32 whatever the base, and parameters of the model itself."""

    adapters: float
    others: float
    gradient_bytes: float
    master_bytes: float
    state_width: float
    """Of the parameters that are no adapters, as are the two above."""

    def mean(self, of_adapters: float, of_others: float) -> float:
        """Weighted by parameters."""
        share = self.adapters / max(1.0, self.adapters + self.others)
        return share * of_adapters + (1.0 - share) * of_others


def _trained(w: TrainingWorkload, trainer: Trainer, stored: float) -> _Trained:
    a = w.architecture
    vocabulary = a.embedding_params + a.lm_head_params
    low = stored < 4.0 and (w.pure_low_precision or w.method is not Method.FULL)
    if w.method is Method.FULL:
        adapters, others = 0.0, float(a.num_parameters - (0 if w.train_embeddings else vocabulary))
    else:
        adapters = lora_parameters(a, w.lora_rank, w.lora_target_modules)
        others = float(vocabulary if w.train_embeddings else 0)
    return _Trained(
        adapters=adapters,
        others=others,
        gradient_bytes=stored if low or stored == 4.0 else trainer.gradient_bytes,
        master_bytes=0.0 if low or stored == 4.0 else trainer.master_bytes,
        state_width=stored if low else 4.0,
    )


def _step_copies(w: TrainingWorkload) -> int:
    return (find_optimizer(w.optimizer) or ADAMW).step_copies


def _state_bytes(w: TrainingWorkload, natural: float) -> float:
    """Optimizer states per trained parameter; those of a matrix optimizer weighted by what is in layers."""
    optimizer = find_optimizer(w.optimizer) or ADAMW
    each = natural if optimizer.state_bytes is None else optimizer.state_bytes
    if optimizer.matrix_states is None or w.method is not Method.FULL:
        return optimizer.states * each
    a = w.architecture
    outside = min(1.0, (a.embedding_params + a.lm_head_params) / a.num_parameters)
    return each * (optimizer.matrix_states * (1.0 - outside) + optimizer.states * outside)
