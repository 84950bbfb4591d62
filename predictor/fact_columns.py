"""Architectures, GPU types and layouts as columns of numbers, one row per question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from predictor.architectures.architecture import Architecture
from predictor.forecast import Question
from predictor.gather import Distinct, Flags, Floats, as_columns, distinct, gather, select
from predictor.hardware import GpuType
from predictor.layout import Layout
from predictor.words import Sharding

NO_WINDOW = 1e12
"""Tokens of a window that never closes: more than any sequence."""

LINEAR_STATE_WIDTH = 128
"""Width of a linear-attention or state-space state per channel (Mamba-2 d_state, Gated DeltaNet head)."""

PLAIN_INTERCONNECT_GBPS = 100.0
"""Network of a machine of PCIe cards where nobody said: one 100 Gbit/s adapter."""

PCIE_GBS = {0: 8.0, 3: 12.0, 4: 24.0, 5: 50.0, 6: 100.0}
"""Achievable GB/s in one direction over 16 lanes: three quarters of the wire rate (PCI-SIG base specifications)."""

SHARDING_STAGE = {Sharding.NONE: 0.0, Sharding.ZERO1: 1.0, Sharding.ZERO2: 2.0, Sharding.ZERO3: 3.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelColumns:
    """What the models are made of. Parameters are counts, widths are elements."""

    parameters: Floats
    active_parameters: Floats
    embedding_parameters: Floats
    """Token embedding and learned position table."""
    head_parameters: Floats
    """The output projection; 0 where it is the embedding (tied)."""
    expert_parameters: Floats
    """Routed experts of all layers together; expert parallelism divides these only."""
    block_parameters: Floats
    """All that is in layers and is no routed expert: what tensor parallelism divides beside the experts."""
    extra_parameters: Floats
    """Towers and extra heads; never split or quantised."""
    layers: Floats
    """Blocks, those of the decoder included for an encoder-decoder."""
    hidden: Floats
    vocab: Floats
    tied: Flags

    intermediate: Floats
    """Width of a dense MLP; 0 where every MLP is a mixture."""
    mlp_matrices: Floats
    """3 in a gated MLP, 2 otherwise."""
    dense_layers: Floats
    """Layers whose MLP is dense."""
    moe_layers: Floats
    experts: Floats
    experts_per_token: Floats
    expert_intermediate: Floats
    expert_width: Floats
    """Width the routed experts read and write."""
    shared_intermediate: Floats

    heads: Floats
    kv_heads: Floats
    head_dim: Floats
    v_head_dim: Floats
    rope_dim: Floats
    q_rank: Floats
    kv_rank: Floats
    """Width of the cached latent (MLA); 0 elsewhere."""
    attention_layers: Floats
    full_layers: Floats
    sliding_layers: Floats
    window: Floats
    """Tokens a sliding layer looks back; NO_WINDOW where there is none."""
    linear_layers: Floats
    attention_parameters: Floats
    """Projections of one attention block."""
    linear_parameters: Floats
    """Of one linear-attention or state-space mixer."""

    cache_full: Floats
    """Cached elements per token over all full-attention layers; divided by tensor parallelism up to the KV heads."""
    cache_sliding: Floats
    """The same of the sliding layers, for the tokens inside the window."""
    cache_full_heads: Floats
    """KV heads of a full layer that tensor parallelism can divide; 1 for a latent, which every rank repeats."""
    cache_sliding_heads: Floats
    cache_state: Floats
    """State elements per sequence of all linear layers, whatever the length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuColumns:
    """What the cards offer; 0 for a rate the silicon lacks."""

    sliced: Flags
    """A part of a card, of which nobody has measured any."""
    usable_gib: Floats
    """0 for a host without device memory."""
    bandwidth_gbs: Floats
    fp32_tflops: Floats
    tf32_tflops: Floats
    bf16_tflops: Floats
    """FP16 rate where the card has no BF16 (Volta, Turing): engines fall back to it."""
    fp8_tflops: Floats
    fp4_tflops: Floats
    int8_tops: Floats
    achievable_fraction: Floats
    nvlink_gbs: Floats
    """Both directions; 0 without."""
    pcie_gbs: Floats
    """One direction, achievable."""
    bridged_gpus: Floats
    """GPUs that one NVLink bridge joins, the rest of the machine being on PCIe; 0 where NVLink joins all or none."""
    rack_gpus: Floats
    """GPUs that NVLink joins beyond a machine (NVL72); 0 where it ends at the machine."""
    year: Floats
    is_amd: Flags
    warp_group_matmul: Flags
    """Matrix units that only instructions of their own generation fill: Hopper, and Blackwell of data centres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutColumns:
    """How the work is split."""

    gpus: Floats
    tp: Floats
    pp: Floats
    dp: Floats
    cp: Floats
    ep: Floats
    dp_attention: Flags
    stage: Floats
    """ZeRO stage, 0 to 3."""
    node_gpus: Floats
    nodes: Floats
    """Machines the layout spans."""
    domain_gpus: Floats
    """GPUs that share the fast links: those of a machine, or of a rack."""
    interconnect_gbs: Floats
    """Network per machine in gigabyte/s, one direction."""
    link_gbs: Floats
    """Between two GPUs of one machine, one direction: NVLink where the card has it, else PCIe."""


def model_columns(architectures: Distinct[Architecture]) -> ModelColumns:
    """One row per architecture given."""
    return as_columns(ModelColumns, gather(architectures, _model))


def gpu_columns(gpus: Sequence[GpuType]) -> GpuColumns:
    """One row per GPU type given."""
    return as_columns(GpuColumns, gather(distinct(gpus), _gpu))


def layout_columns(questions: Sequence[Question], gpu: GpuColumns) -> LayoutColumns:
    """One row per question; ``gpu`` are the columns of the same questions."""
    split = gather(distinct(list(map(attrgetter("layout"), questions))), _layout)
    node_gpus = np.fromiter(map(attrgetter("node_gpus"), questions), np.float64, len(questions))
    said = np.array([question.interconnect_gbps or 0.0 for question in questions], dtype=np.float64)
    return as_columns(
        LayoutColumns,
        split
        | {
            "node_gpus": node_gpus,
            "nodes": np.ceil(split["gpus"] / node_gpus),
            "domain_gpus": np.maximum(node_gpus, gpu.rack_gpus),
            "interconnect_gbs": np.where(said > 0, said, _usual_interconnect_gbps(gpu, node_gpus)) / 8.0,
            "link_gbs": np.where(gpu.nvlink_gbs > 0, gpu.nvlink_gbs / 2.0, gpu.pcie_gbs),
        },
    )


def _usual_interconnect_gbps(gpu: GpuColumns, node_gpus: Floats) -> Floats:
    """Makers' reference designs: an adapter per NVLink GPU, 200 Gbit/s (DGX A100), 400 (DGX H100) or 800 (B300)."""
    per_gpu = select([gpu.year < 2022, gpu.year < 2025], [200.0, 400.0], 800.0)
    return np.where(gpu.nvlink_gbs > 0, per_gpu * node_gpus, PLAIN_INTERCONNECT_GBPS)


