"""`pythia logs`: what a job printed, as it prints it with -f."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from scheduler.cli.output import AsJson, JobId, job_path


def logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print a job's output: its stdout on stdout, its stderr on stderr."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    path = job_path(job_id, "/logs")
    with connect() as server:
        if follow:
            for event in server.follow(path, follow="true"):
                if event.event == "log":
                    _print(json.loads(event.data), as_json=as_json)
            return
        after: int | None = 0
        while after is not None:
            page = server.get(path, after=after)
            for chunk in page["items"]:
                _print(chunk, as_json=as_json)
            after = page["next"]


def _print(chunk: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(chunk, ensure_ascii=False))
        return
    stream = sys.stderr if chunk["stream"] == "stderr" else sys.stdout
    stream.write(chunk["text"])
    stream.flush()
