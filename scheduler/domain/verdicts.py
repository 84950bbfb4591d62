"""Why a candidate was chosen or lost: a code, a number whose meaning the code says, and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Reason codes. They are stored; renaming one breaks every query about the past."""

    CHOSEN = "chosen"
    # the user's constraints
    GPU_TYPE = "gpu_type"
    GPU_COUNT = "gpu_count"
    LAYOUT = "layout"
    PROVIDER = "provider"
    REGION = "region"
    JURISDICTION = "jurisdiction"
    JURISDICTION_UNKNOWN = "jurisdiction_unknown"
    PROVIDER_JURISDICTION = "provider_jurisdiction"
    TENANCY = "tenancy"
    IMAGE = "image"
    RUN = "run"
    SPOT = "spot"
    # what the offer or the card cannot do
    NO_PRICE = "no_price"
    PRECISION_UNSUPPORTED = "precision_unsupported"
    NO_FORECAST = "no_forecast"
    TRIED = "tried"
    VRAM = "vram"
    FIT_PROBABILITY = "fit_probability"
    # what it would take
    MAX_RUNTIME = "max_runtime"
    DEADLINE = "deadline"
    BUDGET = "budget"
    NEIGHBOURS = "neighbours"
    # whether it is to be had
    QUOTA = "quota"
    QUOTA_SPEND = "quota_spend"
    CAPACITY = "capacity"
    KEPT = "kept"
    # feasible, but another is better
    DEARER = "dearer"
    SLOWER = "slower"
    DOMINATED = "dominated"
    YIELDED = "yielded"


NUMBER_MEANS: dict[Code, str] = {
    Code.VRAM: "GiB short at p95, on the fullest GPU",
    Code.FIT_PROBABILITY: "the probability that it fits",
    Code.MAX_RUNTIME: "seconds over max_runtime_s at p90",
    Code.DEADLINE: "seconds late at the asked probability",
    Code.BUDGET: "dollars over at p90, with what was already spent",
    Code.NEIGHBOURS: "jobs on the card that would miss their deadline, budget or time limit for it",
    Code.QUOTA: "GPUs above what is left of the tenant's quota",
    Code.QUOTA_SPEND: "dollars at p90 above what is left of the tenant's quota of this month",
    Code.CAPACITY: "GPUs short now",
    Code.KEPT: "GPUs short beside those that are kept for waiting jobs",
    Code.DEARER: "per cent above the chosen one's expected cost",
    Code.SLOWER: "per cent above the chosen one's time",
    Code.YIELDED: "per cent below the chosen one, by the job's own objective",
}
"""Codes that come with a number; the others come without."""

HOPELESS_TO_NEAR: tuple[Code, ...] = (
    Code.GPU_TYPE,
    Code.GPU_COUNT,
    Code.LAYOUT,
    Code.PROVIDER,
    Code.REGION,
    Code.JURISDICTION,
    Code.JURISDICTION_UNKNOWN,
    Code.PROVIDER_JURISDICTION,
    Code.TENANCY,
    Code.IMAGE,
    Code.RUN,
    Code.SPOT,
    Code.NO_PRICE,
    Code.PRECISION_UNSUPPORTED,
    Code.NO_FORECAST,
    Code.TRIED,
    Code.VRAM,
    Code.FIT_PROBABILITY,
    Code.MAX_RUNTIME,
    Code.DEADLINE,
    Code.BUDGET,
    Code.NEIGHBOURS,
    Code.QUOTA_SPEND,
    Code.QUOTA,
    Code.CAPACITY,
    Code.KEPT,
    Code.DOMINATED,
    Code.SLOWER,
    Code.DEARER,
    Code.YIELDED,
    Code.CHOSEN,
)
"""The order in which reasons are looked for; the later a candidate fell, the nearer it came."""

NEARNESS: dict[Code, int] = {code: place for place, code in enumerate(HOPELESS_TO_NEAR)}

FEASIBLE = len(NEARNESS)
"""The nearness of what nothing speaks against."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a candidate, and by how much."""

    code: Code
    number: float | None
    """As `NUMBER_MEANS` says for the code; None for the others."""
    text: str

    @property
    def nearness(self) -> int:
        """How near what fell to this came to being chosen."""
        return NEARNESS[self.code]

    @property
    def chosen(self) -> bool:
        """Whether this candidate became the placement."""
        return self.code is Code.CHOSEN
