"""The description of the API is complete, and what it shows works."""

from __future__ import annotations

import re
from typing import Any

from fastapi.testclient import TestClient


def references(node: object) -> set[str]:
    """Every `$ref` below a node."""
    if isinstance(node, dict):
        here = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return here.union(*(references(value) for value in node.values()), set())
    if isinstance(node, list):
        return set().union(*(references(value) for value in node), set())
    return set()


def operations(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_reference_leads_somewhere(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    for reference in references(schema):
        node: Any = schema
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def test_every_call_has_a_summary_a_description_and_its_problems(client: TestClient) -> None:
    for name, operation in operations(client.get("/openapi.json").json()):
        assert operation.get("summary"), name
        assert operation.get("description"), name
        if not re.search(r"healthz|readyz|metrics", name):
            assert operation["security"], name
            assert "application/problem+json" in operation["responses"]["401"]["content"], name
            assert "application/problem+json" in operation["responses"]["422"]["content"], name


def test_form_of_error_that_is_never_sent_is_not_described(client: TestClient) -> None:
    assert "HTTPValidationError" not in client.get("/openapi.json").text


def test_calls_of_the_contract_are_there(client: TestClient) -> None:
    calls = {name for name, _ in operations(client.get("/openapi.json").json())}
    assert calls >= {
        "POST /v1/plans", "POST /v1/jobs", "POST /v1/jobs:batch", "GET /v1/jobs", "GET /v1/jobs/{job_id}",
        "DELETE /v1/jobs/{job_id}", "GET /v1/jobs/{job_id}/decisions", "GET /v1/jobs/{job_id}/attempts",
        "GET /v1/jobs/{job_id}/events", "GET /v1/jobs/{job_id}/logs", "GET /v1/offers", "PUT /v1/offers",
        "PATCH /v1/offers/{offer_id}", "GET /v1/gpu-types", "POST /v1/offers:import", "POST /v1/observations:import",
        "GET /v1/observations", "GET /v1/healthz", "GET /v1/readyz", "GET /v1/metrics", "GET /v1/pools",
        "GET /v1/billing", "GET /v1/logs",
    }  # fmt: skip


def test_examples_of_a_job_spec_are_taken(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    examples = schema["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == {"training", "inference", "custom"}
    for example in examples.values():
        assert client.post("/v1/jobs", json=example["value"]).status_code == 201, example["summary"]


def test_answers_have_the_fields_that_are_described(client: TestClient, spec: dict[str, Any]) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    job = client.post("/v1/jobs", json=spec).json()
    for name, body in {
        "SubmittedOut": job,
        "DecisionOut": job["decision"],
        "CandidateOut": job["decision"]["candidates"][0],
        "AttemptOut": client.get(f"/v1/jobs/{job['id']}/attempts").json()["items"][0],
        "EventOut": client.get(f"/v1/jobs/{job['id']}/events").json()["items"][0],
        "OfferOut": client.get("/v1/offers").json()["items"][0],
    }.items():
        assert set(body) == set(schemas[name]["properties"]) == set(schemas[name]["required"]), name
