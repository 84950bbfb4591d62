"""Offers and job specs for tests, with every field that a test does not speak of filled in."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from scheduler.domain.offers import Offer
from scheduler.domain.spec import JobSpec, parse_job_spec

_NAMESPACE = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def make_offer(gpu_type: str = "H100-SXM", usd: float | None = 3.0, **changes: Any) -> Offer:
    """One offer; `usd` is its price on demand per GPU-hour."""
    values: dict[str, Any] = {
        "provider": "acme", "region": "north", "country": "FI", "jurisdiction": "EU", "provider_hq": "FI",
        "instance_type": f"{gpu_type}-box", "gpu_type": gpu_type, "node_gpus": 8, "sold_gpus": (1, 2, 4, 8),
        "max_nodes": 1, "capacity_gpus": 8, "reserved_gpus": 0,
        "on_demand_micros_per_gpu_hour": None if usd is None else round(usd * 1_000_000),
        "spot_micros_per_gpu_hour": None, "price_date": "2026-08-23", "billing_increment_s": 1, "minimum_s": 0,
        "provision_s": 0.0, "interconnect_gbps": None, "tenancy": "shared", "backend": "simulated", "assumed": (),
        "source": "test",
    } | changes  # fmt: skip
    name = "/".join(str(values[key]) for key in ("provider", "region", "instance_type", "gpu_type"))
    return Offer(**{"id": uuid5(_NAMESPACE, name), **values})


def make_spec(**changes: Any) -> JobSpec:
    """A LoRA job; `constraints` and the other parts of a spec can be given."""
    return parse_job_spec(
        {
            "name": "test",
            "workload": {
                "type": "training", "method": "lora", "model": "meta-llama/Llama-3.1-8B", "precision": "bf16",
                "sequence_length": 2048, "micro_batch_size": 1, "num_steps": 100,
            },
            "run": {"command": ["true"]},
        }
        | changes
    )  # fmt: skip


def make_custom_spec(**changes: Any) -> JobSpec:
    """A job of a kind of its own; what is not part of a spec goes into its workload."""
    workload = {"type": "custom", "kind": "test-kind", "runtime_s": 60.0}
    outer = {key: changes.pop(key) for key in list(changes) if key in JobSpec.model_fields}
    return parse_job_spec({"name": "test", "workload": workload | changes, "run": {"command": ["true"]}} | outer)
