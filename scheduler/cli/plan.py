"""`pythia plan`: where a job would run, at what price, and why nothing else; nothing is reserved."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from scheduler.cli.output import EXIT_REFUSED, AsJson, InvalidArgument, emit


def plan(
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="A job spec; - reads standard input.")],
    everything: Annotated[bool, typer.Option("--all", help="Print every listed candidate, not the best few.")] = False,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Ask no server: plan here, with the shipped predictor and price snapshot."),
    ] = False,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Print the choice between money and time instead of the candidates.")
    ] = False,
    prices_of: Annotated[
        str | None,
        typer.Option(
            metavar="DAY|VERSION",
            help="Plan at the prices of a day (2026-08-23), or of the inventory that `pythia explain` names (41).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict a job on every offer and say where it would run. Exit code 3 if no placement will do."""
    from scheduler.cli.job_file import read_job_file  # noqa: PLC0415
    from scheduler.cli.plan_table import pareto_text, plan_text  # noqa: PLC0415

    if offline and prices_of is not None:
        raise InvalidArgument("only a server remembers prices: give --prices-of or --offline, not both")
    spec = read_job_file(job)
    decision = _offline(spec) if offline else _by_server(spec, prices_of)
    emit(decision, pareto_text(decision) if pareto else plan_text(decision, everything=everything), as_json=as_json)
    if decision["kind"] == "refusal":
        raise typer.Exit(EXIT_REFUSED)


def _by_server(spec: dict[str, Any], prices_of: str | None) -> dict[str, Any]:
    from scheduler.cli.client import post_unless_offline  # noqa: PLC0415

    query = "" if prices_of is None else f"?{urlencode({'prices_of': prices_of})}"
    return post_unless_offline(f"/v1/plans{query}", spec, "plan")


def _offline(spec: dict[str, Any]) -> dict[str, Any]:
    """The same plan without a server: the shipped predictor, the shipped prices, everything free."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from predictor.model import load_default_predictor  # noqa: PLC0415
    from scheduler.api import present_plan  # noqa: PLC0415
    from scheduler.domain.spec import parse_job_spec  # noqa: PLC0415
    from scheduler.services.knowledge import know  # noqa: PLC0415
    from scheduler.services.plan import plan_on  # noqa: PLC0415
    from scheduler.services.seed import shipped_offers  # noqa: PLC0415

    read = parse_job_spec(spec)
    made = plan_on(shipped_offers(), know(load_default_predictor()), read, now=datetime.now(UTC))
    return present_plan.plan(made).model_dump(mode="json")
