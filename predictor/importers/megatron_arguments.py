"""Megatron-LM's command line as a workload and a layout, with its own defaults where an argument is absent.

Names and defaults are those of `megatron/training/arguments.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from predictor.importers.draft import UnusableResult
from predictor.importers.values import known, text, whole

Arguments = Mapping[str, str]

_SHARDING = {"no_shard": "none", "optim": "zero1", "optim_grads": "zero2", "optim_grads_params": "zero3"}
_OPTIMIZERS = {"adam": "adamw", "dist_muon": "muon"}
_ATTENTION = {"unfused": "eager", "local": "eager", "flash": "flash"}


def training_workload(arguments: Arguments) -> dict[str, Any]:
    """A measured step of pre-training."""
    optimizer = (text(arguments.get("optimizer")) or "adam").casefold()
    recompute = text(arguments.get("recompute-granularity"))
    if recompute is None:
        recompute = "selective" if _flag(arguments, "recompute-activations") else "none"
    return known(
        type="training",
        model=_architecture(arguments),
        method="full",
        precision=_precision(arguments),
        sequence_length=whole(arguments.get("seq-length")),
        micro_batch_size=whole(arguments.get("micro-batch-size")),
        global_batch_size=whole(arguments.get("global-batch-size")),
        optimizer=_OPTIMIZERS.get(optimizer, optimizer),
        optimizer_offload="cpu" if _flag(arguments, "optimizer-cpu-offload") else None,
        gradient_checkpointing=recompute if recompute in ("none", "selective", "full") else None,
        attention=_ATTENTION.get(arguments.get("attention-backend", "")),
        num_steps=1,
    )


def sharded_layout(arguments: Arguments) -> dict[str, Any]:
    """The split that the arguments fix; data parallelism takes what the GPU count leaves."""
    sharding = "zero1" if _flag(arguments, "use-distributed-optimizer") else "none"
    if _flag(arguments, "use-torch-fsdp2"):
        sharding = "zero3"
    elif _flag(arguments, "use-megatron-fsdp") or _flag(arguments, "use-custom-fsdp"):
        sharding = _SHARDING.get(arguments.get("data-parallel-sharding-strategy", "no_shard"), sharding)
    return {
        "tensor_parallel": whole(arguments.get("tensor-model-parallel-size")) or 1,
        "pipeline_parallel": whole(arguments.get("pipeline-model-parallel-size")) or 1,
        "context_parallel": whole(arguments.get("context-parallel-size")) or 1,
        "expert_parallel": whole(arguments.get("expert-model-parallel-size")) or 1,
        "sharding": sharding,
    }


def ramps_up_its_batch(arguments: Arguments) -> bool:
    """The global batch grows during the run, so that no step's time stands for all."""
    return text(arguments.get("rampup-batch-size")) is not None


def _architecture(arguments: Arguments) -> dict[str, Any]:
    hidden, heads = whole(arguments.get("hidden-size")), whole(arguments.get("num-attention-heads"))
    layers = whole(arguments.get("num-layers"))
    if hidden is None or heads is None or layers is None:
        raise UnusableResult("MODEL_ARGS lacks one of num-layers, hidden-size and num-attention-heads")
    gated = _flag(arguments, "swiglu")
    # two thirds of four times the width, in blocks of 64, keep a gated MLP's parameters
    width = whole(arguments.get("ffn-hidden-size")) or (int(4 * hidden * 2 / 3) // 64 * 64 if gated else 4 * hidden)
    groups = whole(arguments.get("num-query-groups")) if _flag(arguments, "group-query-attention") else heads
    return known(
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=width,
        gated_mlp=gated,
        num_attention_heads=heads,
        num_key_value_heads=groups or 1,
        head_dim=whole(arguments.get("kv-channels")),
        vocab_size=whole(arguments.get("vocab-size")),
        tie_word_embeddings=not _flag(arguments, "untie-embeddings-and-output-weights"),
        mtp_layers=whole(arguments.get("mtp-num-layers")),
        **_mixture(arguments, width),
        **_latent_attention(arguments),
    )


def _mixture(arguments: Arguments, width: int) -> dict[str, Any]:
    experts = whole(arguments.get("num-experts"))
    if experts is None:
        return {}
    every = arguments.get("moe-layer-freq", "1").replace(" ", "")
    dense_first = re.fullmatch(r"\(?\[0\]\*(\d{1,4})\+\[1\]\*\d{1,4}\)?", every)
    if every != "1" and dense_first is None:
        raise UnusableResult(f"moe-layer-freq {every:.60} is not one run of dense layers before the mixtures")
    return known(
        num_experts=experts,
        num_experts_per_tok=whole(arguments.get("moe-router-topk")) or 2,
        moe_intermediate_size=whole(arguments.get("moe-ffn-hidden-size")) or width,
        shared_expert_intermediate_size=whole(arguments.get("moe-shared-expert-intermediate-size")),
        first_k_dense_layers=int(dense_first[1]) if dense_first else None,
    )


def _latent_attention(arguments: Arguments) -> dict[str, Any]:
    if not _flag(arguments, "multi-latent-attention"):
        return {}
    return known(
        q_lora_rank=whole(arguments.get("q-lora-rank")),
        kv_lora_rank=whole(arguments.get("kv-lora-rank")) or 32,
        qk_nope_head_dim=whole(arguments.get("qk-head-dim")) or 128,
        qk_rope_head_dim=whole(arguments.get("qk-pos-emb-head-dim")) or 64,
        v_head_dim=whole(arguments.get("v-head-dim")) or 128,
    )


def _precision(arguments: Arguments) -> str:
    for precision, argument in (("fp4", "fp4-format"), ("fp8", "fp8-format")):
        if text(arguments.get(argument)) is not None:
            return precision
    return next((precision for precision in ("bf16", "fp16") if _flag(arguments, precision)), "fp32")


def _flag(arguments: Arguments, name: str) -> bool:
    return arguments.get(name, "").casefold() == "true"
