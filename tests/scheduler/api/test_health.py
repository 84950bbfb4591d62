"""Alive, able to work, and in numbers."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from scheduler.storage.engine import Engine
from tests.support.api import World


@pytest.fixture
def anyone(client: TestClient) -> TestClient:
    """A client without a key."""
    del client.headers["Authorization"]
    return client


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_health_asks_for_no_key(anyone: TestClient, prefix: str) -> None:
    assert anyone.get(f"{prefix}/healthz").json() == {"status": "alive"}
    assert anyone.get(f"{prefix}/readyz").json() == {"ready": True, "database": True, "broker": True}
    assert anyone.get(f"{prefix}/metrics").status_code == 200


def test_without_its_broker_it_is_alive_and_not_ready(anyone: TestClient, world: World) -> None:
    world.broker = False
    assert anyone.get("/v1/healthz").status_code == 200
    answer = anyone.get("/v1/readyz")
    assert (answer.status_code, answer.json()["database"], answer.json()["broker"]) == (503, True, False)


def test_metrics_count_what_there_is(client: TestClient, world: World, spec: dict[str, Any], engine: Engine) -> None:
    client.post("/v1/jobs", json=spec)
    client.post("/v1/jobs", json=spec | {"constraints": {"jurisdictions": ["JP"]}})
    lines = client.get("/metrics").text.splitlines()
    assert 'pythia_jobs{state="placed"} 1' in lines
    assert 'pythia_jobs{state="infeasible"} 1' in lines
    assert 'pythia_jobs{state="failed"} 0' in lines
    assert 'pythia_live_attempts{state="reserved"} 1' in lines
    assert "pythia_capacity_gpus 10" in lines
    assert "pythia_reserved_gpus 1" in lines
    assert "pythia_unsent_doorbells 1" in lines


def test_metrics_are_in_the_form_prometheus_reads(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE")}
    samples = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert {line.partition("{")[0].split()[0] for line in samples} == names
    assert all(float(line.rpartition(" ")[2]) >= 0 for line in samples)
