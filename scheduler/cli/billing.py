"""`pythia pools`, `pythia billing`: machines now, and what was spent on what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from scheduler.cli.output import AsJson, InvalidArgument, emit
from scheduler.cli.wording import ABSENT, columns, duration, moment, usd
from scheduler.domain.billing import By

Json = Mapping[str, Any]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")]
After = Annotated[str | None, typer.Option(help="Continue behind this one, as the last page said.")]

_NAMES: Mapping[By, tuple[tuple[str, ...], tuple[str, ...]]] = {
    By.DAY: (("DAY",), ("day",)),
    By.JOB: (("JOB", "NAME"), ("job_id", "job")),
    By.ATTEMPT: (("JOB", "NAME", "TRY", "OUTCOME", "GPU"), ("job_id", "job", "attempt", "outcome", "gpu_type")),
    By.GPU_TYPE: (("GPU",), ("gpu_type",)),
    By.PROVIDER: (("PROVIDER",), ("provider",)),
    By.MACHINE: (("MACHINE", "PROVIDER", "REGION", "GPU"), ("machine_id", "provider", "region", "gpu_type")),
}


def pools(limit: Limit = 100, after: After = None, as_json: AsJson = False) -> None:
    """List the machines that are rented now: for whom they work, and how long idle ones are kept."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        page = server.get("/v1/pools", limit=limit, after=after)
    emit(page, _pools_text(page), as_json=as_json)


def billing(
    by: Annotated[By, typer.Option(help="What is added up.")] = By.DAY,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="From this day on, UTC; by default a month.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Before this day, UTC; by default now.")] = None,
    limit: Limit = 100,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """Show what was spent on what, idle machines included; the sums are what the providers charge."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    query = {"since": _day("--since", since), "until": _day("--until", until)}
    with connect() as server:
        page = server.get("/v1/billing", by=by.value, limit=limit, after=after, **query)
    emit(page, _billing_text(page, by), as_json=as_json)


def _pools_text(page: Json) -> str:
    if not page["items"]:
        return "no machine is rented"
    header = ("MACHINE", "GPU", "OFFER", "STATE", "SINCE", "JOB", "$/H", "$ BOOKED", "WARM UNTIL")
    rows = [
        (
            one["id"],
            f"{one['gpu_type']} × {one['gpu_count']}" + (" spot" if one["spot"] else ""),
            " ".join(filter(None, (one["provider"], one["region"]))),
            one["state"],
            moment(one["since"]),
            f"{one['job']} try {one['attempt']}" if one["job"] else ABSENT,
            usd(one["usd_per_hour"]),
            usd(one["booked_usd"]) + ("*" if one["simulated"] else ""),
            moment(one["warm_until"]),
        )
        for one in page["items"]
    ]
    lines = columns(header, rows, right=(6, 7))
    if any(one["simulated"] for one in page["items"]):
        lines.append("* on a simulated provider: no money is spent")
    if page["next"]:
        lines.append(f"more: pythia pools --after {page['next']}")
    return "\n".join(lines)


def _billing_text(page: Json, by: By) -> str:
    header, fields = _NAMES[by]
    rows = [
        (
            *_names(one, fields),
            str(one["attempts"]),
            duration(one["billed_s"]),
            usd(one["attempts_usd"]),
            usd(one["idle_usd"]),
            usd(one["usd"]) + ("*" if one["simulated"] else ""),
        )
        for one in page["items"]
    ]
    count = len(header)
    header = (*header, "ATTEMPTS", "BILLED", "$ ATTEMPTS", "$ IDLE", "$")
    lines = columns(header, rows, right=tuple(range(count, count + 5))) if rows else ["nothing was booked in that time"]
    lines.append(f"total ${usd(page['total_usd'])}")
    if any(one["simulated"] for one in page["items"]):
        lines.append(f"* on a simulated provider, ${usd(page['simulated_usd'])} in all: no money was spent")
    if page["next"]:
        lines.append(f"more: pythia billing --by {by.value} --after {page['next']}")
    return "\n".join(lines)


def _names(one: Json, fields: tuple[str, ...]) -> tuple[str, ...]:
    """What a sum is of; one of no job and no attempt is of machines that idled."""
    names = tuple(ABSENT if one[field] is None else str(one[field]) for field in fields)
    return ("(idle)", *names[1:]) if names[0] == ABSENT else names


def _day(option: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).isoformat()
    except ValueError:
        raise InvalidArgument(f"{option} is {text!r}, must be a day such as 2026-12-01") from None
