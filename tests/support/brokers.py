"""Brokers for tests: the embedded one always, Redis and RabbitMQ where their addresses are given."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from kombu import Connection

from scheduler.broker import QUEUE_KINDS, Broker, broker_for, prepare
from scheduler.settings import Settings

URLS: dict[str, str | None] = {
    "embedded": None,
    "redis": os.environ.get("PYTHIA_TEST_REDIS_URL"),
    "amqp": os.environ.get("PYTHIA_TEST_AMQP_URL"),
}
BROKERS = tuple(name for name, url in URLS.items() if url is not None or name == "embedded")


@contextmanager
def broker_settings(name: str, database_url: str) -> Iterator[Settings]:
    """Settings for a broker with queues of their own, which are deleted afterwards."""
    settings = Settings(
        database_url=database_url, broker_url=URLS[name], queue_prefix=f"pythia-test-{secrets.token_hex(4)}"
    )
    broker = broker_for(settings)
    prepare(broker)
    try:
        yield settings
    finally:
        if name != "embedded":  # its tables go with the database
            _delete_queues(broker)


def _delete_queues(broker: Broker) -> None:
    with Connection(broker.url, transport_options=broker.transport_options) as connection:
        channel = connection.default_channel
        if broker.kind == "redis":  # kombu keeps bindings beside the queues and never deletes them
            for key in channel.client.scan_iter(f"*{broker.queue_prefix}*"):
                channel.client.delete(key)
            return
        for queue in map(broker.queue, QUEUE_KINDS):
            channel.queue_delete(queue)
        channel.exchange_delete(broker.queue_prefix)
