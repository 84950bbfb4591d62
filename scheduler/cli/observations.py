"""`pythia import-observations`: telemetry from elsewhere, in the form of the observation files."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NoReturn

import typer

from scheduler.cli.output import AsJson, emit

_BATCH = 2000
EXIT_SOME_REFUSED = 1
_SHOWN = 20


def import_observations(
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl[.gz]", help="One observation as JSON on each line.")],
    as_json: AsJson = False,
) -> None:
    """Import observations. Lines that cannot be used are named and kept out; the rest goes in. Exit code 1 then."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    imported = known = 0
    refused: list[dict[str, Any]] = []
    with connect() as server:
        for numbers, rows in _batches(file, refused):
            done = server.post("/v1/observations:import", {"observations": rows})
            imported, known = imported + done["imported"], known + done["known"]
            refused += [{"line": numbers[one["index"]], "error": one["error"]} for one in done["refused"]]
    refused.sort(key=lambda one: one["line"])
    lines = [f"{imported:,} observations imported, {known:,} known before, {len(refused):,} refused"]
    lines += [f"  line {one['line']}: {one['error']}" for one in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        lines.append(f"  … and {len(refused) - _SHOWN:,} more; --json lists them all")
    emit({"imported": imported, "known": known, "refused": refused}, "\n".join(lines), as_json=as_json)
    raise typer.Exit(EXIT_SOME_REFUSED if refused else 0)


def _batches(file: str, refused: list[dict[str, Any]]) -> Iterator[tuple[list[int], list[Mapping[str, Any]]]]:
    numbers: list[int] = []
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            refused.append({"line": number, "error": f"not JSON: {error}"})
            continue
        if not isinstance(row, Mapping):
            refused.append({"line": number, "error": "not a JSON object"})
            continue
        numbers.append(number)
        rows.append(row)
        if len(rows) == _BATCH:
            yield numbers, rows
            numbers, rows = [], []
    if rows:
        yield numbers, rows


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number; leave out what was not measured")


def _lines(file: str) -> list[bytes]:
    from scheduler.cli.files import read_bytes  # noqa: PLC0415
    from scheduler.cli.output import InvalidArgument  # noqa: PLC0415

    data = read_bytes(file)
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidArgument(f"{file} looks like gzip and is damaged: {error}") from error
    return data.split(b"\n")
