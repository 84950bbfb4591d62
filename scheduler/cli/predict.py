"""`pythia predict`: lines in, lines out, in order; no server and no database."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.cli.output import AsJson, InvalidArgument

EXIT_BAD_LINE = 1

_AT_ONCE = 5000  # questions in one pass: enough to be fast, few enough to answer a long file as it is read


def predict(
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl", help="One question a line; - is standard input.")],
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="DIR", help="A trained bundle; default: the one shipped.")
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Say why: parts, what was learned, nearest known jobs; as JSON with --json."),
    ] = False,
    as_json: AsJson = False,  # without --explain the lines are JSON either way
) -> None:
    """Forecast memory and time for each line {id, workload, gpu_type, layout}; a bad line answers {id, error}."""
    from predictor.architectures.catalogue import load_models  # noqa: PLC0415
    from predictor.bundle import load_bundle  # noqa: PLC0415
    from predictor.hardware import load_gpu_types  # noqa: PLC0415
    from predictor.lines import Facts, answer_lines  # noqa: PLC0415
    from predictor.model import Predictor  # noqa: PLC0415

    predictor = Predictor(load_bundle(bundle))
    facts = Facts(models=load_models(), gpus=load_gpu_types())
    lines = (line for line in _lines(file) if line.strip())
    bad = False
    while some := list(islice(lines, _AT_ONCE)):
        for line, answer in zip(some, answer_lines(some, predictor, facts, explain=explain), strict=True):
            bad = bad or "error" in answer
            typer.echo(json.dumps(answer, ensure_ascii=False) if as_json or not explain else _text(line, answer))
    if bad:
        raise typer.Exit(EXIT_BAD_LINE)


def _text(line: str, answer: Mapping[str, Any]) -> str:
    from scheduler.cli.explanation_text import explanation_text, refusal_text  # noqa: PLC0415

    told = refusal_text(answer) if "error" in answer else explanation_text(json.loads(line), answer)
    return told + "\n"  # an empty line between one and the next


def _lines(file: str) -> Iterator[str]:
    try:
        if file == "-":
            yield from sys.stdin
        else:
            with Path(file).open(encoding="utf-8") as stream:
                yield from stream
    except UnicodeDecodeError:
        raise InvalidArgument(f"{file} is not UTF-8 text") from None
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be read: {error.strerror or error}") from None
