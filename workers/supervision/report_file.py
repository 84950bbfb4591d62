"""Read what a job says of its own memory in PYTHIA_REPORT_FILE; the job may have written anything there."""

from __future__ import annotations

import json
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path

NAME = "report.json"
_LARGEST_BYTES = 64 * 1024
_LARGEST_GIB = 1e6


@dataclass(frozen=True, slots=True)
class JobReport:
    """Peaks on the fullest GPU by the job's own allocator, GiB; None where it did not say, or nothing credible."""

    peak_allocated_gib: float | None = None
    peak_reserved_gib: float | None = None


def read_report(path: Path) -> JobReport:
    """The report in a file; an absent, huge, foreign or malformed one says nothing."""
    try:
        # never through a link to a file of ours, and never waiting for the other end of a pipe
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return JobReport()
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return JobReport()
        raw = os.read(descriptor, _LARGEST_BYTES + 1)
    finally:
        os.close(descriptor)
    return parse_report(raw)


def parse_report(raw: bytes) -> JobReport:
    """What a job said, wherever it said it."""
    if len(raw) > _LARGEST_BYTES:
        return JobReport()
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return JobReport()
    if not isinstance(body, dict):
        return JobReport()
    return JobReport(_gib(body.get("peak_allocated_gib")), _gib(body.get("peak_reserved_gib")))


def _gib(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # compared before it becomes a float: JSON may hold an integer of a thousand digits
    return float(value) if 0 < value <= _LARGEST_GIB and not math.isnan(value) else None
