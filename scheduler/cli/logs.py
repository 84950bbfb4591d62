"""`pythia logs`: what a job printed, as it prints it with -f; or which jobs printed something, with --search."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from scheduler.cli.output import AsJson, InvalidArgument, job_path
from scheduler.cli.wording import moment


def logs(
    job_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The job's id; may be left out with --search.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Show lines of any job that hold this.")] = None,
    since: Annotated[str, typer.Option(metavar="DAYS", help="With --search: how far back, as in 2d.")] = "7d",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="With --search: at most so many pieces.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Print a job's output, its stdout on stdout and its stderr on stderr; or search all of it."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    if search is not None:
        if follow:
            raise InvalidArgument("--search looks into what was printed; leave out --follow")
        _search(search, job_id, since=_days(since), limit=limit, as_json=as_json)
        return
    if job_id is None:
        raise InvalidArgument("say whose output: `pythia logs ID`, or `pythia logs --search TEXT` for that of all jobs")
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


def _search(wanted: str, job_id: str | None, *, since: datetime, limit: int, as_json: bool) -> None:
    if job_id is not None:
        job_path(job_id)  # refuses what is no id
    number = 0
    for number, hit in enumerate(_hits(wanted, job_id, since), 1):
        if as_json:
            typer.echo(json.dumps(hit, ensure_ascii=False))
        else:
            typer.echo("\n".join(_hit_lines(hit)))
        if number == limit:
            typer.echo(f"the first {limit} pieces are shown; --limit shows more", err=True)
            return
    if not number:
        typer.echo(f"nothing that was printed since {moment(since.isoformat())} holds {wanted!r}", err=True)


def _hits(wanted: str, job_id: str | None, since: datetime) -> Iterator[Mapping[str, Any]]:
    """What is found, newest first; each page says how far it has come, so none of them takes long."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    after: str | None = None
    with connect() as server:
        while True:
            page = server.get("/v1/logs", search=wanted, job=job_id, since=since.isoformat(), after=after)
            yield from page["items"]
            after = page["next"]
            if after is None:
                return


def _hit_lines(hit: Mapping[str, Any]) -> Iterator[str]:
    yield f"{hit['job_id']}  {hit['job']}  try {hit['attempt']}  {hit['stream']}  {moment(hit['collected_at'])}"
    yield from (f"  {line}" for line in hit["lines"])
    if (more := hit["count"] - len(hit["lines"])) > 0:
        yield f"  ({more:,} more lines)"


def _days(text: str) -> datetime:
    number = text.removesuffix("d")
    if not number.isdecimal() or not 1 <= int(number[:6]) <= 36_500:
        raise InvalidArgument(f"--since is {text!r}, must be a number of days such as 2d")
    return datetime.now(UTC) - timedelta(days=int(number[:6]))
