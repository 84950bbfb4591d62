"""`pythia prices`: what offers have cost, which lists said so, and the prices that nobody believes yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import typer

from scheduler.cli.output import AsJson, InvalidArgument, emit
from scheduler.cli.wording import ABSENT, columns, moment, usd

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True,
    help="Prices through time: history, imports, and the quarantine.",
)  # fmt: skip

Json = Mapping[str, Any]
PriceId = Annotated[str, typer.Argument(metavar="ID", help="As `pythia prices quarantine` prints it.")]


@app.command()
def history(
    offer_id: Annotated[str, typer.Argument(metavar="OFFER", help="An offer's id, as `pythia offers --json` has it.")],
    as_json: AsJson = False,
) -> None:
    """Show what an offer has cost, the newest record first."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        page = server.get(f"/v1/offers/{_id(offer_id)}/prices")
    header = ("PRICE OF", "$/GPU-H", "SPOT", "CAPACITY", "VERSION", "RECORDED", "SOURCE")
    rows = [
        (
            one["price_date"], usd(one["on_demand_usd_per_gpu_hour"]), usd(one["spot_usd_per_gpu_hour"]),
            str(one["capacity_gpus"]), str(one["inventory_version"]), moment(one["recorded_at"]),
            one["source"] + ("" if one["applied"] else " (older than the price in use)"),
        )
        for one in page["items"]
    ]  # fmt: skip
    emit(page, "\n".join(columns(header, rows, right=(1, 2, 3, 4))), as_json=as_json)


@app.command()
def imports(as_json: AsJson = False) -> None:
    """List the price lists that were imported, newest first."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        page = server.get("/v1/prices/imports")
    header = ("IMPORTED", "FORMAT", "LINES", "STORED", "OLDER", "QUARANTINED", "SKIPPED", "PRICES OF")
    rows = [
        (
            moment(one["imported_at"]), one["format"], str(one["lines"]), str(one["stored"]), str(one["older"]),
            str(one["quarantined"]), str(sum(one["skipped"].values())),
            f"{one['oldest_price_date'] or ABSENT} .. {one['newest_price_date'] or ABSENT}",
        )
        for one in page["items"]
    ]  # fmt: skip
    text = "\n".join(columns(header, rows, right=(2, 3, 4, 5, 6))) if rows else "no price list was imported yet"
    emit(page, text, as_json=as_json)


@app.command()
def quarantine(as_json: AsJson = False) -> None:
    """List the prices that are not believed and why; no plan uses them."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        page = server.get("/v1/prices/quarantine", limit=1000)
    header = ("ID", "GPU", "PROVIDER", "REGION", "$/GPU-H", "SPOT", "PRICE OF", "WHY")
    rows = [
        (
            one["id"], one["gpu_type"], one["provider"], one["region"] or ABSENT,
            usd(one["on_demand_usd_per_gpu_hour"]), usd(one["spot_usd_per_gpu_hour"]), one["price_date"],
            one["reason"],
        )
        for one in page["items"]
    ]  # fmt: skip
    text = "\n".join(columns(header, rows, right=(4, 5))) if rows else "no price is in quarantine"
    emit(page, text, as_json=as_json)


@app.command()
def release(price_id: PriceId, as_json: AsJson = False) -> None:
    """Believe a price after all: its offer takes it, unless a newer one is in use by now."""
    _decide(price_id, "release", as_json=as_json)


@app.command()
def drop(price_id: PriceId, as_json: AsJson = False) -> None:
    """Never use a price; it leaves the quarantine."""
    _decide(price_id, "drop", as_json=as_json)


def _decide(price_id: str, verb: str, *, as_json: bool) -> None:
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        one = server.post(f"/v1/prices/quarantine/{_id(price_id)}:{verb}", {})
    text = f"{one['state']}: {one['gpu_type']} at {one['provider']} {one['region']}".rstrip()
    if one["applied"] is False:
        text += f"; its offer keeps a newer price than that of {one['price_date']}"
    emit(one, text, as_json=as_json)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidArgument(f"{text!r} is not an id; `--json` prints them") from None
