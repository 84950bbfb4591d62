"""An API around a database and a predictor, in the process or behind a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import uvicorn
from fastapi import FastAPI

from scheduler.api.app import create_app
from scheduler.api.context import ApiContext
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import Predictor, know
from scheduler.storage.engine import Engine
from tests.support.offers import make_offer

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@dataclass(slots=True)
class World:
    """What the API sees of the world, for a test to change."""

    now: datetime = NOW
    broker: bool = True

    def clock(self) -> datetime:
        """The time, as the test set it."""
        return self.now

    def later(self, **passed: float) -> None:
        """Let time pass."""
        self.now += timedelta(**passed)


def small_api(engine: Engine, predictor: Predictor, world: World) -> FastAPI:
    """An API with an inventory of two small offers: eight H100 in Finland, two L40S in the United States."""
    put_offers(engine, [
        make_offer("H100-SXM", 3.0, capacity_gpus=8),
        make_offer("L40S", 1.0, capacity_gpus=2, node_gpus=2, sold_gpus=(1, 2), country="US", provider_hq="US"),
    ])  # fmt: skip
    return create_app(
        ApiContext(engine=engine, knowledge=know(predictor), broker_answers=lambda: world.broker, clock=world.clock)
    )


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The same API behind a socket of this machine; its address."""
    config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1)
    live = uvicorn.Server(config)
    thread = threading.Thread(target=live.run, daemon=True)
    thread.start()
    while not live.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{live.servers[0].sockets[0].getsockname()[1]}"
    live.should_exit = True
    thread.join(10)
