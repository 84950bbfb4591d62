"""`pythia tenants`: who may use how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from scheduler.cli.output import AsJson, InvalidArgument, emit
from scheduler.cli.wording import columns, usd

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True,
    help="Tenants: add them, list them, give them quotas and keys.",
)  # fmt: skip

Json = Mapping[str, Any]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The tenant's name.")]
Share = Annotated[float | None, typer.Option(help="Of two who wait, twice the share gets twice as much.")]
MaxGpus = Annotated[str | None, typer.Option(metavar="N", help="GPUs held at once; `none` lifts the limit.")]
MaxUsd = Annotated[
    str | None, typer.Option("--max-usd-per-month", metavar="USD", help="Spent in a month; `none` lifts the limit.")
]
ShareCards = Annotated[
    bool | None,
    typer.Option(
        "--share-cards/--no-share-cards", help="Let several of its small jobs run on one card, where they fit."
    ),
]


@app.command()
def add(
    name: Name,
    share: Share = None,
    max_gpus: MaxGpus = None,
    max_usd: MaxUsd = None,
    share_cards: ShareCards = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant; give it a key with `pythia tenants key NAME`."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        made = server.post("/v1/tenants", {"name": name, **_limits(share, max_gpus, max_usd, share_cards)})
    emit(made, f"{made['name']}  {_said(made)}", as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List tenants with their quotas and what counts against them."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        page = server.get("/v1/tenants")
    header = ("TENANT", "SHARE", "GPUS", "OF", "$ THIS MONTH", "OF", "GPU-H IN 24 H", "SHARES CARDS")
    rows = [
        (
            one["name"], f"{one['share']:g}", str(one["gpus"]), _limit(one["max_gpus"]), usd(one["usd_this_month"]),
            "no limit" if one["max_usd_per_month"] is None else usd(one["max_usd_per_month"]),
            f"{one['gpu_hours_of_a_day']:.1f}", "yes" if one["share_cards"] else "no",
        )
        for one in page["items"]
    ]  # fmt: skip
    emit(page, "\n".join(columns(header, rows, right=(1, 2, 3, 4, 5, 6))), as_json=as_json)


@app.command()
def quota(
    name: Name,
    share: Share = None,
    max_gpus: MaxGpus = None,
    max_usd: MaxUsd = None,
    share_cards: ShareCards = None,
    as_json: AsJson = False,
) -> None:
    """Set a tenant's share and quotas, and whether its jobs share cards; what it holds already it keeps."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    limits = _limits(share, max_gpus, max_usd, share_cards)
    if not limits:
        raise InvalidArgument("nothing to change; give --share, --max-gpus, --max-usd-per-month or --share-cards")
    with connect() as server:
        changed = server.patch(f"/v1/tenants/{name}", limits)
    emit(changed, f"{changed['name']}  {_said(changed)}", as_json=as_json)


@app.command()
def key(
    name: Name,
    key_name: Annotated[str, typer.Option("--name", help="What to call the key.")] = "default",
    as_json: AsJson = False,
) -> None:
    """Make a key of a tenant; it is shown this once."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        made = server.post(f"/v1/tenants/{name}/keys", {"name": key_name})
    emit(made, made["key"], as_json=as_json)


def _limits(share: float | None, max_gpus: str | None, max_usd: str | None, share_cards: bool | None) -> dict[str, Any]:
    given = {"share": share, "share_cards": share_cards}
    limits: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if max_gpus is not None:
        if max_gpus != "none" and not max_gpus.isdigit():
            raise InvalidArgument(f"--max-gpus is {max_gpus!r}, must be a number of GPUs or none")
        limits["max_gpus"] = None if max_gpus == "none" else int(max_gpus)
    if max_usd is not None:
        limits["max_usd_per_month"] = None if max_usd == "none" else max_usd
    return limits


def _said(one: Json) -> str:
    most = "no limit" if one["max_usd_per_month"] is None else f"${usd(one['max_usd_per_month'])}"
    cards = ", shares cards" if one["share_cards"] else ""
    return f"share {one['share']:g}, GPUs: {_limit(one['max_gpus'])}, a month: {most}{cards}"


def _limit(most: int | None) -> str:
    return "no limit" if most is None else str(most)
