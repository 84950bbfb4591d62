"""A Celery worker whose only task writes down that it ran: `python -m tests.support.noting_worker FILE`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from celery import Celery

from scheduler.broker import QUEUE_KINDS, broker_for
from scheduler.settings import load_settings
from workers.app import configure

broker = broker_for(load_settings())
app = Celery("noting")
configure(app, broker)


@app.task(name="note")
def note(word: str) -> None:
    """Append one line; a single small write is atomic between processes."""
    time.sleep(0.02)  # so long that one of two workers cannot take everything before the other has looked
    with Path(os.environ["NOTES"]).open("a", encoding="utf-8") as file:
        file.write(f"{word} {os.getpid()}\n")


if __name__ == "__main__":
    queues = ",".join(map(broker.queue, QUEUE_KINDS))
    app.worker_main(
        [
            "worker",
            "-Q",
            queues,
            "-c",
            sys.argv[1],
            "-n",
            sys.argv[2],
            "-l",
            "WARNING",
            "--without-gossip",
            "--without-mingle",
        ]
    )
