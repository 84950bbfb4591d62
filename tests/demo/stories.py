"""Jobs as the API tells of them at the end of a demo."""

from __future__ import annotations

from typing import Any

from scheduler.demo.cast import Story
from tests.scheduler.cli.decisions import decision, forecast, rejected


def attempt(**changes: Any) -> dict[str, Any]:
    """A completed try on a simulated card."""
    return {
        "number": 1, "gpu_type": "H100-SXM", "gpu_count": 1, "provider": "verda", "region": "FIN-01",
        "backend": "simulated", "state": "ended", "outcome": "completed", "forecast": forecast(), "runtime_s": 12000.0,
        "peak_vram_gib": 59.0, "cost_usd": "10.80", "reason": None, "simulated": True,
    } | changes  # fmt: skip


def story(**changes: Any) -> Story:
    """A job that was placed once and completed."""
    job = {
        "id": "0193", "name": "lora", "state": "completed", "reason": None, "attempts_made": 1, "spent_usd": "10.80",
        "simulated": True,
    }  # fmt: skip
    return Story(
        job=job | changes.pop("job", {}),
        decisions=changes.pop("decisions", [decision()]),
        attempts=changes.pop("attempts", [attempt()]),
    )


def refused(reason: str) -> Story:
    """A job that no placement would do for."""
    made = decision(
        kind="refusal", rejected_by_reason={reason: 9}, candidates=[rejected(reason, "by far", 1.0)],
        naive_choice=None, naive_cost_usd=None,
    )  # fmt: skip
    job = {"name": "hopeless", "state": "infeasible", "reason": "by far", "spent_usd": "0.00", "attempts_made": 0}
    return story(job=job, decisions=[made], attempts=[])


def run(basis: str, p50: float, took: float) -> Story:
    """A real run of a custom kind."""
    known = forecast(basis=basis, runtime_s={"p10": p50 / 2, "p50": p50, "p90": p50 * 2})
    return story(
        job={"simulated": False},
        attempts=[attempt(backend="local", simulated=False, forecast=known, runtime_s=took, peak_vram_gib=None)],
    )
