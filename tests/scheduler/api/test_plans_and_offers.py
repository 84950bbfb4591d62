"""Plans and the inventory over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from predictor.facts import datasets_dir
from scheduler.cli.plan_table import plan_text
from scheduler.services.seed import PRICES

Spec = dict[str, Any]

OFFER: Spec = {
    "provider": "acme", "region": "south", "country": "IT", "instance_type": "a100-box", "gpu_type": "A100-80GB-SXM",
    "node_gpus": 4, "sold_gpus": [1, 4], "capacity_gpus": 4, "on_demand_usd_per_gpu_hour": "0.50",
    "price_date": "2026-11-01",
}  # fmt: skip


def test_plan_reserves_nothing_and_is_not_kept(client: TestClient, spec: Spec) -> None:
    before = client.get("/v1/offers").json()
    plan = client.post("/v1/plans", json=spec).json()
    assert (plan["kind"], plan["id"], plan["job_id"]) == ("placement", None, None)
    assert client.get("/v1/offers").json() == before
    assert client.get("/v1/jobs").json()["items"] == []


def test_plan_needs_no_command(client: TestClient, spec: Spec) -> None:
    assert client.post("/v1/plans", json={"workload": spec["workload"]}).status_code == 200


def test_plan_says_where_a_crash_would_lead(client: TestClient, spec: Spec) -> None:
    plan = client.post("/v1/plans", json=spec).json()
    assert plan["candidates"][0]["gpu_type"] == "L40S"
    fallback = plan["if_out_of_memory"]
    assert fallback is not None
    assert (fallback["gpu_type"], fallback["gpu_count"]) != ("L40S", 1)
    assert fallback["within_budget"]


def test_plan_of_a_single_attempt_has_nowhere_to_fall_back(client: TestClient, spec: Spec) -> None:
    assert client.post("/v1/plans", json=spec | {"max_attempts": 1}).json()["if_out_of_memory"] is None


def test_fallback_beyond_the_budget_says_so(client: TestClient, spec: Spec) -> None:
    chosen = client.post("/v1/plans", json=spec).json()["candidates"][0]
    tight = spec | {"constraints": {"max_cost_usd": chosen["cost_usd"]["p90"]}}
    assert client.post("/v1/plans", json=tight).json()["if_out_of_memory"]["within_budget"] is False


def test_plan_as_answered_can_be_printed(client: TestClient, spec: Spec) -> None:
    text = plan_text(client.post("/v1/plans", json=spec).json())
    assert "CHOSEN" in text
    assert "Nothing was reserved." in text


def test_rejected_candidates_keep_their_reason(client: TestClient, spec: Spec) -> None:
    plan = client.post("/v1/plans", json=spec | {"constraints": {"jurisdictions": ["EU"]}}).json()
    lost = [candidate for candidate in plan["candidates"] if candidate["gpu_type"] == "L40S"]
    assert {candidate["reason"] for candidate in lost} == {"jurisdiction"}
    assert plan["rejected_by_reason"]["jurisdiction"] == 2


def test_offer_that_is_put_in_wins_a_plan(client: TestClient, spec: Spec) -> None:
    assert client.put("/v1/offers", json=OFFER).json() == {"stored": 1}
    assert client.post("/v1/plans", json=spec).json()["candidates"][0]["gpu_type"] == "A100-80GB-SXM"


def test_offer_put_in_again_is_replaced(client: TestClient) -> None:
    for price in ("0.50", "0.75"):
        client.put("/v1/offers", json=OFFER | {"on_demand_usd_per_gpu_hour": price})
    found = client.get("/v1/offers", params={"provider": "acme", "gpu_type": "A100-80GB-SXM"}).json()["items"]
    assert [one["on_demand_usd_per_gpu_hour"] for one in found] == ["0.75"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"on_demand_usd_per_gpu_hour": "-1"}, "on_demand_usd_per_gpu_hour"),
        ({"on_demand_usd_per_gpu_hour": "5000"}, "on_demand_usd_per_gpu_hour"),
        ({"on_demand_usd_per_gpu_hour": None}, "spot_usd_per_gpu_hour"),
        ({"gpu_type": "A1000"}, "A1000"),
        ({"country": "Italy"}, "country"),
        ({"sold_gpus": [8]}, "sold_gpus"),
        ({"capacity_gpus": -1}, "capacity_gpus"),
        ({"color": 1}, "color"),
        ({"backend": "kubernetes", "max_nodes": 2}, "max_nodes"),
        ({"node_gpus": 1024, "max_nodes": 200}, "node_gpus × max_nodes is 204800"),
        ({"price_date": "2026-11-27"}, "2026-11-27, a day that has not come"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_offer_that_cannot_be_true_is_refused(client: TestClient, change: Spec, said: str) -> None:
    answer = client.put("/v1/offers", json=OFFER | change)
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]


def test_nodes_of_a_slurm_cluster_may_be_offered_by_hand(client: TestClient) -> None:
    nodes = {"provider": "campus", "instance_type": "gpu:a100:4", "backend": "slurm", "max_nodes": 2}
    assert client.put("/v1/offers", json=OFFER | nodes).json() == {"stored": 1}
    (found,) = client.get("/v1/offers", params={"provider": "campus"}).json()["items"]
    assert (found["backend"], found["max_nodes"]) == ("slurm", 2)


def test_disabled_offer_is_listed_and_never_chosen(client: TestClient, spec: Spec) -> None:
    cheap = next(one for one in client.get("/v1/offers").json()["items"] if one["gpu_type"] == "L40S")
    assert client.patch(f"/v1/offers/{cheap['id']}", json={"enabled": False}).json()["enabled"] is False
    assert client.post("/v1/plans", json=spec).json()["candidates"][0]["gpu_type"] == "H100-SXM"
    assert len(client.get("/v1/offers").json()["items"]) == 2


def test_new_price_needs_its_day(client: TestClient) -> None:
    offer_id = client.get("/v1/offers").json()["items"][0]["id"]
    refused = client.patch(f"/v1/offers/{offer_id}", json={"on_demand_usd_per_gpu_hour": "9.99"})
    assert (refused.status_code, "price_date" in refused.json()["detail"]) == (422, True)
    dated = {"on_demand_usd_per_gpu_hour": "9.99", "price_date": "2026-11-20"}
    changed = client.patch(f"/v1/offers/{offer_id}", json=dated).json()
    assert (changed["on_demand_usd_per_gpu_hour"], changed["price_date"]) == ("9.99", "2026-11-20")


def test_new_price_of_a_day_that_has_not_come_is_refused(client: TestClient) -> None:
    offer_id = client.get("/v1/offers").json()["items"][0]["id"]
    refused = client.patch(
        f"/v1/offers/{offer_id}", json={"on_demand_usd_per_gpu_hour": "2", "price_date": "2099-01-01"}
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_offer")


def test_plan_is_made_again_at_the_prices_of_a_day_and_of_a_decision(client: TestClient, spec: Spec) -> None:
    first = client.post("/v1/plans", json=spec).json()
    found = client.get("/v1/offers", params={"gpu_type": "L40S"}).json()["items"][0]
    dearer = {"on_demand_usd_per_gpu_hour": "9", "price_date": "2026-11-20"}
    client.patch(f"/v1/offers/{found['id']}", json=dearer)
    assert client.post("/v1/plans", json=spec).json()["candidates"][0]["gpu_type"] == "H100-SXM"
    for prices_of in ("2026-11-19", str(first["inventory_version"])):
        again = client.post("/v1/plans", params={"prices_of": prices_of}, json=spec).json()
        assert again["candidates"][0] == first["candidates"][0]
    assert again["inventory_version"] == first["inventory_version"]


@pytest.mark.parametrize(
    ("prices_of", "status", "said"),
    [
        ("soon", 422, "'soon' is neither a day such as 2026-08-23 nor a version such as 41"),
        ("2026-02-30", 422, "neither a day"),
        ("", 422, "neither a day"),
        ("2020-01-01", 404, "no prices of 2020-01-01 or before"),
        ("2026-11-27", 404, "no prices of 2026-11-27 yet"),
        ("0", 404, "no prices of version 0 of the inventory"),
        ("9" * 30, 404, "of the inventory"),
    ],
)
def test_prices_that_are_not_known_are_named(
    client: TestClient, spec: Spec, prices_of: str, status: int, said: str
) -> None:
    answer = client.post("/v1/plans", params={"prices_of": prices_of}, json=spec)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]


def test_unknown_offer_and_empty_change_are_refused(client: TestClient) -> None:
    unknown = client.patch("/v1/offers/00000000-0000-7000-8000-000000000009", json={"enabled": True})
    assert unknown.status_code == 404
    offer_id = client.get("/v1/offers").json()["items"][0]["id"]
    assert client.patch(f"/v1/offers/{offer_id}", json={}).status_code == 422


def test_offers_come_in_pages_and_by_bare_gpu_type(client: TestClient) -> None:
    first = client.get("/v1/offers", params={"limit": 1}).json()
    second = client.get("/v1/offers", params={"limit": 1, "after": first["next"]}).json()
    assert {first["items"][0]["gpu_type"], second["items"][0]["gpu_type"]} == {"H100-SXM", "L40S"}
    assert [one["gpu_type"] for one in client.get("/v1/offers", params={"gpu_type": "H100"}).json()["items"]] == [
        "H100-SXM"
    ]
    assert client.get("/v1/offers", params={"gpu_type": "Z9"}).status_code == 422


def test_shipped_price_list_is_imported_whole(client: TestClient) -> None:
    price_list = (datasets_dir() / PRICES).read_bytes()
    answer = client.post("/v1/offers:import", content=price_list, headers={"Content-Type": "text/csv"})
    assert answer.json()["stored"] == len(price_list.splitlines()) - 1


def test_price_list_with_one_bad_line_changes_nothing_and_is_named(client: TestClient) -> None:
    lines = (datasets_dir() / PRICES).read_text().splitlines()[:3]
    broken = "\n".join([*lines, lines[-1].replace(lines[-1].split(",")[6], "Z9000").replace("akash", "other")])
    answer = client.post("/v1/offers:import", content=broken.encode(), headers={"Content-Type": "text/csv"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_offer")
    assert "line 4" in answer.json()["detail"]
    assert len(client.get("/v1/offers").json()["items"]) == 2


def test_price_list_is_text_csv(client: TestClient) -> None:
    assert client.post("/v1/offers:import", json={}).status_code == 415


def test_gpu_types_say_what_the_driver_offers(client: TestClient) -> None:
    found = {one["name"]: one for one in client.get("/v1/gpu-types").json()["items"]}
    assert found["L40S"]["usable_gib"] < found["L40S"]["memory_gb_nominal"]
