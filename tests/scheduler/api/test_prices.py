"""Price lists, their history and the quarantine over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

HEADER = "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot"
CSV = {"Content-Type": "text/csv"}


def bring(client: TestClient, price: float, **query: str) -> Any:
    content = f"{HEADER}\nh100,north,{price},8,64,1,H100,80,False\n".encode()
    return client.post("/v1/offers:import", content=content, headers=CSV, params=query)


def test_a_gpuhunt_catalogue_is_taken_in_under_its_provider_and_day(client: TestClient) -> None:
    done = bring(client, 2.5, provider="lambdalabs", price_date="2026-08-23").json()
    assert (done["format"], done["stored"], done["quarantined"]) == ("gpuhunt", 1, 0)
    (offer,) = client.get("/v1/offers", params={"provider": "lambdalabs"}).json()["items"]
    assert (offer["gpu_type"], offer["on_demand_usd_per_gpu_hour"], offer["price_date"]) == (
        "H100",
        "2.50",
        "2026-08-23",
    )
    (price,) = client.get(f"/v1/offers/{offer['id']}/prices").json()["items"]
    assert price["import_id"] == done["import_id"]


def test_a_catalogue_without_provider_is_refused_with_what_to_do(client: TestClient) -> None:
    answer = bring(client, 2.5)
    assert (answer.status_code, "--provider" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize("count", ["9999999999", "9" * 23])
def test_a_machine_that_nobody_builds_refuses_the_file(client: TestClient, count: str) -> None:
    content = f"{HEADER}\nh100,north,2.5,8,64,{count},H100,80,False\n".encode()
    query = {"provider": "x", "price_date": "2026-08-23"}
    answer = client.post("/v1/offers:import", content=content, headers=CSV, params=query)
    assert (answer.status_code, "line 2: gpu_count" in answer.json()["detail"]) == (422, True)


def test_a_price_in_quarantine_is_listed_released_once_and_then_gone(client: TestClient) -> None:
    assert bring(client, 0.01, provider="x", price_date="2026-08-23").json()["quarantined"] == 1
    (held,) = client.get("/v1/prices/quarantine").json()["items"]
    assert (held["doubt"], held["on_demand_usd_per_gpu_hour"]) == ("below_band", "0.01")
    assert client.get("/v1/offers", params={"provider": "x"}).json()["items"] == []
    assert held["applied"] is None
    released = client.post(f"/v1/prices/quarantine/{held['id']}:release").json()
    assert (released["state"], released["applied"]) == ("released", True)
    assert len(client.get("/v1/offers", params={"provider": "x"}).json()["items"]) == 1
    assert client.post(f"/v1/prices/quarantine/{held['id']}:drop").status_code == 404
    assert client.get("/v1/prices/quarantine").json()["items"] == []
    assert client.get("/v1/prices/imports").json()["items"][0]["quarantined"] == 1
