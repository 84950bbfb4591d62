"""`pythia import-observations`: telemetry from elsewhere, in our own form or in that of public result files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.cli.output import AsJson, InvalidArgument, emit

_BATCH = 2000
EXIT_SOME_REFUSED = 1
_SHOWN = 20

_FORMATS = (
    "observations, mlperf-inference, mlperf-training, hf-peft, megatron-golden, "
    "vllm-bench, hf-trainer, table, torch-log"
)


def import_observations(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Observations, or a result file; gzipped or not.")],
    form: Annotated[
        str | None, typer.Option("--format", help=f"One of {_FORMATS}; recognised from the content if not named.")
    ] = None,
    said: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="What the file does not say, such as gpu_type=H100-SXM."),
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="A table's column, such as workload.model=model_name."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the rows and send nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import observations. Lines that cannot be used are named and kept out; the rest goes in. Exit code 1 then."""
    from predictor.importers.reading import read_results  # noqa: PLC0415 - reads the catalogues

    found = read_results(Path(file), format=form, given=_pairs(said, "--set"), columns=_pairs(mapped, "--map"))
    refused = [{"line": one.line, "error": one.reason} for one in found.rejected]
    if dry_run:
        _show(found.format, found.rows, refused, as_json=as_json)
    else:
        done = _send(zip(found.lines, found.rows, strict=True), refused)
        head = f"{done['imported']:,} observations imported, {done['known']:,} known before, {len(refused):,} refused"
        emit(done | {"format": found.format}, "\n".join([head, *_named(refused)]), as_json=as_json)
    raise typer.Exit(EXIT_SOME_REFUSED if refused else 0)


def _send(rows: Iterator[tuple[int, dict[str, Any]]], refused: list[dict[str, Any]]) -> dict[str, Any]:
    """Post the rows in batches; what the server refuses joins what the file's reader refused."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    imported = known = 0
    with connect() as server:
        while batch := list(islice(rows, _BATCH)):
            done = server.post("/v1/observations:import", {"observations": [row for _, row in batch]})
            imported, known = imported + done["imported"], known + done["known"]
            refused += [{"line": batch[one["index"]][0], "error": one["error"]} for one in done["refused"]]
    refused.sort(key=lambda one: one["line"])
    return {"imported": imported, "known": known, "refused": refused}


def _show(form: str, rows: Iterable[dict[str, Any]], refused: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        emit({"format": form, "observations": list(rows), "refused": refused}, "", as_json=True)
        return
    for row in rows:
        typer.echo(json.dumps(row))
    typer.echo("\n".join([f"read as {form}, {len(refused):,} refused; nothing was sent", *_named(refused)]), err=True)


def _named(refused: list[dict[str, Any]]) -> list[str]:
    lines = [f"  line {one['line']}: {one['error']}" for one in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        lines.append(f"  … and {len(refused) - _SHOWN:,} more; --json lists them all")
    return lines


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise InvalidArgument(f"{option} {text!r:.80} is not of the form FIELD=…")
        pairs[name.strip()] = value.strip()
    return pairs
