"""What an explained forecast looks like in the documentation of the API."""

from __future__ import annotations

from typing import Any

_LEARNED: dict[str, Any] = {
    "habits": {"told": 1.06, "trust": 0.75, "factor": 1.045},
    "particulars": {"told": 1.02, "trust": 0.5, "factor": 1.01},
    "site": None,
    "factor": 1.055,
    "distance": 0.31,
    "reach": 0.62,
    "beyond": {},
    "spread": 0.9,
}

_NEAREST: list[dict[str, Any]] = [
    {
        "id": "our-cluster/run-2031",
        "distance": 0.31,
        "differs": [{"feature": "hidden", "asked": 4096.0, "known": 3584.0, "apart": 0.28}],
    }
]

EXPLANATION_EXAMPLE: dict[str, Any] = {
    "memory": {
        "parts_gib": {
            "weights": 15.0, "gradients": 15.0, "optimizer": 15.0, "activations": 8.6, "kv_cache": 0.0, "overhead": 1.5,
        },
        "arithmetic_gib": 55.1,
        "need_gib": 54.2,
        "largest": "weights",
        "learned": _LEARNED,
        "limited_by_card": False,
        "p50_gib": 58.1,
        "p95_gib": 63.4,
        "nearest": _NEAREST,
    },
    "time": {
        "of": "step",
        "parts_s": {
            "compute": 5.1, "bandwidth": 0.9, "communication": 0.0, "overhead": 0.1, "pipeline_bubble": 0.0,
        },
        "arithmetic_s": 6.1,
        "bottleneck": "compute",
        "phases": {},
        "learned": _LEARNED,
        "p10_s": 6.3,
        "p50_s": 6.4,
        "p90_s": 7.6,
        "nearest": _NEAREST,
    },
}  # fmt: skip
