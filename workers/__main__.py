"""Run one worker: `python -m workers [--queues dispatch,poll] [--concurrency 2] [--provider local]`."""

from __future__ import annotations

import argparse
import sys
import warnings

from celery.exceptions import SecurityWarning
from celery.signals import setup_logging

from predictor.errors import PythiaError
from scheduler.broker import HOST_KINDS, QUEUE_KINDS, broker_for
from scheduler.clock import CommonClock
from scheduler.logs import configure_logs
from scheduler.settings import Settings, load_settings
from scheduler.storage.engine import make_engine
from workers.app import configure
from workers.backends.local import registration
from workers.host import HostHeart
from workers.tasks import app
from workers.wiring import utc_now

PROMPT = tuple(kind for kind in QUEUE_KINDS if kind != "train")
"""What a worker does unless told otherwise: a training takes minutes, and would keep launches waiting."""


def main(arguments: list[str] | None = None) -> int:
    """Listen on the named queues until told to stop; a bad setting is one sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m workers", description="Run one Pythia worker.")
    parser.add_argument("--queues", default=None, help="comma-separated kinds of work; all but train")
    parser.add_argument(
        "--provider", choices=("local",), default=None,
        help="offer this host's GPUs and processors, and run what is placed on them; other work only with --queues",
    )  # fmt: skip
    parser.add_argument("--concurrency", type=int, default=None, help="tasks at once (PYTHIA_WORKER_CONCURRENCY)")
    parser.add_argument("--name", default="worker@%h", help="the worker's name among its siblings")
    asked = parser.parse_args(arguments)
    shared = asked.queues if asked.queues is not None else "" if asked.provider else ",".join(PROMPT)
    kinds = [kind.strip() for kind in shared.split(",") if kind.strip()]
    unknown = sorted(set(kinds) - set(QUEUE_KINDS))
    if unknown or not (kinds or asked.provider):
        parser.error(f"unknown queues {', '.join(unknown) or '(none given)'}; there are {', '.join(QUEUE_KINDS)}")
    try:
        settings = load_settings()
        broker = broker_for(settings)
        host = settings.this_host if asked.provider else None
        heart = None if host is None else _heart(settings, host)
    except PythiaError as error:
        print(f"pythia: {error}", file=sys.stderr)
        return 2
    configure(app, broker, host=host)
    # a receiver is what keeps Celery from setting up logging of its own
    setup_logging.connect(lambda **_: configure_logs(settings.log_format), weak=False)
    # Celery warns root for fear of unpickling what others sent; only JSON is accepted here
    warnings.filterwarnings("ignore", category=SecurityWarning)
    concurrency = asked.concurrency or settings.worker_concurrency
    queues = [broker.queue(kind) for kind in QUEUE_KINDS if kind in kinds]
    queues += [broker.queue(kind, host) for kind in HOST_KINDS] if host is not None else []
    if heart is not None:
        heart.start()
    app.worker_main(
        [
            "--quiet",
            "worker",
            "--queues", ",".join(queues),
            "--concurrency", str(concurrency),
            "--hostname", asked.name,
            "--loglevel", "INFO",
            # siblings have nothing to tell each other that PostgreSQL does not know
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        ]
    )  # fmt: skip
    return 0


def _heart(settings: Settings, host: str) -> HostHeart:
    """This host, registered."""
    engine = make_engine(settings.require_database_url(), pool_size=1)
    account, formerly = registration(settings.data_path, host)
    heart = HostHeart(
        engine=engine, name=host, account=account, formerly=formerly, lease_s=settings.lease_s,
        clock=CommonClock(engine, utc_now),
    )  # fmt: skip
    try:
        heart.register()
    finally:
        heart.engine.dispose()
    return heart


if __name__ == "__main__":
    sys.exit(main())
