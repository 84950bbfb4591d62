"""`pythia explain`: every decision about a job, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from scheduler.cli.output import AsJson, JobId, emit, job_path

Json = Mapping[str, Any]


def explain(
    job_id: JobId,
    everything: Annotated[bool, typer.Option("--all", help="Print every listed candidate, not the best few.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say why a job went where it went: what was considered, why each lost, and how it turned out."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        found = server.get(job_path(job_id))
        decisions = server.get(job_path(job_id, "/decisions"))["items"]
        attempts = server.get(job_path(job_id, "/attempts"))["items"]
        events = server.get(job_path(job_id, "/events"))["items"]
    story = {"job": found, "decisions": decisions, "attempts": attempts, "events": events}
    emit(story, _text(story, everything=everything), as_json=as_json)


def _text(story: Json, *, everything: bool) -> str:
    from scheduler.cli.jobs import attempt_lines  # noqa: PLC0415
    from scheduler.cli.plan_table import naive_line, plan_text  # noqa: PLC0415
    from scheduler.cli.wording import moment  # noqa: PLC0415

    found = story["job"]
    lines = [f"{found['name']}  {found['id']}  {found['state']}" + (f": {found['reason']}" if found["reason"] else "")]
    for made in story["decisions"]:
        on = "" if made["inventory_version"] is None else f", inventory {made['inventory_version']}"
        title = f"Decision {made['number']}, {made['kind']}, {moment(made['decided_at'])}{on}"
        lines += ["", f"{title}: {made['reason']}"]
        lines += [plan_text(made, everything=everything)]
        if naive := naive_line(made):
            lines.append(f"The lowest price per hour that holds the weights: {naive}.")
    if story["attempts"]:
        lines += ["", "Attempts", *attempt_lines(story["attempts"])]
    began = datetime.fromisoformat(found["created_at"])
    lines += ["", f"Events, in seconds since {moment(found['created_at'])}"]
    lines += [_event_line(event, began) for event in story["events"]]
    return "\n".join(lines)


def _event_line(event: Json, began: datetime) -> str:
    after = (datetime.fromisoformat(event["at"]) - began).total_seconds()
    move = f"{event['from_state'] or 'new'} → {event['to_state']}" if event["to_state"] else ""
    outcome = event["data"].get("outcome") or ""
    return f"  {after:8.1f}  {event['kind']:<16}  {move}{outcome}".rstrip()
