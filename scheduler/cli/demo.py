"""`pythia demo`: a whole Pythia for two minutes, from the first plan to the last outcome."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scheduler.cli.output import AsJson

if TYPE_CHECKING:
    from scheduler.embedded.system import EmbeddedSystem

EXIT_NOT_AS_PROMISED = 1
TIME_SCALE = 1e-4
"""Real seconds waited per virtual second of a simulated run: three hours take one second."""


def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the database and logs there; `pythia up` can reopen them.")
    ] = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="Leave the system running until Ctrl-C, to look around.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Plan, place, run and learn, on a system of its own. Exit code 1 if anything is not as promised."""
    from scheduler.cli.client import Client  # noqa: PLC0415
    from scheduler.demo.narrator import Narrator  # noqa: PLC0415
    from scheduler.demo.play import play, where_next  # noqa: PLC0415
    from scheduler.demo.watch import DemoFailed  # noqa: PLC0415
    from scheduler.embedded.system import EmbeddedSystem  # noqa: PLC0415
    from scheduler.settings import load_settings  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a demo that is stopped stops its system too
    narrator = Narrator(sys.stderr if as_json else sys.stdout)
    with _directory(keep) as directory:
        settings = load_settings().model_copy(
            update={"data_dir": directory, "host": "127.0.0.1", "port": 0, "time_scale": TIME_SCALE}
        )
        narrator.say("starting Pythia: PostgreSQL, API, relay, worker")
        with EmbeddedSystem(settings, report=narrator.say) as system, _watched(system):
            narrator.say(f"ready at {system.url}")
            api_key = system.api_key or _own_key(system.database_url)
            with Client(system.url, api_key) as server:
                try:
                    stories = play(server, narrator)
                except DemoFailed as error:
                    typer.echo(f"pythia: {error}", err=True)
                    raise typer.Exit(EXIT_NOT_AS_PROMISED) from None
            narrator.show(["", *where_next(system.url, api_key, stories, stays=stay)])
            if as_json:
                typer.echo(json.dumps([asdict(story) for story in stories]))
            if stay:
                with suppress(KeyboardInterrupt):
                    signal.pause()


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="pythia-demo-") as made:
        yield Path(made)


def _own_key(database_url: str) -> str:
    """A key of our own to a database whose first key was made elsewhere."""
    from scheduler.services.api_keys import make_key  # noqa: PLC0415
    from scheduler.storage.engine import make_engine  # noqa: PLC0415
    from scheduler.storage.tables import DEFAULT_TENANT  # noqa: PLC0415

    engine = make_engine(database_url, pool_size=1)
    try:
        return make_key(engine, DEFAULT_TENANT, "demo")
    finally:
        engine.dispose()


@contextmanager
def _watched(system: EmbeddedSystem) -> Iterator[None]:
    """Somebody has to bury the processes of ended jobs and to restart what fails."""
    stopping = threading.Event()
    watcher = threading.Thread(target=system.watch, args=(stopping,), name="watch")
    watcher.start()
    try:
        yield
    finally:
        stopping.set()
        watcher.join()
