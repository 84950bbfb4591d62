"""The names of tasks, the queue each belongs to, and how a message leaves for the broker.

A message is a doorbell: it carries ids only, and what to do is read from PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from celery import Celery

from scheduler.broker import Broker, QueueKind

LAUNCH = "pythia.launch"
"""Claim a reserved attempt and start it: {attempt_id}."""
POLL = "pythia.poll"
"""Look at a running attempt: {attempt_id}, or at many: {attempt_ids}, joined by commas."""
SWEEP = "pythia.sweep"
"""Find what was lost, leaked or never claimed: {}."""
RECONCILE = "pythia.reconcile"
"""Compare rented machines with what their providers have: {}."""
PLACE_WAITING = "pythia.place_waiting"
"""Decide again for the jobs that wait: {}."""
NOTIFY = "pythia.notify"
"""Tell a job's webhook that it ended: {job_id}."""
TRAIN = "pythia.train"
"""Train a challenger: {training_id}."""

QUEUE_OF: Mapping[str, QueueKind] = {
    LAUNCH: "dispatch",
    POLL: "poll",
    SWEEP: "maintenance",
    RECONCILE: "maintenance",
    PLACE_WAITING: "maintenance",
    NOTIFY: "maintenance",
    TRAIN: "train",
}

Arguments = Mapping[str, str]


class Dispatcher(Protocol):
    """Whatever carries doorbells."""

    def send(
        self,
        task: str,
        queue: QueueKind,
        arguments: Arguments,
        *,
        host: str | None = None,
        expires_s: float | None = None,
    ) -> None:
        """Publish one message, for the workers of one host where that is named; returning means that the broker has
        it. What nobody has taken after `expires_s` is dropped by whoever does."""
        ...


class CeleryDispatcher:
    """Sends tasks by name through Celery; it knows no task's code."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._app = Celery("pythia-sender", set_as_current=False)
        self._app.conf.update(
            # nothing beats for a connection that only publishes: RabbitMQ would cut it whenever the relay is idle
            **(broker.celery_settings() | {"broker_heartbeat": 0}),
            task_queues=broker.queues(),  # the same as the workers declare, or two declarations would contradict
            task_create_missing_queues=False,  # a misspelt queue is an error, not a message no one will ever read
            task_ignore_result=True,  # nobody asks Celery what became of a task
            task_serializer="json",  # Celery's own, said here because the workers accept nothing else
        )

    def send(
        self,
        task: str,
        queue: QueueKind,
        arguments: Arguments,
        *,
        host: str | None = None,
        expires_s: float | None = None,
    ) -> None:
        """Publish one message, or raise what the broker's client raised."""
        where = self._broker.queue(queue) if host is None else self._broker.host_queue(queue, host)
        self._app.send_task(task, kwargs=dict(arguments), queue=where, expires=expires_s)

    def close(self) -> None:
        """Let the broker connections go."""
        self._app.close()
