"""Versions of the predictor, as sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from scheduler.api.schemas.common import Out


class ModelOut(Out):
    """A version of the predictor and what it is worth."""

    version: str = Field(examples=["2026-11-26.1f0c9a2e"])
    rows: int = Field(description="Observations it was trained on")
    metrics: dict[str, Any] = Field(description="Errors and coverage on held-out groups")
    comparison: dict[str, Any] | None = Field(description="Against the champion of its day, on the newest jobs")
    champion: bool
    created_at: datetime
    promoted_at: datetime | None


class ShippedOut(Out):
    """The version that came with Pythia."""

    version: str
    rows: int
    created: str
    metrics: dict[str, Any]


class TrainingOut(Out):
    """A training, and what came of it."""

    id: UUID
    state: Literal["queued", "running", "ended"]
    scheduled: bool = Field(description="Rung by the clock, not by a person")
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    version: str | None = Field(description="The challenger; null while there is none, or where none came of it")
    promoted: bool
    verdict: str | None = Field(description="How it compared, or why nothing came of it")
    window_from: datetime | None = Field(description="The first observation that it read")
    window_to: datetime | None = Field(description="The last observation that it read")
    read: int | None = Field(description="Observations that it read")
    learned_from: int | None
    held_out: int | None = Field(
        description="Observations that it was judged on; those new to the champion were each forecast without them"
    )
    left_out: int | None = Field(description="Observations that today's facts cannot read")
    quarantined: int | None = Field(description="Measurements that cannot be")


class ModelsOut(Out):
    """Every version there is, and which one answers."""

    in_use: str
    shipped: ShippedOut
    items: list[ModelOut] = Field(description="What was trained here, newest first")
    trainings: list[TrainingOut] = Field(description="The last ones, newest first")


class RolledBackOut(Out):
    """What answers now."""

    in_use: str


class SliceOut(Out):
    """The last jobs of a slice against their forecasts."""

    slice: str = Field(examples=["gpu_type"])
    value: str = Field(examples=["H100-SXM"])
    quantity: Literal["memory", "time"]
    jobs: int
    median_error: float | None = Field(description="Of |log(measured / p50)|")
    median_error_before: float | None
    within: float = Field(description="Share below p95 (memory) or between p10 and p90 (time)")
    promised: float
    alarm: str | None


class DriftOut(Out):
    """Where forecasts no longer hold."""

    alarms: list[str]
    slices: list[SliceOut] = Field(description="Those with alarms first")
