"""Versions of the predictor, as sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from scheduler.api.schemas.common import Out


class ModelOut(Out):
    """A version of the predictor and what it is worth."""

    version: str = Field(examples=["2026-11-26.1f0c9a2e"])
    rows: int = Field(description="Observations it was trained on")
    metrics: dict[str, Any] = Field(description="Errors and coverage on held-out groups")
    comparison: dict[str, Any] | None = Field(description="Against the champion of its day, on held-out jobs")
    champion: bool
    created_at: datetime
    promoted_at: datetime | None


class ShippedOut(Out):
    """The version that came with Pythia."""

    version: str
    rows: int
    created: str
    metrics: dict[str, Any]


class ModelsOut(Out):
    """Every version there is, and which one answers."""

    in_use: str
    shipped: ShippedOut
    items: list[ModelOut] = Field(description="What was trained here, newest first")


class TrainedOut(Out):
    """A challenger, and whether it answers now."""

    model: ModelOut
    promoted: bool
    left_out: int = Field(description="Observations that today's facts cannot read")
