"""Plans for other engines over HTTP: among what they can rent, and nothing reserved."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

Spec = dict[str, Any]
OFFER: Spec = {
    "provider": "nebius", "region": "eu-north1", "country": "FI", "instance_type": "h100", "gpu_type": "H100-SXM",
    "node_gpus": 8, "sold_gpus": [1, 8], "capacity_gpus": 8, "on_demand_usd_per_gpu_hour": "2.95",
    "price_date": "2026-11-01",
}  # fmt: skip


@pytest.fixture
def inventory(client: TestClient) -> TestClient:
    """Two offers of a provider that no engine knows, both cheaper, and one of Nebius."""
    assert client.put("/v1/offers", json=OFFER).status_code == 200
    return client


def export(client: TestClient, spec: Spec, kind: str) -> Any:
    return client.post("/v1/plans:export", params={"engine": kind}, json=spec)


@pytest.mark.parametrize("kind", ["dstack", "skypilot"])
def test_a_placement_among_what_the_engine_can_rent(inventory: TestClient, spec: Spec, kind: str) -> None:
    assert inventory.post("/v1/plans", json=spec).json()["candidates"][0]["provider"] != "nebius"
    answer = export(inventory, spec, kind)
    assert answer.status_code == 200, answer.text
    assert answer.json()["engine"] == kind
    file = answer.json()["file"]
    assert "H100-SXM × 1 at nebius eu-north1" in file.splitlines()[0]
    task = yaml.safe_load(file)
    assert (task.get("backends") or [task["resources"].get("infra")])[0].startswith("nebius")
    assert inventory.get("/v1/jobs").json()["items"] == []


def test_without_a_placement_there_is_a_reason_and_no_file(inventory: TestClient, spec: Spec) -> None:
    body = export(inventory, spec | {"constraints": {"jurisdictions": ["US"]}}, "dstack").json()
    assert body["file"] is None
    assert body["reason"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run": None}, "no run.command"),
        ({"constraints": {"providers": ["acme"]}}, "dstack rents nothing from acme"),
    ],
)
def test_what_cannot_be_exported_is_refused(inventory: TestClient, spec: Spec, change: Spec, said: str) -> None:
    answer = export(inventory, spec | change, "dstack")
    assert (answer.status_code, answer.json()["code"]) == (422, "nothing_to_export")
    assert said in answer.json()["detail"]


def test_an_engine_that_nobody_knows_is_refused(inventory: TestClient, spec: Spec) -> None:
    assert export(inventory, spec, "terraform").status_code == 422
    assert inventory.post("/v1/plans:export", json=spec).status_code == 422
