"""Jobs over HTTP: submitted, listed, read, cancelled."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from scheduler.api.schemas.decisions import CandidateOut, DecisionOut
from scheduler.api.schemas.jobs import SubmittedOut

Spec = dict[str, Any]


def test_submitting_answers_201_with_the_placement_and_where_it_lives(client: TestClient, spec: Spec) -> None:
    answer = client.post("/v1/jobs", json=spec)
    job = answer.json()
    assert (answer.status_code, job["state"], job["decision"]["kind"]) == (201, "placed", "placement")
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    chosen = job["decision"]["candidates"][0]
    assert (chosen["gpu_type"], chosen["verdict"], chosen["usd_per_hour"]) == ("L40S", "chosen", "1.00")
    assert client.get(answer.headers["location"]).json()["spec"] == spec


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"constraints": {"jurisdictions": ["JP"]}},
        {"constraints": {"spot": "allow"}, "labels": {"team": "a"}, "priority": 3},
        {"workload": {"type": "custom", "kind": "resnet", "runtime_s": 60.0}},
    ],
)
def test_answer_to_a_submission_is_what_its_schema_would_write(client: TestClient, spec: Spec, change: Spec) -> None:
    for _ in range(2):  # the second time what was written for the first
        answer = client.post("/v1/jobs", json=spec | change)
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(SubmittedOut.model_validate_json(answer.content).model_dump_json()) == answer.json()
        assert list(answer.json()["decision"]) == list(DecisionOut.model_fields)
        job, decision = answer.json(), client.get(f"/v1/jobs/{answer.json()['id']}/decisions").json()["items"][0]
        assert job["decision"] == decision
        assert job["decision"]["candidates"] == [] or set(job["decision"]["candidates"][0]) == set(
            CandidateOut.model_fields
        )


def test_job_that_fits_nowhere_is_taken_and_infeasible(client: TestClient, spec: Spec) -> None:
    answer = client.post("/v1/jobs", json=spec | {"constraints": {"jurisdictions": ["JP"]}})
    assert (answer.status_code, answer.json()["state"]) == (201, "infeasible")
    assert answer.json()["decision"]["kind"] == "refusal"


def test_job_without_free_capacity_waits(client: TestClient, spec: Spec) -> None:
    whole = spec | {"constraints": {"gpu_types": ["H100-SXM"], "gpu_count": 8}}
    assert client.post("/v1/jobs", json=whole).json()["state"] == "placed"
    waiting = client.post("/v1/jobs", json=whole)
    assert (waiting.status_code, waiting.json()["state"]) == (201, "queued")
    assert waiting.json()["decision"]["kind"] == "wait"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"workload": {"type": "cooking"}}, "training, inference or custom"),
        ({"workload": {"type": "training", "model": "meta-llama/Llama-3.1-8B"}}, "exactly one of num_steps"),
        ({"workload": {"type": "training", "model": "no/such", "num_steps": 1}}, "no/such"),
        ({"workload": {"type": "custom", "kind": "never-seen"}}, "never-seen"),
        ({"run": {"command": []}}, "run.command"),
        ({"run": None}, "run is missing"),
        ({"constraints": {"gpu_types": ["H1000"]}}, "H1000"),
        ({"constraints": {"layout": {"gpu_count": 4, "tensor_parallel": 3}}}, "layout"),
        ({"priority": 101}, "priority"),
        ({"colour": "blue"}, "colour"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_spec_that_cannot_be_read_is_a_422_in_one_sentence(
    client: TestClient, spec: Spec, change: Spec, said: str
) -> None:
    answer = client.post("/v1/jobs", json=spec | change)
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]
    assert client.get("/v1/jobs").json()["items"] == []


def test_same_key_submits_the_same_job_once(client: TestClient, spec: Spec) -> None:
    key = {"Idempotency-Key": "nightly-1"}
    first, again = (client.post("/v1/jobs", json=spec, headers=key) for _ in range(2))
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert len(client.get("/v1/jobs").json()["items"]) == 1


def test_same_key_for_another_job_is_a_conflict(client: TestClient, spec: Spec) -> None:
    key = {"Idempotency-Key": "nightly-1"}
    client.post("/v1/jobs", json=spec, headers=key)
    answer = client.post("/v1/jobs", json=spec | {"priority": 1}, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")


def test_batch_takes_what_can_be_read_and_names_the_rest(client: TestClient, spec: Spec) -> None:
    answer = client.post("/v1/jobs:batch", json=[spec, {"workload": {"type": "custom"}}, spec])
    body = answer.json()
    assert (answer.status_code, body["accepted"], body["refused"]) == (201, 2, 1)
    assert [item["status"] for item in body["items"]] == [201, 422, 201]
    assert body["items"][1]["problem"]["code"] == "invalid_spec"
    assert [one["verdict"] for one in body["items"][0]["job"]["decision"]["candidates"]] == ["chosen"]
    assert len(client.get("/v1/jobs").json()["items"]) == 2


def test_batch_sent_again_under_its_key_takes_nothing_twice(client: TestClient, spec: Spec) -> None:
    for _ in range(2):
        client.post("/v1/jobs:batch", json=[spec, spec], headers={"Idempotency-Key": "b1"})
    assert len(client.get("/v1/jobs").json()["items"]) == 2


@pytest.mark.parametrize("count", [0, 1001])
def test_batch_of_no_or_too_many_specs_is_refused(client: TestClient, spec: Spec, count: int) -> None:
    assert client.post("/v1/jobs:batch", json=[spec] * count).status_code == 422


def test_pages_hold_every_job_once_newest_first(client: TestClient, spec: Spec) -> None:
    made = [client.post("/v1/jobs", json=spec | {"name": f"job-{n}"}).json()["name"] for n in range(5)]
    seen: list[str] = []
    after = None
    while True:
        page = client.get("/v1/jobs", params={"limit": 2} | ({"after": after} if after else {})).json()
        seen += [job["name"] for job in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == made[::-1]


def test_jobs_are_found_by_state_label_and_name(client: TestClient, spec: Spec) -> None:
    client.post("/v1/jobs", json=spec | {"name": "a", "labels": {"team": "x", "env": "dev"}})
    client.post("/v1/jobs", json=spec | {"name": "b", "labels": {"team": "y"}})
    refused = spec | {"name": "c", "constraints": {"jurisdictions": ["JP"]}}
    client.post("/v1/jobs", json=refused)

    def names(**query: Any) -> list[str]:
        return [job["name"] for job in client.get("/v1/jobs", params=query).json()["items"]]

    assert names(label="team=x") == ["a"]
    assert names(label=["team=x", "env=prod"]) == []
    assert names(state="infeasible") == ["c"]
    assert names(state=["infeasible", "placed"]) == ["c", "b", "a"]
    assert names(name="b") == ["b"]


def test_malformed_filters_are_refused_by_name(client: TestClient) -> None:
    assert "state" in client.get("/v1/jobs", params={"state": "sleeping"}).json()["detail"]
    assert "label" in client.get("/v1/jobs", params={"label": "team"}).json()["detail"]
    assert "limit" in client.get("/v1/jobs", params={"limit": 0}).json()["detail"]
    assert "after" in client.get("/v1/jobs", params={"after": "yesterday"}).json()["detail"]


def test_cancelled_job_says_so_and_stays_so(client: TestClient, spec: Spec) -> None:
    job_id = client.post("/v1/jobs", json=spec).json()["id"]
    for _ in range(2):
        assert client.delete(f"/v1/jobs/{job_id}").json()["state"] == "cancelled"


@pytest.mark.parametrize("part", ["", "/decisions", "/attempts", "/events", "/logs", "/logs?follow=true"])
def test_job_that_is_not_there_is_a_404(client: TestClient, part: str) -> None:
    answer = client.get(f"/v1/jobs/{uuid4()}{part}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_story_of_a_job_is_told_by_its_parts(client: TestClient, spec: Spec) -> None:
    job_id = client.post("/v1/jobs", json=spec).json()["id"]
    decisions = client.get(f"/v1/jobs/{job_id}/decisions").json()["items"]
    attempts = client.get(f"/v1/jobs/{job_id}/attempts").json()["items"]
    events = client.get(f"/v1/jobs/{job_id}/events").json()["items"]
    assert [decision["number"] for decision in decisions] == [1]
    assert attempts[0]["gpu_type"] == decisions[0]["candidates"][0]["gpu_type"]
    assert [event["to_state"] for event in events] == ["queued", "placed"]
