"""Runs in the environment of the outside tools: reads jobs as JSON lines, writes what llm-analysis says of each.

Efficiencies are the tool's own (half of the peak in training, as its constants advise). It knows an MLP of two
matrices; a gated one is given as wide as makes its parameters come out right.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from llm_analysis.analysis import ActivationRecomputation, DSZeRO, LLMAnalysis
from llm_analysis.config import DtypeConfig, GPUConfig, ModelConfig, ParallelismConfig

logging.disable(logging.CRITICAL)

_RECOMPUTATION = {
    "none": ActivationRecomputation.NONE,
    "selective": ActivationRecomputation.SELECTIVE,
    "full": ActivationRecomputation.FULL,
}
_STAGES = {"none": DSZeRO.NONE, "zero1": DSZeRO.STAGE_1, "zero2": DSZeRO.STAGE_2, "zero3": DSZeRO.STAGE_3}
_TRAINING_EFFICIENCY = 0.5


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        try:
            said = _training(job) if job["type"] == "training" else _inference(job)
        except (AssertionError, ArithmeticError, ValueError) as error:
            said = {"refused": str(error)[:200]}
        print(json.dumps({"id": job["id"], **said}), flush=True)


def _training(job: dict[str, Any]) -> dict[str, float]:
    found = _analysis(job, _TRAINING_EFFICIENCY).training(
        batch_size_per_gpu=job["micro_batch_size"],
        gradient_accumulation_steps=job["accumulation_steps"],
        global_batch_size=job["micro_batch_size"] * job["accumulation_steps"] * job["data_parallel"],
        seq_len=job["sequence_length"],
        total_num_tokens=job["sequence_length"] * job["micro_batch_size"],
        activation_recomputation=_RECOMPUTATION[job["gradient_checkpointing"]],
        ds_zero=_STAGES[job["sharding"]],
        flash_attn=job["attention"] != "eager",
        mlp_gated_linear_units=job["mlp_matrices"] == 3,
    )
    return {
        "memory_gib": found["(weight+op_state+grad+act)_memory_per_gpu"] / 2**30,
        "time_s": found["latency_per_iter"],
    }


def _inference(job: dict[str, Any]) -> dict[str, float]:
    batch = max(1, round(job["batch_size"] / job["data_parallel"]))
    found = _analysis(job, None).inference(
        batch_size_per_gpu=batch,
        seq_len=job["input_length"],
        num_tokens_to_generate=job["output_length"],
        kv_cache_dtype_bytes=job["cache_bytes"],
    )
    activations = max(found["prefill_activation_memory_per_gpu"], found["decode_activation_memory_per_gpu"])
    waves = job["num_requests"] / (batch * job["data_parallel"])
    return {
        "memory_gib": (found["weight_memory_per_gpu"] + found["kv_cache_memory_per_gpu"] + activations) / 2**30,
        "time_s": waves * found["total_latency"],
    }


def _analysis(job: dict[str, Any], efficiency: float | None) -> LLMAnalysis:
    model, gpu = job["model"], job["gpu"]
    width = model["intermediate_size"] * job["mlp_matrices"] / 2
    return LLMAnalysis(
        ModelConfig(
            name=model["id"],
            num_layers=model["num_hidden_layers"],
            n_head=model["num_attention_heads"],
            hidden_dim=model["hidden_size"],
            vocab_size=model["vocab_size"],
            max_seq_len=10**9,
            num_key_value_heads=model["num_key_value_heads"],
            ffn_embed_dim=width,
            expansion_ratio=width / model["hidden_size"],
            moe_num_experts=model["num_experts"] or 1,
            moe_top_k=model["num_experts_per_tok"] or 1,
        ),
        GPUConfig(
            name=gpu["name"],
            mem_per_GPU_in_GB=gpu["memory_gb_nominal"],
            hbm_bandwidth_in_GB_per_sec=gpu["memory_bandwidth_gbs"],
            intra_node_bandwidth_in_GB_per_sec=gpu["link_gbs"],
            intra_node_min_message_latency=8e-6,
            peak_fp16_TFLOPS=gpu["bf16_tflops"],
        ),
        DtypeConfig(weight_bits=job["weight_bits"]),
        ParallelismConfig(
            tp_size=job["tensor_parallel"],
            pp_size=job["pipeline_parallel"],
            dp_size=job["data_parallel"],
            ep_size=job["expert_parallel"],
        ),
        flops_efficiency=efficiency,
    )


if __name__ == "__main__":
    main()
