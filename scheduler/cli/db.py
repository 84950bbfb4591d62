"""`pythia db`: bring a database to the newest schema, and say where it stands."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from scheduler.cli.output import InvalidArgument
from scheduler.settings import Settings, load_settings

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    help="The database: upgrade its schema, say where it stands, drop old decisions; the keys of its secrets.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def upgrade(as_json: AsJson = False) -> None:
    """Bring the database to the newest schema and make its first API key; several at once wait for each other."""
    from scheduler.broker import broker_for, prepare  # noqa: PLC0415
    from scheduler.services.api_keys import ensure_default_key  # noqa: PLC0415
    from scheduler.services.retention import make_months  # noqa: PLC0415
    from scheduler.storage.engine import make_engine  # noqa: PLC0415
    from scheduler.storage.migrate import upgrade as migrate  # noqa: PLC0415

    settings = _settings()
    url = settings.require_database_url()
    before, after = migrate(url)
    prepare(broker_for(settings))
    engine = make_engine(url, pool_size=1)
    try:
        make_months(engine, now=datetime.now(UTC))
        new_key = ensure_default_key(engine)
    finally:
        engine.dispose()
    if as_json:
        typer.echo(json.dumps({"before": before, "after": after, "new_api_key": new_key}))
        return
    if before == after:
        typer.echo(f"the database was already at {after}")
    else:
        typer.echo(f"upgraded the database from {before or 'empty'} to {after}")
    if new_key is not None:
        typer.echo(f"its API key, shown this once: {new_key}")


@app.command()
def check(as_json: AsJson = False) -> None:
    """Say whether the database is at the newest schema; exit code 1 if it is not."""
    from scheduler.storage.migrate import current_revision, newest_revision  # noqa: PLC0415

    current, newest = current_revision(_settings().require_database_url()), newest_revision()
    if as_json:
        typer.echo(json.dumps({"current": current, "newest": newest}))
    elif current == newest:
        typer.echo(f"the database is at {current}, the newest schema")
    else:
        typer.echo(f"the database is at {current or 'no schema'}, the newest is {newest}: run `pythia db upgrade`")
    if current != newest:
        raise typer.Exit(1)


@app.command()
def prune(
    older_than: Annotated[
        str, typer.Option(metavar="DAYS", help="Keep what is younger: a number of days, as in 180d.")
    ],
    as_json: AsJson = False,
) -> None:
    """Drop whole months of decisions and their candidates; jobs, attempts and events stay."""
    from scheduler.services.retention import make_months  # noqa: PLC0415
    from scheduler.services.retention import prune as drop_months  # noqa: PLC0415
    from scheduler.storage.engine import make_engine  # noqa: PLC0415

    days = older_than.removesuffix("d")
    if not days.isdigit() or not 1 <= int(days) <= 36_500:
        raise InvalidArgument(f"--older-than is {older_than!r}, must be a number of days such as 180d")
    engine, now = make_engine(_settings().require_database_url(), pool_size=1), datetime.now(UTC)
    try:
        make_months(engine, now=now)
        done = drop_months(engine, older_than=timedelta(days=int(days)), now=now)
    finally:
        engine.dispose()
    if as_json:
        typer.echo(json.dumps({"months": done.months, "decisions": done.decisions, "kept": done.kept}))
        return
    typer.echo(f"dropped {done.decisions:,} decisions of {', '.join(done.months) or 'no month'}")
    if done.kept:
        typer.echo(f"kept {', '.join(done.kept)}: a job that has not ended was decided then")


@app.command()
def secrets_key(
    behind: Annotated[
        bool, typer.Option("--next", help="Add a key that opens and does not seal yet, for every machine to have.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the key that seals secrets, where there is none yet; every API and worker needs the same file."""
    from scheduler.services.vault import new_key  # noqa: PLC0415

    path = load_settings().secrets_key_path
    made = behind or not path.exists()
    if made:
        new_key(path, seals=not behind)
    if as_json:
        typer.echo(json.dumps({"file": str(path), "made": made}))
        return
    typer.echo(f"made a key in {path}; keep a copy apart from the database" if made else f"{path} is there already")


@app.command()
def rotate_secrets(
    new: Annotated[bool, typer.Option("--new-key", help="First make a new key and put it in front.")] = False,
    behind: Annotated[bool, typer.Option("--next", help="First put the last key of the file in front.")] = False,
    drop: Annotated[bool, typer.Option("--drop-old", help="Then drop all keys of this file but the first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Seal every secret anew with the first key of the file."""
    from scheduler.services.secrets import seal_all_anew  # noqa: PLC0415
    from scheduler.services.vault import Vault, drop_old_keys, new_key, use_last_key  # noqa: PLC0415
    from scheduler.storage.engine import make_engine  # noqa: PLC0415

    settings = _settings()
    path = settings.secrets_key_path
    if not path.exists():
        raise InvalidArgument(f"there is no key at {path}; make one with `pythia db secrets-key`")
    engine = make_engine(settings.require_database_url(), pool_size=1)
    try:
        if behind:
            use_last_key(path)
        if new:
            new_key(path)
        sealed = seal_all_anew(engine, Vault(path))
        dropped = drop_old_keys(path) if drop else 0
    finally:
        engine.dispose()
    if as_json:
        typer.echo(json.dumps({"sealed": sealed, "dropped_keys": dropped}))
        return
    typer.echo(f"sealed {sealed} secrets with the first key of {path}, dropped {dropped} older keys")


def _settings() -> Settings:
    """The settings, with the database of a running `pythia up` where none is configured."""
    from scheduler.embedded.postgres import database_url_of  # noqa: PLC0415

    settings = load_settings()
    return settings.model_copy(update={"database_url": database_url_of(settings)})
