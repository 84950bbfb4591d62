"""Small worlds for replays: a few offers, a mix of two or three workloads, and traces written out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from predictor.architectures.catalogue import load_models
from predictor.hardware import load_gpu_types
from predictor.workload import InferenceWorkload, TrainingWorkload
from predictor.workloads.spec import parse_workload
from scheduler.domain.offers import Offer
from scheduler.replay.market import Market
from scheduler.replay.mix import Part
from scheduler.replay.modelled import Recipe, build_modelled
from scheduler.replay.trace import Trace
from scheduler.replay.world import World
from tests.support.offers import make_offer

NOW = datetime(2026, 11, 26, tzinfo=UTC)

Job = tuple[float, int, float]
"""Submitted at, GPUs, seconds."""


def write_trace(path: Path, lines: Sequence[str], header: str = "job_id,submit_s,gpu_count,duration_s") -> Path:
    """A trace as a file."""
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def make_trace(jobs: Sequence[Job]) -> Trace:
    """A trace as a value."""
    return Trace(
        name="made.csv",
        ids=tuple(f"job-{place}" for place in range(len(jobs))),
        submit_s=np.array([job[0] for job in jobs], dtype=np.float64),
        gpu_count=np.array([job[1] for job in jobs], dtype=np.int64),
        duration_s=np.array([job[2] for job in jobs], dtype=np.float64),
        left_out={},
    )


def random_trace(seed: int, count: int, *, span_s: float = 50_000.0) -> Trace:
    """Arrivals spread over a span, durations over four orders of magnitude."""
    generator = np.random.default_rng(seed)
    submit = np.sort(generator.uniform(0.0, span_s, count))
    gpus = generator.choice([1, 1, 1, 2, 4], count)
    seconds = np.exp(generator.uniform(np.log(10.0), np.log(100_000.0), count))
    return make_trace(list(zip((submit - submit[0]).tolist(), gpus.tolist(), seconds.tolist(), strict=True)))


def some_offers(**changes: Any) -> list[Offer]:
    """Cards of every size, some from two sellers."""
    return [
        make_offer("A100-80GB-SXM", 1.6, **changes),
        make_offer("A100-80GB-SXM", 1.4, provider="bargain", sold_gpus=(1, 2), billing_increment_s=3600, **changes),
        make_offer("H100-SXM", 2.9, minimum_s=60, provision_s=300.0, **changes),
        make_offer("L40S", 0.8, provision_s=120.0, **changes),
        make_offer("RTX4090", 0.35, provider="bargain", node_gpus=4, sold_gpus=(1, 2, 4), **changes),
        make_offer("A10", 0.5, billing_increment_s=60, **changes),
        make_offer("T4", 0.3, **changes),
    ]


@cache
def some_mix() -> tuple[Part, ...]:
    """One fine-tuning that fits large cards only, one small one, one served model."""
    return (
        _part("lora", 2.0, type="training", method="lora", model="meta-llama/Llama-3.1-8B", sequence_length=2048,
              micro_batch_size=2, gradient_checkpointing="full", num_steps=100),
        _part("small", 2.0, type="training", method="full", model="Qwen/Qwen2.5-0.5B", sequence_length=512,
              micro_batch_size=4, num_steps=100),
        _part("serve", 1.0, type="inference", model="Qwen/Qwen2.5-7B", precision="fp16", num_requests=512,
              input_length=512, output_length=128, max_batch_size=16, engine="vllm"),
    )  # fmt: skip


def _part(name: str, share: float, **workload: Any) -> Part:
    parsed = parse_workload(workload, load_models())
    assert isinstance(parsed, TrainingWorkload | InferenceWorkload)
    return Part(name=name, share=share, workload=parsed)


def modelled(
    trace: Trace,
    *,
    offers: Sequence[Offer] | None = None,
    unlimited: bool = False,
    seed: int = 7,
    min_fit: float = 0.95,
) -> World:
    """A modelled world whose forecasts are arithmetic alone."""
    recipe = Recipe(
        market=Market(some_offers() if offers is None else offers, unlimited=unlimited), gpus=load_gpu_types(),
        bundle=None, mix=some_mix(), reference="A100-80GB", min_fit_probability=min_fit,
    )  # fmt: skip
    return build_modelled(trace, recipe, seed=seed)
