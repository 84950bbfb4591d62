"""A decision as the API sends it, for tests of what is printed."""

from __future__ import annotations

from typing import Any

LAYOUT = {
    "gpu_count": 1, "tensor_parallel": 1, "pipeline_parallel": 1, "data_parallel": 1, "context_parallel": 1,
    "expert_parallel": 1, "data_parallel_attention": False, "sharding": "none",
}  # fmt: skip


def forecast(**changes: Any) -> dict[str, Any]:
    """A forecast of one H100."""
    return {
        "peak_vram_gib": {"p50": 58.1, "p95": 63.4},
        "usable_vram_gib": 79.65,
        "fit_probability": 0.998,
        "vram_breakdown_gib": {
            "weights": 15.0, "gradients": 15.0, "optimizer": 15.0, "activations": 11.3, "kv_cache": 0.0,
            "overhead": 1.8,
        },
        "runtime_s": {"p10": 10800.0, "p50": 11400.0, "p90": 14100.0},
        "startup_s": 45.0,
        "basis": "learned",
        "assumptions": [],
    } | changes  # fmt: skip


def candidate(**changes: Any) -> dict[str, Any]:
    """The chosen candidate, unless told otherwise."""
    return {
        "rank": 1, "provider": "verda", "region": "FIN-01", "country": "FI", "gpu_type": "H100-SXM", "gpu_count": 1,
        "layout": LAYOUT, "spot": False, "usd_per_hour": "3.25", "price_date": "2026-08-23", "provision_s": 20.0,
        "forecast": forecast(), "fit_probability": 0.998,
        "cost_usd": {"p50": "10.42", "p90": "12.89", "expected": "10.60"},
        "verdict": "chosen", "reason": "chosen", "reason_number": None, "reason_text": "chosen",
    } | changes  # fmt: skip


def rejected(reason: str, text: str, number: float | None = None, **changes: Any) -> dict[str, Any]:
    """A candidate that lost before it was priced."""
    return candidate(**{
        "verdict": "rejected", "reason": reason, "reason_text": text, "reason_number": number, "cost_usd": None,
        "fit_probability": None, **changes,
    })  # fmt: skip


def decision(**changes: Any) -> dict[str, Any]:
    """A placement among four candidates, as the contract prints one."""
    return {
        "id": None, "job_id": None, "number": 1, "kind": "placement", "reason": "cheapest of 2 that will do",
        "objective": "cost", "model_version": "2026-11-26.1", "model_observations": 41203, "in_domain": True,
        "spec": {
            "workload": {
                "type": "training", "method": "full", "model": "meta-llama/Llama-3.1-8B", "precision": "bf16",
                "optimizer": "adamw_8bit", "sequence_length": 4096, "micro_batch_size": 2, "num_samples": 1_800_000,
            },
            "constraints": {"jurisdictions": ["EU"], "deadline": "2026-12-01T06:00:00Z", "max_cost_usd": "40.00"},
        },
        "candidates_considered": 212, "rejected_by_reason": {"vram": 80, "jurisdiction": 129, "dearer": 2},
        "price_date": "2026-08-23", "naive_choice": {"gpu_type": "L40S", "gpu_count": 1}, "naive_cost_usd": "21.00",
        "if_out_of_memory": {"gpu_type": "H100-SXM", "gpu_count": 2, "within_budget": True},
        "candidates": [
            candidate(),
            candidate(
                rank=2, gpu_type="L40S", gpu_count=2, provider="seeweb", region="IT", usd_per_hour="2.98",
                layout=LAYOUT | {"gpu_count": 2, "data_parallel": 2, "sharding": "zero3"}, provision_s=720.0,
                verdict="rejected", reason="dearer", reason_number=110.0, reason_text="110 % dearer",
            ),
            rejected("vram", "short by 18.4 GiB: 63.4 GiB at p95, 45.0 GiB usable", 18.4, gpu_type="L40S"),
            rejected("jurisdiction", "stands in US, EU required", gpu_type="H200-SXM", forecast=None, layout={}),
        ],
    } | changes  # fmt: skip
