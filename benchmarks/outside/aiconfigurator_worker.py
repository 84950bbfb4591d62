"""Runs in the environment of the outside tools: reads jobs as JSON lines, writes what aiconfigurator says of each.

It looks kernels up in tables measured card by card, so it speaks only of cards, engines and layers that were measured.
A model whose configuration it does not carry is given one of its dimensions, where it is a plain dense one.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from aiconfigurator.cli.api import cli_estimate

logging.disable(logging.CRITICAL)

_CARRIED = {
    "meta-llama/Llama-3.1-8B": "meta-llama/Meta-Llama-3.1-8B",
    "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B",
    "meta-llama/Llama-3.1-405B": "meta-llama/Meta-Llama-3.1-405B",
}
_QUANTISED = {"fp8": "fp8", "fp4": "nvfp4", "int8": "int8_wo", "int4": "int4_wo"}


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                said = _estimate(job)
        except Exception as error:  # whatever a tool says no with, the next job may still be answered
            said = {"refused": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps({"id": job["id"], **said}), flush=True)


def _estimate(job: dict[str, Any]) -> dict[str, Any]:
    model, wanted = job["model"], job["precision"]
    spread = job["data_parallel"] if job["expert_parallel"] > job["tensor_parallel"] else 1
    batch = max(1, round(job["batch_size"] / job["data_parallel"]))
    quantised = {} if wanted == model["native_weight_precision"] or wanted not in _QUANTISED else {
        "gemm_quant_mode": _QUANTISED[wanted], "moe_quant_mode": _QUANTISED[wanted],
    }  # fmt: skip
    experts = {} if not model["num_experts"] else {
        "moe_ep_size": job["expert_parallel"],
        "moe_tp_size": job["tensor_parallel"] * spread // job["expert_parallel"],
    }  # fmt: skip
    found = cli_estimate(
        _CARRIED.get(model["id"], model["id"]) if job["carried"] else _written(model),
        job["measured_on"],
        mode="static" if job["static"] else "agg",
        backend_name=job["measured_with"],
        isl=job["input_length"],
        osl=job["output_length"],
        batch_size=batch,
        tp_size=job["tensor_parallel"],
        pp_size=job["pipeline_parallel"],
        attention_dp_size=spread,
        **quantised,
        **experts,
    )
    request_s = (float(found.ttft) + (job["output_length"] - 1) * float(found.tpot)) / 1000.0
    return {"time_s": job["num_requests"] / (batch * job["data_parallel"]) * request_s}


_WRITTEN: dict[str, str] = {}


def _written(model: dict[str, Any]) -> str:
    """A folder with a config.json of a plain dense decoder."""
    if model["num_experts"] or model["kv_lora_rank"]:
        raise ValueError("not a plain dense model, and not among those carried")
    if model["id"] not in _WRITTEN:
        folder = Path(tempfile.mkdtemp(prefix="pythia-bench-"))
        names = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
                 "vocab_size", "head_dim")  # fmt: skip
        config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 131072}
        (folder / "config.json").write_text(json.dumps(config | {name: model[name] for name in names}))
        _WRITTEN[model["id"]] = str(folder)
    return _WRITTEN[model["id"]]


if __name__ == "__main__":
    main()
