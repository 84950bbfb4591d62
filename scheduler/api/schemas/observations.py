"""Measurements, as sent and as received."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from scheduler.api.schemas.common import Out

EXAMPLE = {
    "id": "run-2031",
    "source": "our-cluster",
    "licence": "unstated",
    "workload": {
        "type": "training",
        "method": "lora",
        "model": "meta-llama/Llama-3.1-8B",
        "precision": "bf16",
        "sequence_length": 4096,
        "micro_batch_size": 2,
        "num_steps": 1000,
    },
    "gpu_type": "H100-SXM",
    "layout": {"gpu_count": 1},
    "software": {"engine": "transformers", "version": "4.57"},
    "outcome": "completed",
    "simulated": False,
    "peak_vram_gib": 31.2,
    "vram_metric": "driver",
    "step_time_s": 0.61,
}


class ObservationsIn(BaseModel):
    """Rows in the form of the observation files; each is read by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    observations: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=100_000, examples=[[EXAMPLE]])]


class RefusedRowOut(Out):
    """A row that was kept out."""

    index: int = Field(description="Its place in what was sent, from 0")
    id: str | None
    code: str
    error: str


class ImportedOut(Out):
    """What became of an import."""

    imported: int
    known: int = Field(description="Rows that their source had given before; nothing is stored twice")
    refused: list[RefusedRowOut]


class ObservationOut(Out):
    """What one run measured."""

    id: UUID
    source: str
    source_id: str
    kind: str = Field(description="The custom kind, or the workload's type")
    body: dict[str, Any] = Field(description="In the form it is imported in", examples=[EXAMPLE])
    attempt_id: UUID | None = Field(description="The attempt that measured it; null if it came from elsewhere")
    observed_at: datetime
