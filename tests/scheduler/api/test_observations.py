"""Measurements over HTTP."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from scheduler.api.schemas.observations import EXAMPLE


def test_observation_is_kept_once(client: TestClient) -> None:
    first, again = (client.post("/v1/observations:import", json={"observations": [EXAMPLE]}).json() for _ in range(2))
    assert (first["imported"], first["known"]) == (1, 0)
    assert (again["imported"], again["known"]) == (0, 1)
    (kept,) = client.get("/v1/observations").json()["items"]
    assert (kept["source"], kept["source_id"], kept["body"]) == (EXAMPLE["source"], EXAMPLE["id"], EXAMPLE)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"simulated": True}, "simulated_observation"),
        ({"gpu_type": "Z9"}, "unknown_gpu_type"),
        ({"peak_vram_gib": -1}, "invalid_facts"),
        ({"peak_vram_gib": 500}, "invalid_facts"),
        ({"workload": {"type": "training"}}, "invalid_workload"),
        ({"source": "pythia"}, "unusable_row"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_row_that_cannot_be_used_is_named_and_keeps_no_other_out(
    client: TestClient, change: dict[str, object], code: str
) -> None:
    rows = [EXAMPLE | {"id": "bad"} | change, EXAMPLE]
    done = client.post("/v1/observations:import", json={"observations": rows}).json()
    assert (done["imported"], [(row["index"], row["id"]) for row in done["refused"]]) == (1, [(0, "bad")])
    assert done["refused"][0]["code"] == code


def test_observations_are_found_by_kind_in_pages(client: TestClient) -> None:
    rows = [EXAMPLE | {"id": f"row-{n}"} for n in range(3)]
    client.post("/v1/observations:import", json={"observations": rows})
    page = client.get("/v1/observations", params={"kind": "training", "limit": 2}).json()
    rest = client.get("/v1/observations", params={"kind": "training", "limit": 2, "after": page["next"]}).json()
    assert (len(page["items"]), len(rest["items"])) == (2, 1)
    assert {one["source_id"] for one in page["items"] + rest["items"]} == {"row-0", "row-1", "row-2"}
    assert client.get("/v1/observations", params={"kind": "inference"}).json()["items"] == []
