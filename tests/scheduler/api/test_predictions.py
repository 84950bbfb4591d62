"""Forecasts over HTTP: one answer a question, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from predictor.model import load_default_predictor
from scheduler.api.routes.predictions import QUESTION
from scheduler.api.schemas.explanations import EXPLANATION_EXAMPLE
from scheduler.services.api_keys import make_key
from scheduler.storage.engine import Engine
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.api import World, small_api

Question = dict[str, Any]
CUSTOM: Question = {
    "id": "c", "workload": {"type": "custom", "kind": "sort", "features": {"rows": 10}}, "gpu_type": "CPU",
    "layout": {"gpu_count": 1},
}  # fmt: skip


def test_each_question_is_answered_in_its_place(client: TestClient) -> None:
    two = QUESTION | {"id": 7, "layout": {"gpu_count": 2}}
    answers = client.post("/v1/predictions", json=[two, QUESTION]).json()
    assert [(answer["id"], answer["layout"]["gpu_count"]) for answer in answers] == [(7, 2), ("a1", 1)]
    assert set(answers[0]) == {
        "id", "gpu_type", "layout", "peak_vram_gib", "usable_vram_gib", "fit_probability", "vram_breakdown_gib",
        "tokens_per_second", "step_time_s", "runtime_s", "startup_s", "max_batch_size", "basis", "in_domain",
        "assumptions", "model_version",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"gpu_type": "H100"}, "unknown_gpu_type"),
        ({"workload": {"type": "training"}}, "invalid_workload"),
        ({"workload": None}, "invalid_workload"),
        ({"layout": {"gpu_count": 4, "tensor_parallel": 3}}, "invalid_layout"),
        ({"workload": QUESTION["workload"] | {"model": "no/such"}}, "unknown_model"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_question_that_cannot_be_read_spoils_no_other(client: TestClient, change: Question, code: str) -> None:
    bad, good = client.post("/v1/predictions", json=[QUESTION | {"id": "bad"} | change, QUESTION]).json()
    assert (bad["id"], bad["code"]) == ("bad", code)
    assert "\n" not in bad["error"]
    assert good["runtime_s"]["p50"] > 0


def test_what_is_no_question_at_all_is_answered_so(client: TestClient) -> None:
    answers = client.post("/v1/predictions", json=[None, 3, [], "x"]).json()
    assert [answer["code"] for answer in answers] == ["invalid_workload"] * 4


def test_custom_work_is_forecast_from_what_was_seen_here(client: TestClient) -> None:
    (nothing,) = client.post("/v1/predictions", json=[CUSTOM]).json()
    assert nothing["code"] == "not_enough_data"
    seen = CUSTOM | {"id": "run-1", "source": "us", "outcome": "completed", "simulated": False, "runtime_s": 40.0}
    assert client.post("/v1/observations:import", json={"observations": [seen]}).json()["imported"] == 1
    (known,) = client.post("/v1/predictions", json=[CUSTOM]).json()
    assert (known["basis"], known["runtime_s"]["p50"]) == ("history", pytest.approx(40.0))


def test_ignorance_of_one_custom_job_does_not_spoil_its_kind(client: TestClient) -> None:
    stated = CUSTOM | {"workload": CUSTOM["workload"] | {"runtime_s": 9.0}}
    ignorant, known = client.post("/v1/predictions", json=[CUSTOM, stated]).json()
    assert (ignorant["code"], known["basis"]) == ("not_enough_data", "stated")


@pytest.fixture
def shipped(engine: Engine, world: World) -> Iterator[TestClient]:
    """A client of an API with the predictor that ships."""
    key = make_key(engine, DEFAULT_TENANT, "test")
    with TestClient(small_api(engine, load_default_predictor(), world), raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        yield client


def test_a_forecast_says_why_only_where_it_is_asked(shipped: TestClient) -> None:
    plain, why, bad = shipped.post(
        "/v1/predictions", json=[QUESTION, QUESTION | {"explain": True}, {"explain": True}]
    ).json()
    assert "explanation" not in plain
    assert bad["code"] == "invalid_workload"
    explanation = why.pop("explanation")
    assert why == plain
    assert explanation["memory"]["largest"] == "activations"
    assert explanation["time"]["of"] == "step"
    (all_of_them,) = shipped.post("/v1/predictions?explain=true", json=[QUESTION]).json()
    assert all_of_them["explanation"] == explanation
    assert shipped.post("/v1/predictions?explain=perhaps", json=[QUESTION]).status_code == 422


def test_the_documented_explanation_has_the_names_of_a_real_one(shipped: TestClient) -> None:
    (real,) = shipped.post("/v1/predictions?explain=true", json=[QUESTION]).json()
    assert names(real["explanation"]) == names(EXPLANATION_EXAMPLE)


def names(node: object) -> object:
    """A document's keys without its values; of a list the first element speaks for all."""
    if isinstance(node, dict):
        return {key: names(value) for key, value in node.items()}
    if isinstance(node, list):
        return [names(value) for value in node[:1]]
    return None


def test_custom_work_says_where_its_forecast_begins_and_what_corrected_it(shipped: TestClient) -> None:
    seen = CUSTOM | {"id": "run-1", "source": "us", "outcome": "completed", "simulated": False, "runtime_s": 40.0}
    assert shipped.post("/v1/observations:import", json={"observations": [seen]}).json()["imported"] == 1
    stated = CUSTOM | {"workload": CUSTOM["workload"] | {"runtime_s": 9.0}}
    unheard = CUSTOM | {"workload": {"type": "custom", "kind": "unheard"}}
    known, unknown = shipped.post("/v1/predictions?explain=true", json=[stated, unheard]).json()
    assert known["explanation"] == {
        "custom": {
            "kind": "sort", "stated_runtime_s": 9.0, "stated_vram_gib": None, "past_jobs": 1, "trained_on": 0,
            "nearest": [{"id": "run-1", "distance": 0.0, "differs": []}],
        }
    }  # fmt: skip
    assert unknown["code"] == "not_enough_data"


@pytest.mark.parametrize(("count", "status"), [(0, 422), (10_000, 200), (10_001, 422)])
def test_ten_thousand_are_answered_and_no_more(client: TestClient, count: int, status: int) -> None:
    answer = client.post("/v1/predictions", json=[QUESTION] * count)
    assert answer.status_code == status
    assert status != 200 or len(answer.json()) == count
