"""The jobs and the inventory that placements are timed on: drawn from a seed, of every kind that is forecast."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from predictor.facts import datasets_dir
from predictor.hardware import load_gpu_types
from scheduler.domain.offers import Offer
from scheduler.domain.price_file import read_habits, read_prices
from scheduler.services.seed import PRICES, SIMULATED
from scheduler.storage.ids import new_id

SMALL = ("meta-llama/Llama-3.1-8B", "Qwen/Qwen2.5-7B", "meta-llama/Llama-3.2-1B", "mistralai/Mistral-7B-v0.1")
LARGE = ("meta-llama/Llama-3.1-70B", "mistralai/Mixtral-8x7B-v0.1", "deepseek-ai/DeepSeek-V3")


def drawn_specs(seed: int) -> Iterator[dict[str, Any]]:
    """Job specs without end, no two with the same workload: training and inference, small models and large."""
    draw = random.Random(seed)  # noqa: S311 - jobs, no secrets
    seen: set[str] = set()
    while True:
        workload = _training(draw) if draw.random() < 0.5 else _inference(draw)
        if repr(workload) not in seen:
            seen.add(repr(workload))
            yield {"name": f"bench-{len(seen)}", "workload": workload, "run": {"command": ["true"]}}


def _training(draw: random.Random) -> dict[str, Any]:
    method = draw.choice(("full", "lora", "lora", "qlora"))
    model = draw.choice(SMALL if method != "qlora" else (*SMALL, *LARGE[:2]))
    return {
        "type": "training", "method": method, "model": model, "precision": "bf16",
        "sequence_length": draw.choice((1024, 2048, 4096, 8192)), "micro_batch_size": draw.choice((1, 2, 4)),
        "global_batch_size": draw.choice((16, 32, 64)), "gradient_checkpointing": draw.choice(("none", "full")),
        "optimizer": draw.choice(("adamw", "adamw_8bit")), "num_samples": draw.randint(1_000, 1_000_000),
    }  # fmt: skip


def _inference(draw: random.Random) -> dict[str, Any]:
    return {
        "type": "inference", "model": draw.choice((*SMALL, *LARGE)), "precision": draw.choice(("bf16", "fp8")),
        "num_requests": draw.randint(100, 100_000), "input_length": draw.randint(50, 8000),
        "output_length": draw.randint(1, 2000), "engine": draw.choice(("vllm", "sglang")),
    }  # fmt: skip


def shipped_offers() -> list[Offer]:
    """The offers of the shipped price list."""
    path = datasets_dir() / PRICES
    return read_prices(path, read_habits(), load_gpu_types(), backend=SIMULATED, new_id=new_id)


def multiplied(offers: list[Offer], wanted: int) -> list[Offer]:
    """At least as many offers, the same again in regions that do not exist, each copy at prices a little different."""
    made = list(offers)
    copy = 0
    while len(made) < wanted:
        copy += 1
        made.extend(_elsewhere(offer, copy) for offer in offers[: wanted - len(made)])
    return made


def _elsewhere(offer: Offer, copy: int) -> Offer:
    factor = 1 + 0.004 * copy

    def price(micros: int | None) -> int | None:
        return None if micros is None else round(micros * factor)

    return replace(
        offer,
        id=new_id(),
        region=f"{offer.region or 'somewhere'}-copy-{copy}",
        on_demand_micros_per_gpu_hour=price(offer.on_demand_micros_per_gpu_hour),
        spot_micros_per_gpu_hour=price(offer.spot_micros_per_gpu_hour),
    )
