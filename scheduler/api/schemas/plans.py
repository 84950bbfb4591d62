"""Plans, as sent: a decision that nothing keeps, with what else there is to choose."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from scheduler.api.schemas.common import Out, Usd
from scheduler.api.schemas.decisions import CandidateOut, DecisionOut


class SuggestionOut(Out):
    """One change of the job, and what the job would then cost. It was not applied."""

    change: dict[str, Any] = Field(description="Field and value", examples=[{"gradient_checkpointing": "full"}])
    text: str = Field(examples=["gradient_checkpointing=full"])
    gpu_type: str
    gpu_count: int
    layout: dict[str, Any]
    provider: str
    region: str
    spot: bool
    expected_cost_usd: Usd
    saving_percent: float | None = Field(
        description="Of the expected cost; null where the job as it stands has no placement", examples=[22.4]
    )
    longer_percent: float | None = Field(
        description="By how much the median time from the order to the end grows", examples=[31.0]
    )


class PlanOut(DecisionOut):
    """A decision that is not kept."""

    pareto: list[CandidateOut] = Field(
        description="Every placement that no other beats in both expected cost and median time, the cheapest first"
    )
    suggestions: list[SuggestionOut] = Field(description="The few changes of the job that would save most, best first")
