"""What the predictor is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from predictor.hardware import GpuType
from predictor.layout import Layout
from predictor.words import Basis, VramMetric
from predictor.workload import Workload

if TYPE_CHECKING:  # most forecasts are asked for without
    from predictor.explained.explanation import CustomExplanation, Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One workload on one layout of one GPU type."""

    workload: Workload
    gpu: GpuType
    layout: Layout
    node_gpus: int = 8
    """GPUs that share a machine and its fast links; a layout with more spans several machines."""
    interconnect_gbps: float | None = None
    """Network between machines in gigabit/s per machine; None: a documented default, named in the assumptions."""
    vram_metric: VramMetric = VramMetric.DRIVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Vram:
    """Peak memory on the fullest GPU of a layout, GiB."""

    p50_gib: float
    p95_gib: float
    """The true peak stays below this for 95 % of jobs; checked on held-out telemetry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A positive quantity as three quantiles; whatever the unit, p10 <= p50 <= p90."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Where the memory of the fullest GPU goes, GiB; the parts add up to the arithmetic peak."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    kv_cache: float
    overhead: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Peak VRAM and runtime of a question. A quantity that cannot be forecast is None, never a guess."""

    gpu_type: str
    layout: Layout
    peak_vram: Vram | None
    usable_vram_gib: float | None
    fit_probability: float | None
    """P(need <= usable), the need without a cache that only grows into free memory; None where nothing is forecast."""
    vram_breakdown: Breakdown | None
    tokens_per_second: Spread | None
    """Over the whole layout: processed tokens for training, generated tokens for inference."""
    step_time_s: Spread | None
    runtime_s: Spread | None
    """The work itself, without `startup_s`."""
    startup_s: float
    max_batch_size: int | None
    """Sequences in flight over all replicas: as asked, or chosen for this candidate; None for other work."""
    basis: Basis
    in_domain: bool
    """Jobs like this were timed, and what was learned of memory is asked no further than it reaches."""
    assumptions: tuple[str, ...]
    model_version: str
    details: Mapping[str, float] = field(default_factory=dict)
    """Numbers for the curious (seconds of compute, bandwidth, communication and overhead of the arithmetic; those of a
    serving job for each phase too, such as ``prefill_compute_s``); may be empty."""
    explanation: Explanation | CustomExplanation | None = None
    """Why; only for those who asked."""

    def to_json(self) -> dict[str, object]:
        """The forecast as the contract writes it, quantities it does not have as null."""
        said: dict[str, object] = {
            "gpu_type": self.gpu_type,
            "layout": self.layout.to_json(),
            "peak_vram_gib": _vram(self.peak_vram),
            "usable_vram_gib": _rounded(self.usable_vram_gib),
            "fit_probability": None if self.fit_probability is None else round(self.fit_probability, 4),
            "vram_breakdown_gib": _breakdown(self.vram_breakdown),
            "tokens_per_second": _spread(self.tokens_per_second),
            "step_time_s": _spread(self.step_time_s),
            "runtime_s": _spread(self.runtime_s),
            "startup_s": _rounded(self.startup_s),
            "max_batch_size": self.max_batch_size,
            "basis": str(self.basis),
            "in_domain": self.in_domain,
            "assumptions": list(self.assumptions),
            "model_version": self.model_version,
        }
        return said if self.explanation is None else said | {"explanation": self.explanation.to_json()}


def _rounded(value: float | None) -> float | None:
    """Six significant digits: more would be a claim."""
    return None if value is None else float(f"{value:.6g}")


def _vram(vram: Vram | None) -> dict[str, float | None]:
    if vram is None:
        return {"p50": None, "p95": None}
    return {"p50": _rounded(vram.p50_gib), "p95": _rounded(vram.p95_gib)}


def _spread(spread: Spread | None) -> dict[str, float | None]:
    if spread is None:
        return {"p10": None, "p50": None, "p90": None}
    return {"p10": _rounded(spread.p10), "p50": _rounded(spread.p50), "p90": _rounded(spread.p90)}


def _breakdown(parts: Breakdown | None) -> dict[str, float | None] | None:
    if parts is None:
        return None
    return {name: _rounded(getattr(parts, name)) for name in Breakdown.__dataclass_fields__}
