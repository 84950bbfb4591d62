"""`pythia models`: the predictor's versions with their scores, and putting one into use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from scheduler.cli.output import AsJson, emit
from scheduler.cli.wording import ABSENT, columns, moment

Json = Mapping[str, Any]

_LOOK_S = 0.5
_LAST_TRAININGS = 5

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    help="The predictor's versions: list, train, put into use, go back, and watch them.",
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
def train(
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for what comes of it.")] = True,
    as_json: AsJson = False,
) -> None:
    """Have a worker train a challenger on what was measured here; it is put into use if it predicts better."""
    import time  # noqa: PLC0415

    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        training = server.post("/v1/models:train", {})
        while wait and training["state"] != "ended":
            time.sleep(_LOOK_S)
            training = server.get(f"/v1/models/trainings/{training['id']}")
    if training["state"] != "ended":
        text = f"training {training['id']} is {training['state']}; see `pythia models`"
    elif training["version"] is None:
        text = f"nothing came of it: {training['verdict']}"
    else:
        came = "is in use now" if training["promoted"] else "was not promoted"
        text = f"{training['version']} {came}: {training['verdict']}"
        if training["quarantined"]:
            text += f"; {training['quarantined']:,} measurements that cannot be were kept out"
    emit(training, text, as_json=as_json)


@app.command()
def rollback(as_json: AsJson = False) -> None:
    """Go back to the version that was in use before, in the end to the one that came with Pythia."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        now = server.post("/v1/models:rollback", {})
    emit(now, f"{now['in_use']} is in use", as_json=as_json)


@app.command()
def drift(as_json: AsJson = False) -> None:
    """Say where forecasts no longer hold: errors and coverage of the last jobs by task, GPU type and engine."""
    from scheduler.cli.client import connect  # noqa: PLC0415

    with connect() as server:
        found = server.get("/v1/models/drift")
    emit(found, _drift_text(found), as_json=as_json)


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
    shipped, trainings = found["shipped"], found["trainings"]
    rows.append((shipped["version"], shipped["rows"], shipped["created"], "came with Pythia"))
    table = columns(
        header,
        [
            (version, "champion" if version == found["in_use"] else "", f"{count:,}", made, verdict)
            for version, count, made, verdict in rows
        ],
        right=(2,),
    )
    return "\n".join([*table, *(["", *_trainings(trainings[:_LAST_TRAININGS])] if trainings else [])])


def _trainings(trainings: Sequence[Json]) -> list[str]:
    """What the last ones read, kept out and came to."""
    header = ("TRAINING OF", "BY", "READ", "LEARNED", "HELD OUT", "QUARANTINED", "UNREADABLE", "CAME OF IT")
    counts = ("read", "learned_from", "held_out", "quarantined", "left_out")
    rows = [
        (
            moment(one["requested_at"]),
            "the clock" if one["scheduled"] else "a person",
            *(ABSENT if one[name] is None else f"{one[name]:,}" for name in counts),
            ("promoted: " if one["promoted"] else "") + (one["verdict"] or one["state"]),
        )
        for one in trainings
    ]
    return columns(header, rows, right=(2, 3, 4, 5, 6))


def _drift_text(found: Json) -> str:
    if not found["slices"]:
        return "No real attempt has finished in the last 30 days."
    header = ("SLICE", "", "QUANTITY", "JOBS", "ERROR", "BEFORE", "WITHIN", "PROMISED")
    rows = [
        (
            one["slice"],
            one["value"],
            one["quantity"],
            str(one["jobs"]),
            _share(one["median_error"]),
            _share(one["median_error_before"]),
            _share(one["within"]),
            _share(one["promised"]),
        )
        for one in found["slices"]
    ]
    alarms = [f"ALARM  {alarm}" for alarm in found["alarms"]] or ["No alarm."]
    return "\n".join([*alarms, *columns(header, rows, right=(3, 4, 5, 6, 7))])


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
