"""Jobs, their attempts and their events, as sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from scheduler.api.schemas.common import Out, Problem, Usd
from scheduler.api.schemas.decisions import DecisionOut
from scheduler.api.schemas.tenants import QueueOut
from scheduler.domain.states import AttemptState, JobState, Outcome

Stream = Literal["stdout", "stderr"]


class JobSummary(Out):
    """One line of a list of jobs."""

    id: UUID
    name: str
    state: JobState
    reason: str | None = Field(description="Why it is where it is, for states that need one")
    labels: dict[str, str]
    priority: int
    attempts_made: int
    max_attempts: int
    spent_usd: Usd = Field(description="What all ended attempts cost")
    simulated: bool = Field(description="Any attempt ran on a simulated provider; its figures are not measurements")
    created_at: datetime
    ended_at: datetime | None


class JobOut(JobSummary):
    """A job with what was sent."""

    spec: dict[str, Any]
    queue: QueueOut | None = Field(default=None, description="Of one job that waits, read by itself; else null")


class SubmittedOut(JobOut):
    """A job as taken, with its first decision."""

    decision: DecisionOut


class BatchItemOut(Out):
    """What became of one spec of a batch."""

    index: int
    status: int = Field(examples=[201])
    job: SubmittedOut | None
    problem: Problem | None


class BatchOut(Out):
    """What became of a batch, in the order sent."""

    accepted: int
    refused: int
    items: list[BatchItemOut]


class AttemptOut(Out):
    """One try at running a job on one placement."""

    id: UUID
    number: int
    state: AttemptState
    outcome: Outcome | None
    reason: str | None
    exit_code: int | None
    backend: str
    provider: str
    region: str
    gpu_type: str
    gpu_count: int
    layout: dict[str, Any]
    spot: bool
    usd_per_hour: Usd = Field(description="Of the whole placement")
    forecast: dict[str, Any] = Field(description="Frozen when it was placed")
    reserved_at: datetime
    claimed_at: datetime | None
    started_at: datetime | None
    running_at: datetime | None
    ended_at: datetime | None
    runtime_s: float | None = Field(description="Of the command; virtual on a simulated provider")
    billed_s: int | None
    cost_usd: Usd | None
    peak_vram_gib: float | None
    vram_metric: str | None = Field(description="Whose reading the peak is: driver, reserved, allocated …")
    peak_allocated_gib: float | None
    peak_rss_gib: float | None
    simulated: bool
    card_id: UUID | None = Field(description="The card that it may share with others of its tenant")
    shared: bool = Field(description="Whether another was on its card meanwhile; known when it has ended")


class EventOut(Out):
    """Something that happened to a job."""

    id: int
    attempt_id: UUID | None
    kind: str
    from_state: str | None
    to_state: str | None
    data: dict[str, Any]
    at: datetime


class LogChunkOut(Out):
    """A piece of what an attempt printed."""

    id: int = Field(description="Give it as `after`, or as Last-Event-ID, to continue behind it")
    attempt_id: UUID
    stream: Stream
    offset: int = Field(description="Bytes of that stream before this piece")
    text: str