def _model(a: Architecture) -> dict[str, float]:
    experts = a.num_moe_layers * a.num_experts * a.expert_params
    outside = a.embedding_params + a.lm_head_params + a.extra_params
    stacks = 2 if a.is_encoder_decoder else 1
    return {
        "parameters": a.num_parameters,
        "active_parameters": a.num_active_parameters,
        "embedding_parameters": a.embedding_params,
        "head_parameters": a.lm_head_params,
        "expert_parameters": experts,
        "block_parameters": max(0, a.num_parameters - outside - experts),
        "extra_parameters": a.extra_params,
        "layers": a.num_hidden_layers * stacks,
        "hidden": a.hidden_size,
        "vocab": a.vocab_size,
        "tied": a.tie_word_embeddings,
        "intermediate": a.intermediate_size,
        "mlp_matrices": a.mlp_matrices,
        "dense_layers": a.num_dense_mlp_layers * stacks,
        "moe_layers": a.num_moe_layers * stacks,
        "experts": a.num_experts,
        "experts_per_token": a.num_experts_per_tok,
        "expert_intermediate": a.moe_intermediate_size,
        "expert_width": a.moe_latent_size,
        "shared_intermediate": a.shared_expert_intermediate_size,
        "heads": a.num_attention_heads,
        "kv_heads": a.num_key_value_heads,
        "head_dim": a.head_dim,
        "v_head_dim": a.v_head_dim,
        "rope_dim": a.qk_rope_head_dim,
        "q_rank": a.q_lora_rank or 0,
        "kv_rank": a.kv_lora_rank or 0,
        "attention_layers": a.attention_layers,
        "full_layers": a.full_attention_layers,
        "sliding_layers": a.sliding_attention_layers,
        "window": a.sliding_window or NO_WINDOW,
        "linear_layers": a.linear_attention_layers,
        "attention_parameters": a.attention_params_per_layer,
        "linear_parameters": a.linear_layer_params,
        "cache_full": a.full_attention_layers * a.global_kv_elements_per_token_per_layer,
        "cache_sliding": a.sliding_attention_layers * a.kv_elements_per_token_per_layer,
        "cache_full_heads": 1 if a.kv_lora_rank else a.global_num_key_value_heads,
        "cache_sliding_heads": 1 if a.kv_lora_rank else a.num_key_value_heads,
        "cache_state": a.linear_attention_layers * 2 * a.hidden_size * LINEAR_STATE_WIDTH,
    }


