"""`pythia jobs`, `job`, `cancel`: what there is, how it stands, and stopping it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from scheduler.cli.output import AsJson, InvalidArgument, JobId, emit, job_path
from scheduler.cli.wording import ABSENT, columns, duration, gib, moment, span, usd

Json = Mapping[str, Any]


def jobs(
    state: Annotated[list[str] | None, typer.Option(help="Only jobs in this state; may be given again.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only jobs with this label.")] = None,
    name: Annotated[str | None, typer.Option(help="Only jobs of exactly this name.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many, newest first.")] = 20,
    after: Annotated[str | None, typer.Option(help="Continue behind this job, as the last page said.")] = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    malformed = [one for one in label or [] if "=" not in one]
    if malformed:
        raise InvalidArgument(f"--label {malformed[0]} has no value; write --label key=value")
    with connect() as server:
        page = server.get("/v1/jobs", state=state, label=label, name=name, limit=limit, after=after)
    emit(page, _list_text(page), as_json=as_json)


def job(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job and its attempts: predicted beside measured."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        found = server.get(job_path(job_id))
        attempts = server.get(job_path(job_id, "/attempts"))["items"]
    emit(found | {"attempts": attempts}, job_text(found, attempts), as_json=as_json)


def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Stop a job; one that runs is told to stop and then made to."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        stopped = server.call("DELETE", job_path(job_id))
    emit(stopped, f"{stopped['id']}  {stopped['state']}", as_json=as_json)


def _list_text(page: Json) -> str:
    if not page["items"]:
        return "no jobs; submit one with `pythia submit job.yaml`"
    header = ("ID", "NAME", "STATE", "ATTEMPTS", "$ SPENT", "CREATED", "WHY")
    rows = [
        (
            one["id"],
            one["name"],
            one["state"],
            f"{one['attempts_made']}/{one['max_attempts']}",
            usd(one["spent_usd"]) + ("*" if one["simulated"] else ""),
            moment(one["created_at"]),
            one["reason"] or "",
        )
        for one in page["items"]
    ]
    lines = columns(header, rows, right=(3, 4))
    if any(one["simulated"] for one in page["items"]):
        lines.append("* on a simulated provider: no money was spent")
    if page["next"]:
        lines.append(f"more: pythia jobs --after {page['next']}")
    return "\n".join(lines)


def job_text(found: Json, attempts: list[Json]) -> str:
    """One job with its attempts."""
    from scheduler.cli.describe import constraints_line, job_line, objective_line  # noqa: PLC0415

    lines = [
        f"Job        {found['name']}  {found['id']}",
        f"State      {found['state']}" + (f": {found['reason']}" if found["reason"] else ""),
        f"Work       {job_line(found['spec'])}",
        f"Objective  {objective_line(found['spec'])}     Constraints  {constraints_line(found['spec'])}",
        f"Spent      ${usd(found['spent_usd'])} over {found['attempts_made']} of {found['max_attempts']} attempts"
        + ("; simulated, no money moved" if found["simulated"] else ""),
    ]
    if found.get("queue"):
        lines.insert(2, f"Queue      {_queue_text(found['queue'])}")
    return "\n".join([*lines, "", *attempt_lines(attempts)]) if attempts else "\n".join(lines)


def _queue_text(place: Json) -> str:
    text = f"place {place['position']} of {place['waiting']}; "
    if place["starts_at_p50"] is None:
        return text + "when it starts cannot be said"
    text += f"starts {moment(place['starts_at_p50'])}"
    text += f" (between {moment(place['starts_at_p10'])} and {moment(place['starts_at_p90'])})"
    return text + ("; this start is held for it" if place["reserved_start_at"] else "")


def attempt_lines(attempts: list[Json]) -> list[str]:
    """Attempts as a table: what was predicted beside what happened."""
    header = (
        "TRY", "GPU", "OFFER", "STATE", "VRAM p50..p95", "WAS", "RUNTIME p50..p90", "WAS", "$", "NOTE",
    )  # fmt: skip
    return columns(header, [_attempt_row(one) for one in attempts], right=(0, 8))


def _attempt_row(one: Json) -> tuple[str, ...]:
    forecast = one["forecast"]
    vram, runtime = forecast.get("peak_vram_gib") or {}, forecast.get("runtime_s") or {}
    return (
        str(one["number"]),
        f"{one['gpu_type']} × {one['gpu_count']}",
        " ".join(filter(None, (one["provider"], one["region"]))),
        one["outcome"] or one["state"],
        span(gib(vram.get("p50")), gib(vram.get("p95"))),
        gib(one["peak_vram_gib"]),
        span(duration(runtime.get("p50")), duration(runtime.get("p90"))),
        duration(one["runtime_s"]),
        usd(one["cost_usd"]) if one["cost_usd"] is not None else ABSENT,
        one["reason"] or ("simulated" if one["simulated"] else ""),
    )
