"""Ask outside tools, each in a process of the environment that `benchmarks/requirements.txt` describes.

They get a job in plain words and numbers, a JSON object a line, and answer in the same way; a tool that is not there,
or that says nothing, is named in one line and the benchmark goes on.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.baselines_formulas import BYTES
from predictor.architectures.architecture import Architecture
from predictor.telemetry import Observation
from predictor.words import Method
from predictor.workload import InferenceWorkload, TrainingWorkload

HERE = Path(__file__).parent
PYTHON = HERE.parent / ".venv-bench" / "bin" / "python"

SLOW_TOOLS_CONFIGURATIONS = 120
"""Configurations of each kind that a tool is asked for which takes a second for each; drawn by a hash."""

PATIENCE_S = 1_200


@dataclass(frozen=True, slots=True)
class Answers:
    """What a tool said, by task kind and id of the observation, and a line for people."""

    memory_gib: Mapping[str, float]
    time_s: Mapping[str, float]
    says: str


def ask_llm_analysis(observations: Sequence[Observation], python: Path = PYTHON) -> Answers:
    """Memory and time of full training and of batches of a known size."""
    jobs = [job for one in observations for job in (_training_job(one), _inference_job(one)) if job is not None]
    return _ask("llm-analysis", "llm_analysis_worker.py", jobs, python)


def ask_aiconfigurator(observations: Sequence[Observation], python: Path = PYTHON) -> Answers:
    """Time of batches of a known size, static or served."""
    jobs = [job for one in observations if (job := _inference_job(one)) and job["measured_on"] and job["measured_with"]]
    static, served = [job for job in jobs if job["static"]], [job for job in jobs if not job["static"]]
    chosen = sorted((*_drawn(static), *_drawn(served)), key=lambda job: (job["measured_on"], job["measured_with"]))
    return _ask("aiconfigurator", "aiconfigurator_worker.py", chosen, python)


Job = dict[str, Any]


def _drawn(jobs: Sequence[Job]) -> list[Job]:
    """One job of each drawn configuration."""
    by_configuration = {str(job["configuration"]): job for job in jobs}
    order = sorted(by_configuration, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return [by_configuration[name] for name in order[:SLOW_TOOLS_CONFIGURATIONS]]


def _ask(name: str, worker: str, jobs: Sequence[Job], python: Path) -> Answers:
    if not python.exists():
        return Answers({}, {}, f"{name}: not asked, {python.parent.parent.name} is not there (`make bench-predictor`)")
    given = "".join(json.dumps(job) + "\n" for job in jobs)
    command = [str(python), str(HERE / "outside" / worker)]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        said, late = done.stdout, "" if done.returncode == 0 else f"; it failed with {_last_line(done.stderr)}"
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode()  # bytes, although text was asked for
        late = f"; it was stopped after {PATIENCE_S} s"
    answers = [json.loads(line) for line in said.splitlines() if line.endswith("}")]
    refused = [str(one["refused"]) for one in answers if "refused" in one]
    why = f", e.g. {refused[0]}" if refused else ""
    return Answers(
        memory_gib={one["id"]: one["memory_gib"] for one in answers if "memory_gib" in one},
        time_s={one["id"]: one["time_s"] for one in answers if "time_s" in one},
        says=f"{name}: asked {len(jobs):,} rows, {len(refused):,} refused{why}{late}",
    )


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1][:200] if text.strip() else "no word"


def _training_job(observation: Observation) -> Job | None:
    workload, layout = observation.question.workload, observation.question.layout
    if not isinstance(workload, TrainingWorkload) or not _plain(workload.architecture):
        return None
    half = str(workload.precision) in ("bf16", "fp16")
    if workload.method is not Method.FULL or workload.optimizer != "adamw" or not half or layout.context_parallel > 1:
        return None
    return {
        **_common(observation, workload.architecture),
        "type": "training",
        "weight_bits": 16,
        "micro_batch_size": workload.micro_batch_size,
        "accumulation_steps": workload.accumulation_steps(layout),
        "sequence_length": round(workload.sequence_length),
        "gradient_checkpointing": str(workload.gradient_checkpointing),
        "attention": str(workload.attention),
        "sharding": str(layout.sharding),
    }


def _inference_job(observation: Observation) -> Job | None:
    workload = observation.question.workload
    if not isinstance(workload, InferenceWorkload) or workload.max_batch_size is None or workload.output_length < 1:
        return None
    precision = str(workload.precision)
    return {
        **_common(observation, workload.architecture),
        "type": "inference",
        "precision": precision,
        "weight_bits": round(8 * BYTES.get(precision, 2.0)),
        "cache_bytes": BYTES.get(str(workload.kv_cache_precision), 2.0),
        "batch_size": min(workload.max_batch_size, workload.num_requests),
        "num_requests": workload.num_requests,
        "input_length": max(1, round(workload.input_length)),
        "output_length": round(workload.output_length),
        "measured_on": _MEASURED_ON.get(observation.question.gpu.name),
        "measured_with": _MEASURED_WITH.get(workload.engine),
        "static": "static" in workload.software.scenario,
        "carried": workload.architecture.num_experts > 0 or workload.architecture.id.split("/")[-1] in _CARRIED,
    }


_MEASURED_ON = {
    "A100-80GB-SXM": "a100_sxm", "A100-80GB-PCIe": "a100_pcie", "H100-SXM": "h100_sxm", "H100-PCIe": "h100_pcie",
    "H200-SXM": "h200_sxm", "B200": "b200_sxm", "B300": "b300_sxm", "GB200": "gb200", "GB300": "gb300", "L40S": "l40s",
    "L4": "l4", "RTXPRO6000": "rtx_pro_6000_server",
}  # fmt: skip
_MEASURED_WITH = {"tensorrt-llm": "trtllm", "vllm": "vllm", "sglang": "sglang"}
"""What aiconfigurator brings tables of."""

_CARRIED = ("Llama-3.1-8B", "Llama-3.1-70B", "Llama-3.1-405B", "Qwen3-32B", "Qwen3-8B")
"""Dense models whose configuration aiconfigurator brings along; of mixtures it must."""


def _plain(architecture: Architecture) -> bool:
    return not architecture.kv_lora_rank and architecture.linear_attention_layers == 0


def _common(observation: Observation, architecture: Architecture) -> Job:
    question = observation.question
    layout, gpu = question.layout, question.gpu
    return {
        "id": observation.id,
        "configuration": f"{observation.source}/{observation.configuration}",
        "model": {
            **{name: getattr(architecture, name) for name in _DIMENSIONS},
            "intermediate_size": architecture.moe_intermediate_size or architecture.intermediate_size,
        },
        "mlp_matrices": 3 if architecture.gated_mlp else 2,
        "gpu": {
            "name": gpu.name,
            "memory_gb_nominal": gpu.memory_gb_nominal,
            "memory_bandwidth_gbs": gpu.memory_bandwidth_gbs,
            "bf16_tflops": gpu.bf16_tflops or gpu.fp16_tflops,
            "link_gbs": gpu.nvlink_gbs / 2 or 32.0,
        },
        **{name: getattr(layout, name) for name in _SPLIT},
    }


_DIMENSIONS: Iterable[str] = (
    "id", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size", "head_dim", "vocab_size",
    "num_experts", "num_experts_per_tok", "kv_lora_rank", "native_weight_precision",
)  # fmt: skip

_SPLIT = ("tensor_parallel", "pipeline_parallel", "data_parallel", "expert_parallel")
