"""`pythia up`: everything on this machine in one process tree, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from scheduler.cli.config import config_path, load_config, read_config, write_config
from scheduler.settings import load_settings

if TYPE_CHECKING:
    from scheduler.embedded.system import EmbeddedSystem

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the database, logs and predictors are kept (PYTHIA_DATA_DIR).")
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on (PYTHIA_HOST).")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port to listen on, 0 for any (PYTHIA_PORT).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object when ready.")] = False,
) -> None:
    """Run Pythia on this machine: its own PostgreSQL, the API, the relay and a worker. Ctrl-C stops it all."""
    from scheduler.embedded.system import EmbeddedSystem  # noqa: PLC0415

    asked = {"data_dir": data_dir, "host": host, "port": port}
    settings = load_settings().model_copy(update={name: value for name, value in asked.items() if value is not None})
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)  # wherever we are, starting included
    system = EmbeddedSystem(settings, report=lambda line: typer.echo(f"pythia: {line}", err=True))
    try:
        system.start()
        kept = _keep_key(system.url, system.api_key)
        _announce(system, kept, as_json=as_json)
        system.watch(threading.Event())
    except KeyboardInterrupt:
        pass
    finally:
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        system.stop()
    if not as_json:
        typer.echo("Stopped.")


def _keep_key(url: str, api_key: str | None) -> str:
    """Let the command line find this server; one sentence on where its key is."""
    path = config_path()
    kept = read_config(path)
    if api_key is None:
        if load_config().api_key:
            return f"in {path} or PYTHIA_API_KEY"
        return f'made where this database was first started: put it into {path} (api_key = "…") or PYTHIA_API_KEY'
    if urlsplit(kept.get("url", url)).hostname not in _LOOPBACK:
        return f"not kept, as {path} names {kept['url']}; set PYTHIA_URL={url} and PYTHIA_API_KEY to use this server"
    if kept != {"url": url, "api_key": api_key}:
        write_config(path, url=url, api_key=api_key)
    return f"kept in {path}"


def _announce(system: EmbeddedSystem, kept: str, *, as_json: bool) -> None:
    directory = system.settings.data_path
    if as_json:
        facts = {"url": system.url, "api_key_new": system.key_is_new, "data_dir": str(directory)}
        typer.echo(json.dumps(facts | ({"api_key": system.api_key} if system.key_is_new else {})))
        return
    lines = [f"Pythia is ready at {system.url} (API documentation: {system.url}/docs). Ctrl-C stops it."]
    if system.key_is_new:
        lines.append(f"API key   {system.api_key}   shown this once, {kept}")
    else:
        lines.append(f"API key   {kept}")
    lines.append(f"Data      {directory} (database in postgres/, what the parts say in logs/)")
    typer.echo("\n".join(lines))
