"""Plans for other engines, as sent."""

from __future__ import annotations

from pydantic import Field

from scheduler.api.schemas.common import Out
from scheduler.exports.names import Engine


class ExportOut(Out):
    """A placement as a task file of another engine. Nothing was reserved."""

    engine: Engine
    reason: str = Field(description="Why this placement was chosen, or why there is none")
    file: str | None = Field(description="The whole file, YAML; null where the job has no placement now")
