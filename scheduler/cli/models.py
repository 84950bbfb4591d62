"""`pythia models`: the predictor's versions with their scores, and putting one into use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from scheduler.cli.output import AsJson, emit
from scheduler.cli.wording import columns, moment

Json = Mapping[str, Any]

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, help="The predictor's versions: list them, put one into use."
)


@app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the versions, newest first; the champion is the one in use."""
    if context.invoked_subcommand is not None:
        return
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        found = server.get("/v1/models")
    emit(found, _text(found), as_json=as_json)


@app.command()
def train(as_json: AsJson = False) -> None:
    """Train a challenger on what was measured here; it is put into use if it predicts held-out jobs better."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        done = server.post("/v1/models:train", {})
    said = "is in use now" if done["promoted"] else f"was not promoted: {done['model']['comparison']['verdict']}"
    emit(done, f"{done['model']['version']} {said}", as_json=as_json)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    as_json: AsJson = False,
) -> None:
    """Put a version into use; refused unless it predicts better than the champion on held-out jobs."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        now = server.post(f"/v1/models/{version}:promote", {})
    emit(now, f"{now['version']} is in use", as_json=as_json)


def _text(found: Json) -> str:
    header = ("VERSION", "IN USE", "OBSERVATIONS", "MADE", "AGAINST THE CHAMPION OF ITS DAY")
    rows = [
        (
            one["version"],
            one["rows"],
            moment(one["created_at"]),
            (one["comparison"] or {}).get("verdict", "not compared"),
        )
        for one in found["items"]
    ]
    shipped = found["shipped"]
    rows.append((shipped["version"], shipped["rows"], shipped["created"], "came with Pythia"))
    return "\n".join(
        columns(
            header,
            [
                (version, "champion" if version == found["in_use"] else "", f"{count:,}", made, verdict)
                for version, count, made, verdict in rows
            ],
            right=(2,),
        )
    )
