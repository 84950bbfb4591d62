"""An API on a real database, with a predictor that always says the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from scheduler.services.api_keys import make_key
from scheduler.services.knowledge import Predictor
from scheduler.storage.engine import Engine, make_engine
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.api import World, small_api
from tests.support.postgres import PostgresServer
from tests.support.predictor import FixedPredictor


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
    key = make_key(engine, DEFAULT_TENANT, "test")
    with TestClient(small_api(engine, predictor, world), raise_server_exceptions=False) as client:
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
