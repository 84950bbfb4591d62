"""Plain tables: CSV, JSONL (or a JSON array) and Parquet, with a map from fields to columns.

A column named as a field of an observation (`workload.model`, `gpu_type`, `layout.gpu_count`, `peak_vram_gib`) needs no
map, and neither do the same fields nested in JSON; any other column is read where the map names it, and left out where
not. Besides the fields of an observation a column may be one of `UNITS`, which is converted. A JSON column is named by
its path (`config.seq_len`).
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

from predictor.importers.completing import look_up, place
from predictor.importers.csv_rows import csv_rows
from predictor.importers.document import Document
from predictor.importers.draft import Draft, InvalidResults, Item, Rejected, UnusableResult
from predictor.importers.values import number, text
from predictor.telemetry import ObservationSpec

UNITS = {
    "peak_vram_mib": ("peak_vram_gib", 2.0**-10),
    "peak_vram_bytes": ("peak_vram_gib", 2.0**-30),
    "peak_allocated_mib": ("peak_allocated_gib", 2.0**-10),
    "peak_allocated_bytes": ("peak_allocated_gib", 2.0**-30),
    "step_time_ms": ("step_time_s", 1e-3),
    "runtime_ms": ("runtime_s", 1e-3),
}
"""Columns in another unit: the field they become, and by what they are multiplied."""

_PARQUET = b"PAR1"
_BATCH_ROWS = 10_000
_ROOTS = frozenset(ObservationSpec.model_fields) | set(UNITS)


def recognises(document: Document) -> bool:
    """Columns that are fields, or a map that names columns."""
    if document.data[:4] == _PARQUET:
        return True
    names = document.keys or (document.header if len(document.header) > 1 else frozenset())
    mapped = {column.split(".")[0] for column in document.columns.values()} | set(document.columns.values())
    return bool(names & mapped) or any(name.split(".")[0] in _ROOTS - {"id", "source"} for name in names)


def read(document: Document) -> Iterator[Item]:
    """One draft per row."""
    _check_map(document.columns)
    for found in _rows(document):
        if isinstance(found, Rejected):
            yield found
            continue
        line, row = found
        try:
            yield Draft(line=line, fields=_fields(row, document.columns))
        except UnusableResult as error:
            yield Rejected(line, str(error))


def _rows(document: Document) -> Iterator[tuple[int, Mapping[str, Any]] | Rejected]:
    if document.data[:4] == _PARQUET:
        yield from enumerate(_parquet(document), 1)
    elif document.keys:
        yield from document.objects
    else:
        yield from csv_rows(document.text or "")


def _fields(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    named = {name: value for name, value in row.items() if str(name).split(".")[0] in _ROOTS}
    mapped = {field: row.get(column, look_up(row, column)) for field, column in columns.items()}
    for path, value in (named | mapped).items():
        if value is None or (isinstance(value, str) and text(value) is None):
            continue
        field, factor = UNITS.get(path, (path, None))
        if factor is not None:
            measured = number(value)
            if measured is None:
                raise UnusableResult(f"{columns.get(path, path)} is {value!r:.60}, not a number")
            place(fields, field, measured * factor)
        else:
            place(fields, field, value)
    return fields


def _check_map(columns: Mapping[str, str]) -> None:
    for field in columns:
        if field.split(".")[0] not in _ROOTS:
            raise InvalidResults(
                f"{field!r:.80} is no field of an observation; it begins with workload, gpu_type, layout …"
            )


def _parquet(document: Document) -> Iterator[Mapping[str, Any]]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise InvalidResults("reading Parquet needs pyarrow: pip install 'pythia-scheduler[parquet]'") from None
    try:
        for batch in parquet.ParquetFile(io.BytesIO(document.data)).iter_batches(batch_size=_BATCH_ROWS):
            for row in batch.to_pylist():
                yield {str(name): _plain(value) for name, value in row.items()}
    except (
        OSError,
        ValueError,
        NotImplementedError,
        RecursionError,
    ) as error:  # pyarrow's own errors derive from these
        raise InvalidResults(f"{document.path.name} is no readable Parquet: {error}") from None


def _plain(value: object) -> object:
    """Columns of dates, decimals and bytes say what their text says."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return number(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
