"""`pythia demo`: a whole Pythia for two minutes, from the first plan to the last outcome."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from scheduler.cli.output import AsJson

EXIT_NOT_AS_PROMISED = 1
TIME_SCALE = 1e-4
"""Real seconds waited per virtual second of a simulated run: three hours take one second."""


def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the database and logs there; `pythia up` can reopen them.")
    ] = None,
    stay: Annotated[bool, typer.Option("--stay", help="Leave the system running until Ctrl-C, to look around.")] = False,
    as_json: AsJson = False,
) -> None:
    """Plan, place, run and learn, on a system of its own. Exit code 1 if anything is not as promised."""
    from scheduler.cli.client import Client  # noqa: PLC0415
    from scheduler.demo.narrator import Narrator  # noqa: PLC0415
    from scheduler.demo.play import play  # noqa: PLC0415
    from scheduler.demo.watch import DemoFailed  # noqa: PLC0415
    from scheduler.embedded.system import EmbeddedSystem  # noqa: PLC0415
    from scheduler.settings import load_settings  # noqa: PLC0415

    narrator = Narrator(sys.stderr if as_json else sys.stdout)
    with _directory(keep) as directory:
        settings = load_settings().model_copy(
            update={"data_dir": directory, "host": "127.0.0.1", "port": 0, "time_scale": TIME_SCALE}
        )
        narrator.say("starting Pythia: PostgreSQL, API, relay, worker")
        with EmbeddedSystem(settings, report=narrator.say) as system:
            narrator.say(f"ready at {system.url}")
            with Client(system.url, system.api_key) as server:
                try:
                    stories = play(server, narrator)
                except DemoFailed as error:
                    typer.echo(f"pythia: {error}", err=True)
                    raise typer.Exit(EXIT_NOT_AS_PROMISED) from None
            narrator.show(_where_next(system.url, stories[7].job["id"], keep))
            if as_json:
                typer.echo(json.dumps([vars(story) for story in stories]))
            if stay:
                _stay(system)


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="pythia-demo-") as made:
        yield Path(made)
