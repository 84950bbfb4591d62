"""An API on a real database, with a predictor that always says the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from scheduler.api.app import create_app
from scheduler.api.context import ApiContext
from scheduler.services.api_keys import make_key
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import Predictor, know
from scheduler.storage.engine import Engine, make_engine
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.offers import make_offer
from tests.support.postgres import PostgresServer
from tests.support.predictor import FixedPredictor

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


@pytest.fixture
def world() -> World:
    """A quiet day in November."""
    return World()


@pytest.fixture
def engine(embedded_postgres_server: PostgresServer) -> Iterator[Engine]:
    """A fresh database; the server's version says nothing about HTTP."""
    with embedded_postgres_server.migrated_database() as url:
        engine = make_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture
def predictor() -> Predictor:
    """Always says the same; a test may ask for another."""
    return FixedPredictor()


@pytest.fixture
def client(engine: Engine, world: World, predictor: Predictor) -> Iterator[TestClient]:
    """A client with a key, and an inventory of two small offers."""
    put_offers(engine, [
        make_offer("H100-SXM", 3.0, capacity_gpus=8),
        make_offer("L40S", 1.0, capacity_gpus=2, node_gpus=2, sold_gpus=(1, 2), country="US", provider_hq="US"),
    ])  # fmt: skip
    context = ApiContext(
        engine=engine, knowledge=know(predictor), broker_answers=lambda: world.broker, clock=world.clock
    )
    key = make_key(engine, DEFAULT_TENANT, "test")
    with TestClient(create_app(context), raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        yield client


@pytest.fixture
def spec() -> dict[str, Any]:
    """A job that fits everywhere."""
    return {
        "name": "lora",
        "workload": {
            "type": "training", "method": "lora", "model": "meta-llama/Llama-3.1-8B", "num_steps": 100,
        },
        "run": {"command": ["true"]},
    }  # fmt: skip
