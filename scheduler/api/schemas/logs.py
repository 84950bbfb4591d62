"""What was found in what jobs printed, as sent."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from scheduler.api.schemas.common import Out
from scheduler.api.schemas.jobs import Stream


class LogHitOut(Out):
    """A piece of output with lines that were looked for."""

    id: int = Field(description="Of the piece, as `GET /v1/jobs/{id}/logs` has it")
    job_id: UUID
    job: str = Field(description="Its name")
    attempt_id: UUID
    attempt: int = Field(description="Its number among the tries of its job")
    stream: Stream
    offset: int = Field(description="Bytes of that stream before this piece")
    collected_at: datetime
    lines: list[str] = Field(description="The first twenty lines that were found; of a long one 400 characters")
    count: int = Field(description="Lines in this piece that were found")
