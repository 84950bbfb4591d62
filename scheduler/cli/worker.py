"""`pythia worker`: one Celery worker in the foreground, for machines that only run jobs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer


def worker(
    queues: Annotated[str | None, typer.Option(help="Kinds of work, by comma; by default all but train.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Tasks at once.")] = None,
    name: Annotated[str | None, typer.Option(help="The worker's name among its siblings.")] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="local", help="Offer this host's GPUs, and run what is placed on them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Log one JSON object a line.")] = False,
) -> None:
    """Run one worker until told to stop (PYTHIA_DATABASE_URL and PYTHIA_BROKER_URL say for whom).

    With --provider local it does its own host's work, and other work only as --queues says.
    """
    given = {"--queues": queues, "--concurrency": concurrency, "--name": name, "--provider": provider}
    options = [word for option, value in given.items() if value is not None for word in (option, str(value))]
    environment = os.environ | ({"PYTHIA_LOG_FORMAT": "json"} if as_json else {})
    # the scheduler never imports the workers, and a supervisor's signals must reach Celery itself: become it
    os.execve(sys.executable, [sys.executable, "-m", "workers", *options], environment)
