"""Which broker carries the messages, and how to reach it: for the relay that sends and the workers that receive.

Without PYTHIA_BROKER_URL the messages are rows in a schema of their own in the installation's PostgreSQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from kombu import Connection, Exchange, Queue
from kombu.exceptions import KombuError
from kombu.transport import TRANSPORT_ALIASES

from predictor.errors import PythiaError
from scheduler.settings import Settings

QueueKind = Literal["dispatch", "poll", "maintenance", "train"]
QUEUE_KINDS: tuple[QueueKind, ...] = ("dispatch", "poll", "maintenance", "train")
HOST_KINDS: tuple[QueueKind, ...] = ("dispatch", "poll", "maintenance")
"""What a host that runs jobs itself has queues of its own for."""

SCHEMA = "kombu"
"""Where the embedded broker's tables live; migrations never look there."""

_EMBEDDED_SCHEME = "pythia"
# kombu finds the transport of a `scheme+url` by its scheme alone
TRANSPORT_ALIASES[_EMBEDDED_SCHEME] = "scheduler.embedded.transport:Transport"


class BrokerUnreachable(PythiaError):
    """No broker answers at the configured address."""

    code = "broker_unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A broker as kombu and Celery want it described."""

    kind: Literal["embedded", "redis", "amqp"]
    url: str = field(repr=False)
    """May hold a password: never logged."""
    queue_prefix: str
    transport_options: dict[str, Any]

    def queue(self, kind: QueueKind, host: str | None = None) -> str:
        """The queue's name on this broker; what only one host can do has a queue that only its workers listen to."""
        return f"{self.queue_prefix}.{kind}" if host is None else f"{self.queue_prefix}.{kind}.at.{host}"

    def host_queue(self, kind: QueueKind, host: str) -> Queue:
        """The queue of one host, as kombu declares it: by whoever sends to it or listens first."""
        name = self.queue(kind, host)
        return Queue(name, Exchange(self.queue_prefix, type="direct"), routing_key=name)

    def queues(self) -> list[Queue]:
        """Every queue, as kombu declares it."""
        exchange = Exchange(self.queue_prefix, type="direct")
        return [Queue(name, exchange, routing_key=name) for name in map(self.queue, QUEUE_KINDS)]

    def celery_settings(self) -> dict[str, Any]:
        """Celery's settings for reaching this broker, the same for senders and receivers."""
        return {
            "broker_url": self.url,
            "broker_transport_options": self.transport_options,  # see below, one by one
            "broker_connection_timeout": 4.0,  # seconds; Celery's own, which the relay rests on
            "broker_connection_retry_on_startup": True,  # a broker that starts after us is no error
            "broker_connection_max_retries": None,  # for ever: PostgreSQL keeps what is to be sent meanwhile
            "broker_heartbeat": 30,  # seconds; RabbitMQ only. 120 leaves a dead peer unnoticed for four minutes
            # A connection that the broker or a proxy cut while it idled is only found out by sending: again, at once,
            # on a new one. A broker that is really gone is an error after two tries.
            "task_publish_retry": True,
            "task_publish_retry_policy": dict(_GIVE_UP_SOON),
        }


def broker_for(settings: Settings) -> Broker:
    """The broker of an installation."""
    url = settings.broker_url
    if url is None:
        return Broker(
            kind="embedded",
            url=f"{_EMBEDDED_SCHEME}+{settings.require_database_url()}",
            queue_prefix=settings.queue_prefix,
            transport_options=_EMBEDDED_OPTIONS,
        )
    if url.startswith("redis"):
        return Broker(kind="redis", url=url, queue_prefix=settings.queue_prefix, transport_options=_REDIS_OPTIONS)
    return Broker(kind="amqp", url=url, queue_prefix=settings.queue_prefix, transport_options=_AMQP_OPTIONS)


def prepare(broker: Broker) -> None:
    """Make the queues, so that a message sent before the first worker listens is kept; or BrokerUnreachable."""
    with Connection(broker.url, transport_options=broker.transport_options, connect_timeout=4) as connection:
        try:
            for queue in broker.queues():
                queue(connection.default_channel).declare()
        except (OSError, KombuError, *connection.connection_errors, *connection.channel_errors) as error:
            raise BrokerUnreachable(f"no broker answers at {connection.as_uri()}: {error}") from error
    if broker.kind == "embedded":
        from scheduler.embedded.transport import forget_connections  # noqa: PLC0415  (it imports this module)

        forget_connections(close=True)


# What kombu does when it must connect in order to send: it would try for ever, and hold up the relay's shutdown.
_GIVE_UP_SOON: dict[str, Any] = {"max_retries": 2, "interval_start": 0.0, "interval_step": 0.2, "interval_max": 0.5}

# All but these reach sqlalchemy.create_engine.
_EMBEDDED_OPTIONS: dict[str, Any] = _GIVE_UP_SOON | {
    "connect_args": {"options": f"-csearch_path={SCHEMA}"},
    "isolation_level": "AUTOCOMMIT",  # each operation is one statement; BEGIN and COMMIT would triple the round trips
    "pool_size": 1,
    "max_overflow": 4,
}

_REDIS_OPTIONS: dict[str, Any] = _GIVE_UP_SOON | {
    # A message taken and not acknowledged is delivered again after this long. Tasks take seconds; the default
    # of an hour would keep a doorbell of a killed worker silent until the sweeper rings it.
    "visibility_timeout": 120,
    "socket_connect_timeout": 4,
    "socket_keepalive": True,
    "health_check_interval": 10,
}

_AMQP_OPTIONS: dict[str, Any] = _GIVE_UP_SOON | {
    "confirm_publish": True,  # without it a publish into a dying connection reports success
}
