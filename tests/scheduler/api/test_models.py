"""The predictor's versions over HTTP."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from scheduler.storage import models
from scheduler.storage.engine import Engine, transaction
from tests.support.api import NOW


@pytest.fixture
def challengers(client: TestClient, engine: Engine) -> str:
    """Two versions: one beat the shipped one, one did not. The shipped version's name."""
    shipped = str(client.get("/v1/models").json()["shipped"]["version"])
    with transaction(engine) as session:
        for age, (version, better) in enumerate((("good", True), ("bad", False))):
            models.add(
                session, version=version, bundle=b"", rows=10, metrics={},
                comparison={"champion": shipped, "better": better, "verdict": f"{version} was compared"},
                now=NOW + timedelta(minutes=age),
            )  # fmt: skip
    return shipped


def test_shipped_version_answers_until_another_is_promoted(client: TestClient, challengers: str) -> None:
    found = client.get("/v1/models").json()
    assert (found["in_use"], [one["version"] for one in found["items"]]) == (challengers, ["bad", "good"])
    assert client.post("/v1/models/good:promote").json()["champion"] is True
    assert client.get("/v1/models").json()["in_use"] == "good"


def test_version_that_is_not_better_is_refused_with_the_verdict(client: TestClient, challengers: str) -> None:
    answer = client.post("/v1/models/bad:promote")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_better")
    assert answer.json()["detail"] == "bad was compared"
    assert client.get("/v1/models").json()["in_use"] == challengers


def test_unknown_version_is_a_404(client: TestClient) -> None:
    assert client.post("/v1/models/none:promote").status_code == 404


def test_training_is_asked_for_and_never_done_here(client: TestClient) -> None:
    first, second = client.post("/v1/models:train"), client.post("/v1/models:train")
    assert (first.status_code, first.json()["state"]) == (202, "queued")
    assert second.json()["id"] == first.json()["id"]
    assert client.get(f"/v1/models/trainings/{first.json()['id']}").json() == first.json()
    assert client.get("/v1/models").json()["trainings"] == [first.json()]
    assert client.get(f"/v1/models/trainings/{uuid4()}").status_code == 404


def test_rolling_back_ends_at_the_shipped_version(client: TestClient, challengers: str) -> None:
    client.post("/v1/models/good:promote")
    assert client.post("/v1/models:rollback").json() == {"in_use": challengers}
    assert client.post("/v1/models:rollback").status_code == 409


def test_drift_of_an_installation_without_real_jobs_is_empty(client: TestClient) -> None:
    assert client.get("/v1/models/drift").json() == {"alarms": [], "slices": []}
