"""The Celery app: which queues there are, who listens where, and every setting that is not Celery's default."""

from __future__ import annotations

from celery import Celery
from celery.signals import worker_process_init

from scheduler.broker import HOST_KINDS, Broker
from scheduler.dispatch import QUEUE_OF
from scheduler.embedded.transport import forget_connections

app = Celery("pythia", include=["workers.tasks"])
"""What a task is registered with; `configure` gives it a broker when a worker starts."""


def configure(celery: Celery, broker: Broker, *, host: str | None = None) -> None:
    """Put an app on a broker, with our queues and habits, and with those of a host where it is one that runs jobs."""
    of_host = [] if host is None else [broker.host_queue(kind, host) for kind in HOST_KINDS]
    celery.conf.update(
        **broker.celery_settings(),
        task_queues=[
            *broker.queues(),
            *of_host,
        ],  # a queue per kind of work, so that a worker can be given one kind and no other
        task_routes={task: {"queue": broker.queue(kind)} for task, kind in QUEUE_OF.items()},  # no caller names a queue
        task_default_queue=broker.queue(
            "maintenance"
        ),  # "celery" is every installation's: a shared broker would mix us
        task_create_missing_queues=False,  # a misspelt queue is an error, not a message no one will ever read
        accept_content=["json"],  # whoever can write to the broker must not be able to run code in a worker
        task_ignore_result=True,  # the outcome is in PostgreSQL; a result backend would be a second truth
        task_acks_late=True,  # a doorbell is acknowledged when it was answered; every task may run twice
        task_reject_on_worker_lost=True,  # and rings again if the process that answered it was killed
        worker_prefetch_multiplier=1,  # tasks are short; a prefetched doorbell would wait behind a slow one
        worker_enable_remote_control=False,  # needs broadcast queues, which PostgreSQL has none of, and no one asks
        task_soft_time_limit=240,  # seconds; a task takes a few, so one that takes this long is stuck: interrupt it
        task_time_limit=300,  # and if that does not help, kill its process
        worker_cancel_long_running_tasks_on_connection_loss=True,  # the broker or the sweeper rings again; let it go
    )


@worker_process_init.connect
def _leave_parent_connections(**_: object) -> None:
    """What a forked process inherited belongs to its parent: two processes on one socket mix their answers."""
    forget_connections(close=False)
