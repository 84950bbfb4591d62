"""Observations for tests: one written out, a seeded world whose truth is known, and the real ones where they are."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictor.architectures.catalogue import load_models
from predictor.arithmetic import inference_arithmetic, training_arithmetic
from predictor.hardware import load_gpu_types
from predictor.telemetry import Observation, read_observation
from predictor.telemetry_files import read_telemetry

MODELS = (
    "Qwen/Qwen2-7B",
    "meta-llama/Meta-Llama-3-8B",
    "mistralai/Mistral-7B-v0.1",
    "Qwen/Qwen2-0.5B",
    "google/gemma-2-9b",
)
CARDS = ("A100-80GB-SXM", "H100-SXM", "L40S", "RTX4090")


def raw_training(**changed: Any) -> dict[str, Any]:
    """A fine-tuning run as an importer writes it."""
    raw: dict[str, Any] = {
        "id": "site/1",
        "source": "site",
        "licence": "CC0-1.0",
        "workload": {
            "type": "training",
            "model": "Qwen/Qwen2-7B",
            "method": "lora",
            "precision": "bf16",
            "sequence_length": 2048,
            "micro_batch_size": 1,
            "num_steps": 10,
            "lora_rank": 8,
        },
        "gpu_type": "A100-80GB-SXM",
        "layout": {"gpu_count": 1},
        "outcome": "completed",
        "simulated": False,
        "peak_vram_gib": 21.5,
        "vram_metric": "reserved",
        "step_time_s": 0.8,
    }
    return raw | changed


def raw_custom(took_s: float, *, row: int = 0, kind: str = "fit", gpu: str = "CPU", **workload: Any) -> dict[str, Any]:
    """A custom job as a worker records it; `workload` is what its user said of it."""
    return {
        "id": f"site/custom-{row}",
        "source": "site",
        "workload": {"type": "custom", "kind": kind, **workload},
        "gpu_type": gpu,
        "layout": {"gpu_count": 1},
        "outcome": "completed",
        "simulated": False,
        "runtime_s": took_s,
    }


def observe(raw: dict[str, Any]) -> Observation:
    """Read one."""
    return read_observation(raw, load_models(), load_gpu_types())


@cache
def invented_world(seed: int = 3, rows: int = 400) -> tuple[Observation, ...]:
    """Runs whose truth is arithmetic times a smooth law of physical quantities, with 2 % noise.

    Cards with little bandwidth are slower than arithmetic says, adapters need more memory, serving is slower on
    small models: laws that hold for models and cards not seen.
    """
    generator = np.random.default_rng(seed)
    found = [_invented(row, generator) for row in range(rows)]
    return tuple(found)


def _invented(row: int, generator: np.random.Generator) -> Observation:
    model, card = str(generator.choice(MODELS)), str(generator.choice(CARDS))
    noise_a, noise_b = np.exp(generator.normal(0.0, 0.02, 2))
    gpu = load_gpu_types().get(card)
    slow = 1.0 + 0.5 * math.exp(-gpu.memory_bandwidth_gbs / 1500.0)
    base = {
        "id": f"invented/{row}",
        "source": f"lab{row % 4}",
        "gpu_type": card,
        "simulated": False,
        "outcome": "completed",
    }
    if row % 2:
        batch = int(generator.integers(1, 64))
        spec = {"type": "inference", "model": model, "num_requests": 8 * batch, "max_batch_size": batch,
                "input_length": int(generator.integers(64, 2048)), "output_length": int(generator.integers(64, 1024)),
                "engine": "vllm"}  # fmt: skip
        draft = observe(base | {"workload": spec, "layout": {"gpu_count": 1}, "runtime_s": 1.0})
        serving = inference_arithmetic([draft.question])
        size = draft.question.workload.architecture.num_parameters  # type: ignore[union-attr]
        truth = float(serving.time.runtime_s[0]) * slow * (1.0 + 0.3 * math.exp(-size / 4e9)) * noise_a
        return observe(base | {"workload": spec, "layout": {"gpu_count": 1}, "runtime_s": truth})
    method = str(generator.choice(["full", "lora"]))
    spec = {"type": "training", "model": model, "method": method, "num_steps": 1,
            "sequence_length": int(2 ** generator.integers(8, 13)),
            "micro_batch_size": int(2 ** generator.integers(0, 4)),
            "gradient_checkpointing": str(generator.choice(["none", "full"]))}  # fmt: skip
    draft = observe(base | {"workload": spec, "layout": {"gpu_count": 1}, "step_time_s": 1.0})
    said = training_arithmetic([draft.question])
    memory = float(said.footprint.peak_gib[0]) * (1.25 if method == "lora" else 1.05) * noise_a
    time = float(said.time.step_time_s[0]) * slow * noise_b
    measured = {"peak_vram_gib": memory, "vram_metric": "driver", "step_time_s": time}
    if memory > (gpu.usable_gib or 0.0):
        measured = {"outcome": "out_of_memory", "vram_metric": "driver"}
    return observe(base | {"workload": spec, "layout": {"gpu_count": 1}, **measured})


def real_folder() -> Path:
    """The folder of real observations, or a skip that says how to give one."""
    folder = os.environ.get("PYTHIA_OBSERVATIONS_DIR")
    if not folder:
        pytest.skip("PYTHIA_OBSERVATIONS_DIR names no folder of observations")
    return Path(folder)


@cache
def real_observations() -> tuple[Observation, ...]:
    """All real observations."""
    return read_telemetry(real_folder(), load_models(), load_gpu_types()).observations
