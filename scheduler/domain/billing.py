"""By what entries of the ledger are added up."""

from __future__ import annotations

from enum import StrEnum


class By(StrEnum):
    """What the entries of one sum have in common."""

    DAY = "day"
    """Of booking, in UTC."""
    JOB = "job"
    ATTEMPT = "attempt"
    GPU_TYPE = "gpu_type"
    PROVIDER = "provider"
    MACHINE = "machine"
