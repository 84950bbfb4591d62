"""`pythia plan`: where a job would run, at what price, and why nothing else; nothing is reserved."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from scheduler.cli.output import EXIT_REFUSED, AsJson, emit


def plan(
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="A job spec; - reads standard input.")],
    everything: Annotated[bool, typer.Option("--all", help="Print every listed candidate, not the best few.")] = False,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Ask no server: plan here, with the shipped predictor and price snapshot."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Predict a job on every offer and say where it would run. Exit code 3 if no placement will do."""
    from scheduler.cli.job_file import read_job_file  # noqa: PLC0415
    from scheduler.cli.plan_table import plan_text  # noqa: PLC0415

    spec = read_job_file(job)
    decision = _offline(spec) if offline else _by_server(spec)
    emit(decision, plan_text(decision, everything=everything), as_json=as_json)
    if decision["kind"] == "refusal":
        raise typer.Exit(EXIT_REFUSED)


def _by_server(spec: dict[str, Any]) -> dict[str, Any]:
    from scheduler.cli.client import ServerUnreachable, connect  # noqa: PLC0415

    with connect() as server:
        try:
            decision: dict[str, Any] = server.post("/v1/plans", spec)
        except ServerUnreachable as error:
            raise ServerUnreachable(f"{error}; or plan without a server: --offline") from error
    return decision
