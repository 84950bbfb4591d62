"""Tenants over HTTP: made, limited, given keys; and a waiting job's place in the queue."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

Spec = dict[str, Any]


def test_a_tenant_with_a_key_and_a_quota_waits_for_its_quota(client: TestClient, spec: Spec) -> None:
    made = client.post("/v1/tenants", json={"name": "ours", "max_gpus": 1, "max_usd_per_month": "100"})
    assert (made.status_code, made.json()["max_gpus"], made.json()["max_usd_per_month"]) == (201, 1, "100.00")
    key = client.post("/v1/tenants/ours/keys", json={}).json()["key"]
    theirs = {"Authorization": f"Bearer {key}"}
    first = client.post("/v1/jobs", json=spec, headers=theirs).json()
    second = client.post("/v1/jobs", json=spec, headers=theirs).json()
    assert (first["state"], second["state"]) == ("placed", "queued")
    assert "quota" in second["reason"]
    place = client.get(f"/v1/jobs/{second['id']}", headers=theirs).json()["queue"]
    assert (place["position"], place["waiting"], place["starts_at_p50"]) == (1, 1, None)
    assert client.get(f"/v1/jobs/{first['id']}", headers=theirs).json()["queue"] is None
    assert client.get(f"/v1/jobs/{second['id']}").status_code == 404
    (use,) = [one for one in client.get("/v1/tenants").json()["items"] if one["name"] == "ours"]
    assert (use["gpus"], float(use["usd_this_month"]) > 0) == (1, True)


def test_a_quota_is_changed_and_lifted_and_the_rest_stays(client: TestClient) -> None:
    client.post("/v1/tenants", json={"name": "ours", "share": 2, "max_gpus": 1})
    assert client.patch("/v1/tenants/ours", json={"max_gpus": None}).json()["max_gpus"] is None
    changed = client.patch("/v1/tenants/ours", json={"max_usd_per_month": "5"}).json()
    assert (changed["share"], changed["max_usd_per_month"]) == (2, "5.00")


def test_sharing_of_cards_is_off_until_it_is_switched_on(client: TestClient) -> None:
    assert client.post("/v1/tenants", json={"name": "ours"}).json()["share_cards"] is False
    assert client.patch("/v1/tenants/ours", json={"share_cards": True}).json()["share_cards"] is True
    (listed,) = [one for one in client.get("/v1/tenants").json()["items"] if one["name"] == "ours"]
    assert listed["share_cards"] is True


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/tenants", {"name": "default"}, 409),
        ("POST", "/v1/tenants", {"name": "with space"}, 422),
        ("POST", "/v1/tenants", {"name": "x", "max_gpus": -1}, 422),
        ("POST", "/v1/tenants", {"name": "x", "share": 0}, 422),
        ("PATCH", "/v1/tenants/nobody", {"max_gpus": 1}, 404),
        ("PATCH", "/v1/tenants/default", {}, 422),
        ("PATCH", "/v1/tenants/default", {"share_cards": "perhaps"}, 422),
        ("POST", "/v1/tenants/nobody/keys", {}, 404),
    ],
)
def test_what_cannot_be_is_refused(client: TestClient, method: str, path: str, body: Spec, status: int) -> None:
    assert client.request(method, path, json=body).status_code == status