def _gpu(gpu: GpuType) -> dict[str, float]:
    return {
        "sliced": gpu.slice_of is not None,
        "usable_gib": gpu.usable_gib or 0.0,
        "bandwidth_gbs": gpu.memory_bandwidth_gbs,
        "fp32_tflops": gpu.fp32_tflops or 0.0,
        "tf32_tflops": gpu.tf32_tflops or 0.0,
        "bf16_tflops": gpu.bf16_tflops or gpu.fp16_tflops or 0.0,
        "fp8_tflops": (gpu.fp8_tflops or 0.0) if gpu.native_fp8 else 0.0,
        "fp4_tflops": (gpu.fp4_tflops or 0.0) if gpu.native_fp4 else 0.0,
        "int8_tops": gpu.int8_tops or 0.0,
        "achievable_fraction": gpu.achievable_fraction,
        "nvlink_gbs": gpu.nvlink_gbs,
        "pcie_gbs": PCIE_GBS.get(gpu.pcie_gen, PCIE_GBS[5]),
        "bridged_gpus": _bridged_gpus(gpu.link),
        "rack_gpus": 72.0 if "NVL72" in gpu.link else 0.0,
        "year": gpu.year,
        "is_amd": gpu.vendor.casefold() == "amd",
        "warp_group_matmul": gpu.compute_capability.startswith(("9.", "10.")),
    }


def _bridged_gpus(link: str) -> float:
    """2 for an ordinary bridge, 4 where the catalogue calls it ``2/4-way``."""
    if "bridge" not in link:
        return 0.0
    return 4.0 if "4-way" in link else 2.0


def _layout(layout: Layout) -> dict[str, float]:
    return {
        "gpus": layout.gpu_count,
        "tp": layout.tensor_parallel,
        "pp": layout.pipeline_parallel,
        "dp": layout.data_parallel,
        "cp": layout.context_parallel,
        "ep": layout.expert_parallel,
        "dp_attention": layout.data_parallel_attention,
        "stage": SHARDING_STAGE[layout.sharding],
    }
