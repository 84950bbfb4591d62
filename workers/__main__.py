"""Run one worker: `python -m workers [--queues dispatch,poll] [--concurrency 2]`."""

from __future__ import annotations

import argparse
import sys
import warnings

from celery.exceptions import SecurityWarning
from celery.signals import setup_logging

from predictor.errors import PythiaError
from scheduler.broker import QUEUE_KINDS, broker_for
from scheduler.logs import configure_logs
from scheduler.settings import load_settings
from workers.app import configure
from workers.tasks import app

PROMPT = tuple(kind for kind in QUEUE_KINDS if kind != "train")
"""What a worker does unless told otherwise: a training takes minutes, and would keep launches waiting."""


def main(arguments: list[str] | None = None) -> int:
    """Listen on the named queues until told to stop; a bad setting is one sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m workers", description="Run one Pythia worker.")
    parser.add_argument("--queues", default=",".join(PROMPT), help="comma-separated kinds of work; all but train")
    parser.add_argument("--concurrency", type=int, default=None, help="tasks at once (PYTHIA_WORKER_CONCURRENCY)")
    parser.add_argument("--name", default="worker@%h", help="the worker's name among its siblings")
    asked = parser.parse_args(arguments)
    kinds = [kind.strip() for kind in asked.queues.split(",") if kind.strip()]
    unknown = sorted(set(kinds) - set(QUEUE_KINDS))
    if unknown or not kinds:
        parser.error(f"unknown queues {', '.join(unknown) or '(none given)'}; there are {', '.join(QUEUE_KINDS)}")
    try:
        settings = load_settings()
        broker = broker_for(settings)
    except PythiaError as error:
        print(f"pythia: {error}", file=sys.stderr)
        return 2
    configure(app, broker)
    # a receiver is what keeps Celery from setting up logging of its own
    setup_logging.connect(lambda **_: configure_logs(settings.log_format), weak=False)
    # Celery warns root for fear of unpickling what others sent; only JSON is accepted here
    warnings.filterwarnings("ignore", category=SecurityWarning)
    concurrency = asked.concurrency or settings.worker_concurrency
    app.worker_main(
        [
            "--quiet",
            "worker",
            "--queues", ",".join(broker.queue(kind) for kind in QUEUE_KINDS if kind in kinds),
            "--concurrency", str(concurrency),
            "--hostname", asked.name,
            "--loglevel", "INFO",
            # siblings have nothing to tell each other that PostgreSQL does not know
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        ]
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
