"""Import telemetry from elsewhere, and read what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from predictor.errors import PythiaError
from predictor.hardware import GpuCatalogue
from predictor.telemetry import read_observation
from predictor.workloads.spec import ModelSource
from scheduler.domain.teaching import SOURCE
from scheduler.storage import observations
from scheduler.storage.engine import Engine, reading, transaction
from scheduler.storage.views import ObservationView


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A row that was not imported, and why."""

    index: int
    """Its place in what was sent, from 0."""
    id: str | None
    code: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of an import."""

    imported: int
    known: int
    """Rows that their source had given before; nothing is stored twice."""
    refused: tuple[RefusedRow, ...]


def import_observations(
    engine: Engine,
    gpus: GpuCatalogue,
    models: ModelSource,
    rows: Sequence[object],
    *,
    tenant_id: UUID,
    now: datetime,
) -> Imported:
    """Store the rows that can be used; each of the others is reported with its reason and keeps none of them out."""
    refused: list[RefusedRow] = []
    readable: list[Mapping[str, Any]] = []
    for index, row in enumerate(rows):
        try:
            readable.append(_check(row, gpus, models))
        except PythiaError as error:
            given = row.get("id") if isinstance(row, Mapping) else None
            shown = None if given is None else str(given)
            refused.append(RefusedRow(index=index, id=shown, code=error.code, error=str(error)))
    with transaction(engine) as session:
        stored = sum(
            observations.add(session, tenant_id=tenant_id, body=body, attempt_id=None, now=now) for body in readable
        )
    return Imported(imported=stored, known=len(readable) - stored, refused=tuple(refused))


def list_observations(
    engine: Engine, tenant_id: UUID, *, kind: str | None = None, before: UUID | None = None, limit: int = 50
) -> list[ObservationView]:
    """Observations, newest first; the last id of a page is `before` of the next."""
    with reading(engine) as session:
        return observations.page(session, tenant_id, kind=kind, before=before, limit=limit)


def _check(row: object, gpus: GpuCatalogue, models: ModelSource) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise UnusableRow("an observation is an object with id, source, workload, gpu_type and outcome")
    read_observation(row, models, gpus)
    if row["source"] == SOURCE:
        raise UnusableRow(f"the source {SOURCE!r} is kept for what this installation measured itself")
    return row


class UnusableRow(PythiaError):
    """A row of an import is no observation of somebody else's."""

    code = "unusable_row"
