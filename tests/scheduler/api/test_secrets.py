"""Secrets over HTTP: a value goes in and never comes out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from scheduler.services.api_keys import make_key
from scheduler.services.tenants import add_tenant
from scheduler.services.vault import Vault, new_key
from scheduler.storage.engine import Engine

VALUE = "correct horse battery staple"


@pytest.fixture
def client(client: TestClient, tmp_path: Path) -> TestClient:
    """An installation that has a key for secrets."""
    new_key(tmp_path / "keys")
    state = cast(FastAPI, client.app).state
    state.context = dataclasses.replace(state.context, vault=Vault(tmp_path / "keys"))
    return client


def test_a_secret_is_stored_listed_and_deleted_and_its_value_is_never_shown(client: TestClient) -> None:
    path = "/v1/secrets/hf-token"
    answers = [client.put(path, json={"value": VALUE}), client.get(path), client.get("/v1/secrets")]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[2].json()["items"] == [answers[1].json()]
    assert set(answers[1].json()) == {"name", "created_at", "updated_at"}
    assert not any(VALUE in answer.text for answer in answers)
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == client.delete(path).status_code == 404


def test_names_come_in_pages(client: TestClient) -> None:
    for name in ("c", "a", "b"):
        client.put(f"/v1/secrets/{name}", json={"value": VALUE})
    first = client.get("/v1/secrets", params={"limit": 2}).json()
    rest = client.get("/v1/secrets", params={"limit": 2, "after": first["next"]}).json()
    assert [[one["name"] for one in page["items"]] for page in (first, rest)] == [["a", "b"], ["c"]]


def test_nobody_sees_or_uses_another_tenants(client: TestClient, engine: Engine, spec: dict[str, Any]) -> None:
    client.put("/v1/secrets/hf", json={"value": VALUE})
    key = make_key(engine, add_tenant(engine, "other").id, "k")
    theirs = {"Authorization": f"Bearer {key}"}
    assert client.get("/v1/secrets", headers=theirs).json()["items"] == []
    assert client.get("/v1/secrets/hf", headers=theirs).status_code == 404
    assert client.delete("/v1/secrets/hf", headers=theirs).status_code == 404
    spec["run"]["secrets"] = {"TOKEN": "hf"}
    refused = client.post("/v1/jobs", json=spec, headers=theirs)
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_secret")
    assert client.post("/v1/jobs", json=spec).status_code == 201


@pytest.mark.parametrize(
    "body", [{"value": [VALUE]}, {"value": VALUE + "x" * 40_000}, {"value": ""}, {"value": 12345}, {}, {"val": VALUE}]
)
def test_refusal_does_not_repeat_what_was_sent(client: TestClient, body: dict[str, Any]) -> None:
    refused = client.put("/v1/secrets/hf", json=body)
    assert refused.status_code == 422
    assert "horse" not in refused.text
    assert "12345" not in refused.text


@pytest.mark.parametrize("name", ["-x", "a b", "é", "x" * 101, "a%2Fb"])
def test_name_that_no_variable_could_have_is_refused(client: TestClient, name: str) -> None:
    assert client.put(f"/v1/secrets/{name}", json={"value": VALUE}).status_code in (404, 422)


def test_installation_without_a_key_says_so(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "keys").unlink()
    refused = client.put("/v1/secrets/hf", json={"value": VALUE})
    assert (refused.status_code, refused.json()["code"]) == (503, "secrets_unavailable")
    assert "pythia db secrets-key" in refused.json()["detail"]
