"""Forecasts over HTTP: one answer a question, in order."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from scheduler.api.routes.predictions import QUESTION

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


@pytest.mark.parametrize(("count", "status"), [(0, 422), (10_000, 200), (10_001, 422)])
def test_ten_thousand_are_answered_and_no_more(client: TestClient, count: int, status: int) -> None:
    answer = client.post("/v1/predictions", json=[QUESTION] * count)
    assert answer.status_code == status
    assert status != 200 or len(answer.json()) == count
