"""Who may ask, and how a refusal looks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from scheduler.services.api_keys import make_key
from scheduler.storage.engine import Engine

OTHERS = UUID("00000000-0000-7000-8000-000000000002")


def paths(client: TestClient) -> list[tuple[str, str]]:
    """Every call but those about health."""
    calls = client.get("/openapi.json").json()["paths"]
    return [
        (method.upper(), path.replace("{job_id}", str(OTHERS)).replace("{offer_id}", str(OTHERS)))
        for path, methods in calls.items()
        for method in methods
        if path.rpartition("/")[2] not in ("healthz", "readyz", "metrics")
    ]


@pytest.mark.parametrize("sent", [None, "Bearer wrong", "Bearer", "Basic dXNlcjpwYXNz", "Bearer \xff"])
def test_every_call_asks_for_a_key(client: TestClient, sent: str | None) -> None:
    del client.headers["Authorization"]
    sent_key = {} if sent is None else {b"Authorization": sent.encode("latin-1")}
    headers = {b"Content-Type": b"application/json", **sent_key}
    calls = paths(client)
    assert len(calls) > 10
    for method, path in calls:
        answer = client.request(method, path, headers=headers, content=b"{}")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), (method, path)
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_revoked_key_opens_nothing(client: TestClient, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE api_keys SET revoked_at = now()"))
    assert client.get("/v1/jobs").status_code == 401


def test_another_tenants_job_does_not_exist(client: TestClient, engine: Engine, spec: dict[str, Any]) -> None:
    job_id = client.post("/v1/jobs", json=spec).json()["id"]
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO tenants (id, name) VALUES (:id, 'others')"), {"id": OTHERS})
    client.headers["Authorization"] = f"Bearer {make_key(engine, OTHERS, 'test')}"
    assert client.get("/v1/jobs").json()["items"] == []
    for part in ("", "/decisions", "/attempts", "/events", "/logs", "/logs?follow=true"):
        assert client.get(f"/v1/jobs/{job_id}{part}").status_code == 404, part
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 404


def test_fault_of_the_database_says_nothing_of_the_inside(client: TestClient, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE offers RENAME TO hidden"))
    answer = client.get("/v1/offers")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "offers" not in answer.json()["detail"]
    assert "SELECT" not in answer.text
