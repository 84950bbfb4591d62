"""Read files and folders of observations: what is good goes in, what is not is named by file and line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from predictor.errors import InvalidFacts, PythiaError
from predictor.hardware import GpuCatalogue
from predictor.telemetry import Observation, read_observation
from predictor.workloads.spec import ModelSource

SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A line that was kept out, and why."""

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a file or folder held."""

    observations: tuple[Observation, ...]
    rejected: tuple[Rejected, ...]


def read_telemetry(path: Path, models: ModelSource, gpus: GpuCatalogue) -> Reading:
    """All observations of a JSONL file (plain or gzipped), or of every such file in a folder, by name.

    An id that its source has used already is kept out like any other bad line: reading a folder twice teaches nothing
    twice.
    """
    observations: list[Observation] = []
    rejected: list[Rejected] = []
    seen: set[tuple[str, str]] = set()
    for file in _files(path):
        for line, raw in _lines(file, rejected):
            try:
                observation = read_observation(raw, models, gpus)
            except PythiaError as error:
                rejected.append(Rejected(file=file.name, line=line, why=str(error)))
                continue
            key = (observation.source, observation.id)
            if key in seen:
                why = f"id {observation.id} of {observation.source} was already read"
                rejected.append(Rejected(file=file.name, line=line, why=why))
                continue
            seen.add(key)
            observations.append(observation)
    return Reading(observations=tuple(observations), rejected=tuple(rejected))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidFacts(f"{path} does not exist; give a folder or a file of observations")
    files = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES))
    if not files:
        raise InvalidFacts(f"{path} holds no {' or '.join(SUFFIXES)} file")
    return files


def _lines(file: Path, rejected: list[Rejected]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The JSON objects of a file with their line numbers; what is no object is noted in `rejected`."""
    line = 0
    try:
        with _open(file) as stream:
            for line, text in enumerate(stream, start=1):
                if not text.strip():
                    continue
                raw = _parse(text)
                if isinstance(raw, dict):
                    yield line, raw
                else:
                    rejected.append(Rejected(file=file.name, line=line, why="not a JSON object"))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        rejected.append(Rejected(file=file.name, line=line + 1, why=f"not readable ({error})"))


def _open(file: Path) -> IO[str]:
    if file.name.endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8")
    return file.open(encoding="utf-8")


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
