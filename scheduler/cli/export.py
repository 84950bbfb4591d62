"""`pythia export`: a job's placement as a task file of dstack or SkyPilot, which rent the machine and run it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from scheduler.cli.output import EXIT_REFUSED, AsJson, emit
from scheduler.exports.names import Engine


def export(
    job: Annotated[
        str, typer.Argument(metavar="JOB.yaml", help="A job spec with run.command; - reads standard input.")
    ],
    engine: Annotated[Engine, typer.Option("--for", help="Whose task file.")],
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no server: plan with the shipped predictor and price snapshot.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Plan a job among the providers that an engine can rent from, and print its task file. Exit code 3 if no placement
    will do. Nothing is reserved here."""
    from scheduler.cli.job_file import read_job_file  # noqa: PLC0415

    spec = read_job_file(job)
    answer = _offline(spec, engine) if offline else _by_server(spec, engine)
    if answer["file"] is None and not as_json:
        typer.echo(f"pythia: no task file: {answer['reason']}", err=True)
    else:
        emit(answer, (answer["file"] or "").rstrip("\n"), as_json=as_json)
    if answer["file"] is None:
        raise typer.Exit(EXIT_REFUSED)


def _by_server(spec: dict[str, Any], engine: Engine) -> dict[str, Any]:
    from scheduler.cli.client import post_unless_offline  # noqa: PLC0415

    return post_unless_offline(f"/v1/plans:export?engine={engine}", spec, "plan")


def _offline(spec: dict[str, Any], engine: Engine) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415
    from datetime import UTC, datetime  # noqa: PLC0415

    from predictor.model import load_default_predictor  # noqa: PLC0415
    from scheduler.domain.spec import parse_job_spec  # noqa: PLC0415
    from scheduler.services.export import export_on  # noqa: PLC0415
    from scheduler.services.knowledge import know  # noqa: PLC0415
    from scheduler.services.seed import shipped_offers  # noqa: PLC0415

    read, knowledge = parse_job_spec(spec), know(load_default_predictor())
    return asdict(export_on(shipped_offers(), knowledge, read, engine, now=datetime.now(UTC)))
