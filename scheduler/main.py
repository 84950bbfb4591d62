"""Where everything is wired: `python -m scheduler.main api` and `python -m scheduler.main relay`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI
from kombu import Connection

from predictor.errors import PythiaError
from scheduler.api.app import create_app
from scheduler.api.context import ApiContext
from scheduler.broker import Broker, broker_for
from scheduler.clock import CommonClock
from scheduler.dispatch import CeleryDispatcher
from scheduler.heap import settle
from scheduler.logs import configure_logs
from scheduler.services import relay
from scheduler.services.champion import champion_predictor
from scheduler.services.knowledge import know
from scheduler.services.vault import Vault
from scheduler.settings import Settings, load_settings
from scheduler.storage.engine import make_engine

_API_CONNECTIONS, _API_OVERFLOW = 5, 3
"""Requests hold one for milliseconds, and wait for each other before they wait for PostgreSQL: four API processes and
four workers stay under 60 connections (`make bench-dispatch`)."""
_BROKER_PATIENCE_S = 2.0
_LAST_ANSWERS_S = 3
"""Whoever follows a job's logs keeps a connection open for ever; asked to stop, the API waits for them this long."""


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


def make_app(settings: Settings) -> FastAPI:
    """The API of an installation."""
    engine = make_engine(settings.require_database_url(), pool_size=_API_CONNECTIONS, overflow=_API_OVERFLOW)
    knowledge = know(champion_predictor(engine, settings), settings)
    return create_app(
        ApiContext(
            engine=engine, knowledge=knowledge, broker_answers=lambda: broker_answers(broker_for(settings)),
            clock=utc_now, vault=Vault(settings.secrets_key_path),
        )
    )  # fmt: skip


def broker_answers(broker: Broker) -> bool:
    """Whether a doorbell could be sent now."""
    options = broker.transport_options
    try:
        with Connection(broker.url, transport_options=options, connect_timeout=_BROKER_PATIENCE_S) as connection:
            connection.ensure_connection(max_retries=1, timeout=_BROKER_PATIENCE_S)
            connection.default_channel  # noqa: B018 - opening a channel is the first thing that needs an answer
    except Exception:  # whatever the broker's client raises, it does not answer
        return False
    return True


def run_api(settings: Settings) -> None:
    """Serve HTTP until told to stop."""
    app = make_app(settings)
    settle()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        http="httptools",  # h11, in Python, takes a tenth of what deciding about a job takes
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )


def run_relay(settings: Settings) -> None:
    """Carry doorbells until told to stop."""
    engine = make_engine(settings.require_database_url(), pool_size=1)
    dispatcher = CeleryDispatcher(broker_for(settings))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    carrier = relay.Relay(
        engine=engine,
        dispatcher=dispatcher,
        batch=settings.relay_batch,
        placer_interval_s=settings.placer_interval_s,
        sweep_interval_s=settings.sweep_interval_s,
        reconcile_interval_s=settings.reconcile_interval_s,
        retrain_interval_s=settings.retrain_interval_s,
    )
    relay.run(carrier, interval_s=settings.relay_interval_s, clock=CommonClock(engine, utc_now), rest=stopping.wait)
    dispatcher.close()
    engine.dispose()


_SERVICES: dict[str, Callable[[Settings], None]] = {"api": run_api, "relay": run_relay}


def main(arguments: list[str] | None = None) -> int:
    """Run one service; a bad setting is one sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m scheduler.main", description="Run one service of Pythia.")
    parser.add_argument("service", choices=sorted(_SERVICES))
    service = parser.parse_args(arguments).service
    try:
        settings = load_settings()
        configure_logs(settings.log_format)
        _SERVICES[service](settings)
    except PythiaError as error:
        print(f"pythia: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
