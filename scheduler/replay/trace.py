"""Read a trace: when jobs were submitted, on how many GPUs they ran, and for how long.

CSV, gzipped or not, with the columns `job_id`, `submit_s`, `gpu_count` and `duration_s`; any others are ignored. A
line that cannot be true refuses the file and is named. A job that never ran, or had no GPU, is left out and counted.
"""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from predictor.layout import MAX_GPUS
from scheduler.replay.errors import InvalidTrace

COLUMNS = ("job_id", "submit_s", "gpu_count", "duration_s")

LONGEST_S = 1e9
"""Thirty years, of a job or of a trace: more is a slip of units."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Jobs in the order of their submission, one cell each."""

    name: str
    ids: tuple[str, ...]
    submit_s: Floats
    """Since the first submission."""
    gpu_count: Ints
    """Part of a GPU counts as one: how much of it was used, no trace says."""
    duration_s: Floats
    left_out: Mapping[str, int]
    """How many lines hold nothing to replay, by reason."""

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, count: int) -> Trace:
        """Its first jobs; all of them where there are no more."""
        return Trace(
            name=self.name, ids=self.ids[:count], submit_s=self.submit_s[:count], gpu_count=self.gpu_count[:count],
            duration_s=self.duration_s[:count], left_out=self.left_out,
        )  # fmt: skip


def read_trace(path: Path) -> Trace:
    """Read a whole trace; InvalidTrace with file and line at the first thing that cannot be true."""
    left_out: Counter[str] = Counter()
    ids: dict[str, int] = {}
    jobs: list[tuple[float, float, float]] = []
    for line, job_id, submit_s, gpu_count, duration_s in _jobs(path, left_out):
        if job_id in ids:
            raise InvalidTrace(f"{path.name} line {line}: job_id {job_id!r} repeats line {ids[job_id]}")
        ids[job_id] = line
        jobs.append((submit_s, gpu_count, duration_s))
    if not jobs:
        raise InvalidTrace(f"{path.name} holds no job that ran on a GPU")
    columns = np.array(jobs, dtype=np.float64)
    order = np.argsort(columns[:, 0], kind="stable")  # equal times stay in the order of the file
    names = list(ids)
    return Trace(
        name=path.name,
        ids=tuple(names[place] for place in order),
        submit_s=columns[order, 0] - columns[:, 0].min(),
        gpu_count=np.ceil(columns[order, 1]).astype(np.int64),
        duration_s=columns[order, 2],
        left_out=dict(sorted(left_out.items())),
    )


def _jobs(path: Path, left_out: Counter[str]) -> Iterator[tuple[int, str, float, float, float]]:
    line = 0
    try:
        with _open(path) as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            line = reader.line_num
            missing = [column for column in COLUMNS if header.count(column) != 1]
            if missing:
                raise InvalidTrace(f"{path.name} line 1: column {missing[0]} is missing or repeated")
            places = [header.index(column) for column in COLUMNS]
            for cells in reader:
                line = reader.line_num
                if len(cells) != len(header):
                    raise InvalidTrace(f"{path.name} line {line}: {len(cells)} values for {len(header)} columns")
                job = _job(path.name, line, [cells[place] for place in places], left_out)
                if job is not None:
                    yield job
    except csv.Error as error:
        raise InvalidTrace(f"{path.name} line {line + 1}: not readable as CSV ({error})") from None
    except UnicodeDecodeError:
        raise InvalidTrace(f"{path.name} line {line + 1}: not UTF-8 text") from None
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise InvalidTrace(f"{path.name} line {line + 1}: damaged gzip ({error})") from None
    except OSError as error:
        raise InvalidTrace(f"{path} cannot be read: {error.strerror or error}") from None


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _job(file: str, line: int, cells: list[str], left_out: Counter[str]) -> tuple[int, str, float, float, float] | None:
    job_id, submit, gpus, duration = (cell.strip() for cell in cells)
    if not job_id:
        raise InvalidTrace(f"{file} line {line}: job_id is empty")
    submit_s = _number(file, line, "submit_s", submit, LONGEST_S)
    gpu_count = _number(file, line, "gpu_count", gpus, MAX_GPUS)
    if not duration:
        left_out["no duration"] += 1
        return None
    duration_s = _number(file, line, "duration_s", duration, LONGEST_S)
    if not duration_s or not gpu_count:
        left_out["no GPU" if duration_s else "no duration"] += 1
        return None
    return line, job_id, submit_s, gpu_count, duration_s


def _number(file: str, line: int, column: str, raw: str, most: float) -> float:
    try:
        value = float(raw)
    except ValueError:
        raise InvalidTrace(f"{file} line {line}: {column} is {raw!r:.40}, not a number") from None
    if not math.isfinite(value) or not 0 <= value <= most:
        raise InvalidTrace(f"{file} line {line}: {column} is {raw}, must be between 0 and {most:g}")
    return value
