"""Small result files in the forms of their makers, invented figure by figure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from predictor.importers.reading import Imported, read_results


def read(
    folder: Path,
    content: object,
    name: str = "result.json",
    *,
    given: Mapping[str, object] | None = None,
    columns: Mapping[str, str] | None = None,
    form: str | None = None,
) -> Imported:
    """Write a file and read it as its user would."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else as_text(content).encode())
    return read_results(path, format=form, given=given or {}, columns=columns or {})


def as_text(content: object) -> str:
    return content if isinstance(content, str) else json.dumps(content, indent=2)


def the_row(imported: Imported) -> dict[str, Any]:
    """The only row of a file that gave nothing else."""
    assert not imported.rejected, imported.rejected
    (row,) = imported.rows
    return row


def the_reason(imported: Imported) -> str:
    """Why the only result of a file was kept out."""
    assert not imported.rows
    (rejected,) = imported.rejected
    return rejected.reason


def peft_result(**changes: Any) -> dict[str, Any]:
    """An experiment of PEFT's method comparison: two intervals of 10 steps, 2 s and 1 s a step."""
    result: dict[str, Any] = {
        "run_info": {
            "experiment_name": "lora/rank8",
            "train_config": {
                "model_id": "meta-llama/Llama-3.2-3B",
                "dtype": "bfloat16",
                "max_seq_length": 768,
                "batch_size": 4,
                "optimizer_type": "AdamW",
                "use_gc": False,
            },
            "peft_config": {"peft_type": "LORA", "r": 8, "target_modules": ["q_proj", "v_proj"], "use_dora": False},
            "error_msg": "",
        },
        "train_info": {
            "accelerator_memory_max": 21 * 2**30,
            "status": "success",
            "metrics": [
                {"step": 10, "train time": 20.0, "eval time": 5.0},
                {"step": 20, "train time": 10.0, "eval time": 5.0},
                {"step": 20, "train samples": 80, "train total tokens": 16_000},
            ],
        },
        "meta_info": {
            "package_info": {"transformers-version": "5.1", "peft-version": "0.19", "torch-version": "2.9"},
            "system_info": {"accelerator": "NVIDIA L40S"},
        },
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = result
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    return result


def serving_result(**changes: Any) -> dict[str, Any]:
    """100 requests of 512 tokens answered with 128 each in 20 s."""
    return {
        "backend": "vllm",
        "model_id": "meta-llama/Llama-3.1-8B",
        "num_prompts": 100,
        "request_rate": "inf",
        "max_concurrency": 32,
        "duration": 20.0,
        "completed": 100,
        "total_input_tokens": 51_200,
        "total_output_tokens": 12_800,
        "output_throughput": 640.0,
    } | changes


def mlperf_entry(**changes: Any) -> dict[str, Any]:
    """One line of a round's results: 8 cards, 20,000 tokens a second."""
    return {
        "Submitter": "Acme",
        "Platform": "acme_8x",
        "UsedModel": "llama2-70b-99",
        "Model": "llama2-70b-99",
        "Scenario": "Offline",
        "Accuracy": "ROUGE1: 44.4  TOKENS_PER_SAMPLE: 290.5",
        "Nodes": 1,
        "Accelerator": "NVIDIA H100-SXM-80GB",
        "a#": 8.0,
        "Software": "TensorRT 10.2.0, CUDA 12.4",
        "version": "v4.1",
        "weight_data_types": "fp8",
        "Performance_Result": 20_000.0,
        "Performance_Units": "Tokens/s",
    } | changes


def golden_values() -> dict[str, Any]:
    """A warm-up step of 9 s, then 0.5, 0.6 and 0.7 s; 3 GiB at the end."""
    return {
        "lm loss": {"start_step": 1, "end_step": 4, "step_interval": 1, "values": {"1": 10.9, "2": 10.8}},
        "mem-max-allocated-bytes": {"values": {"1": 2.0 * 2**30, "2": 3.0 * 2**30, "3": 3.0 * 2**30}},
        "iteration-time": {"values": {"10": 0.7, "1": 9.0, "2": 0.5, "3": 0.6, "11": "nan"}},
    }


MEGATRON_CONFIG = """\
ENV_VARS:
  CUDA_DEVICE_MAX_CONNECTIONS: 1
MODEL_ARGS:
  --num-layers: 12
  --hidden-size: 512
  --num-attention-heads: 8
  --micro-batch-size: 4
  --global-batch-size: 32
  --seq-length: 1024
  --tensor-model-parallel-size: 2
  --pipeline-model-parallel-size: 2
  --use-distributed-optimizer: true
  --attention-backend: unfused
  --bf16: true
TEST_TYPE: regular
"""


def mllog(*events: tuple[str, float, object, Mapping[str, object]]) -> str:
    """Log lines of MLPerf Training: key, milliseconds, value, metadata."""
    lines = [
        ":::MLLOG " + json.dumps({"namespace": "", "time_ms": ms, "key": key, "value": value, "metadata": dict(about)})
        for key, ms, value, about in events
    ]
    return "\n".join(["starting", *lines, "done"])


def training_log(benchmark: str = "llama2_70b_lora", **said: object) -> str:
    """Two blocks of 10 and 5 s that train 96 samples in batches of 8, with an evaluation of 4 s between them."""
    facts = {
        "submission_benchmark": benchmark,
        "submission_org": "Acme",
        "global_batch_size": 8,
        "lora_rank": 16,
    } | said
    return mllog(
        *((key, 0, value, {}) for key, value in facts.items()),
        ("run_start", 1_000, None, {}),
        ("block_start", 1_000, None, {"samples_count": 0}),
        ("block_stop", 11_000, None, {"samples_count": 64}),
        ("eval_start", 11_000, None, {}),
        ("eval_stop", 15_000, None, {}),
        ("block_start", 15_000, None, {"samples_count": 64}),
        ("block_stop", 20_000, None, {"samples_count": 96}),
        ("run_stop", 20_000, None, {"status": "success"}),
    )
