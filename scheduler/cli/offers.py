"""`pythia offers` and `import-offers`: what may be bought, and putting a newer price list in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from scheduler.cli.output import AsJson, emit
from scheduler.cli.wording import ABSENT, columns, usd

Json = Mapping[str, Any]
_PAGE = 1000


def offers(
    gpu_type: Annotated[str | None, typer.Option("--gpu-type", help="Only this GPU type.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the inventory, cheapest GPU-hour of each type first."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    found: list[Json] = []
    after: str | None = None
    with connect() as server:
        while True:
            page = server.get("/v1/offers", gpu_type=gpu_type, provider=provider, after=after, limit=_PAGE)
            found += page["items"]
            after = page["next"]
            if after is None:
                break
    found.sort(key=lambda one: (one["gpu_type"], float(one["on_demand_usd_per_gpu_hour"] or "inf"), one["provider"]))
    emit(found, _text(found), as_json=as_json)


def import_offers(
    file: Annotated[str, typer.Argument(metavar="FILE.csv", help="A price list; its format is known by its header.")],
    provider: Annotated[str | None, typer.Option(help="Whose prices, for a catalogue that does not say.")] = None,
    price_date: Annotated[str | None, typer.Option(metavar="DAY", help="Of which day, likewise: 2026-08-23.")] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="What runs jobs placed there: simulated or dstack. By default what each offer has."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import a price list: our own format, or a catalogue of gpuhunt, dstack or SkyPilot.

    A line that cannot be read refuses the whole file and is named; a price that cannot be true goes to quarantine.
    """
    from scheduler.cli.client import connect  # noqa: PLC0415
    from scheduler.cli.files import read_bytes  # noqa: PLC0415

    with connect() as server:
        content = read_bytes(file)
        said = {"provider": provider, "price_date": price_date, "backend": backend}
        done = server.upload("/v1/offers:import", content, "text/csv", **said)
    emit(done, _import_text(done), as_json=as_json)


def _import_text(done: Json) -> str:
    lines = [f"{done['stored']:,} offers stored, from a file in the format {done['format']}"]
    if done["older"]:
        lines.append(f"{done['older']:,} are older than the price in use: remembered, not put to use")
    lines += [f"{many:,} lines skipped: {reason}" for reason, many in sorted(done["skipped"].items())]
    if done["quarantined"]:
        lines.append(f"{done['quarantined']:,} prices are not believed: see `pythia prices quarantine`")
    return "\n".join(lines)


def _text(found: list[Json]) -> str:
    if not found:
        return "no offers; import a price list with `pythia import-offers FILE`"
    header = ("GPU", "PROVIDER", "REGION", "COUNTRY", "NODE", "FREE", "OF", "$/GPU-H", "SPOT", "PRICE OF", "RUNS ON")
    rows = [
        (
            one["gpu_type"],
            one["provider"],
            one["region"] or ABSENT,
            one["country"] or ABSENT,
            f"{one['node_gpus']} × {one['max_nodes']}" if one["max_nodes"] > 1 else str(one["node_gpus"]),
            str(one["free_gpus"]),
            str(one["capacity_gpus"]) + ("~" if "capacity_gpus" in one["assumed"] else ""),
            usd(one["on_demand_usd_per_gpu_hour"]),
            usd(one["spot_usd_per_gpu_hour"]),
            one["price_date"],
            "disabled" if not one["enabled"] else "silent" if one["away"] else one["backend"],
        )
        for one in found
    ]
    return "\n".join([*columns(header, rows, right=(5, 6, 7, 8)), "~ assumed: no price list states it"])
