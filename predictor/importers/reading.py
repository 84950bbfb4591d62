"""Read a result file into rows that may be imported, each checked as any observation is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictor.architectures.catalogue import load_models
from predictor.errors import PythiaError
from predictor.hardware import load_gpu_types
from predictor.importers.completing import as_given, check_given, complete
from predictor.importers.document import open_document
from predictor.importers.draft import InvalidResults, Rejected
from predictor.importers.formats import find_format
from predictor.telemetry import read_observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What a file gave."""

    rows: tuple[dict[str, Any], ...]
    """In the form of the observation files."""
    lines: tuple[int, ...]
    """Where each row begins in its file."""
    rejected: tuple[Rejected, ...]
    format: str


def read_results(
    path: Path,
    *,
    format: str | None = None,  # noqa: A002 - the word a person types
    given: Mapping[str, object],
    columns: Mapping[str, str],
) -> Imported:
    """The observations of a result file; each line that gives none is named with its reason.

    `given` holds what the file does not say, by field (`gpu_type`, `workload.model`) and, where it is meant for one
    benchmark of several, behind its name and a colon (`llama2-70b:workload.input_length`). `columns` maps fields to
    the columns of a plain table. A field that decides memory or time and that nobody said keeps its row out.
    """
    check_given(given)
    document = open_document(path, columns)
    found = find_format(document, format)
    if columns and found.name != "table":
        raise InvalidResults(f"a column map belongs to a table, and {path.name} is read as {found.name}")
    gpus, models = load_gpu_types(), load_models()
    source = document.stem if found.name == "table" else found.name
    rows: list[tuple[int, dict[str, Any]]] = []
    rejected: list[Rejected] = []
    repeats: Counter[str] = Counter()
    for item in found.read(document):
        if isinstance(item, Rejected):
            rejected.append(item)
            continue
        try:
            row = as_given(item, given) if found.is_complete else complete(item, given, source=source)
            read_observation(row, models, gpus)
        except PythiaError as error:
            rejected.append(Rejected(item.line, str(error)))
            continue
        repeats[row["id"]] += 1
        if repeats[row["id"]] > 1:  # measured again with the same result
            row["id"] = f"{row['id']}-{repeats[row['id']]}"
        rows.append((item.line, row))
    if not rows and not rejected:
        raise InvalidResults(f"{path.name} holds no results")
    return Imported(
        rows=tuple(row for _, row in rows),
        lines=tuple(line for line, _ in rows),
        rejected=tuple(rejected),
        format=found.name,
    )
