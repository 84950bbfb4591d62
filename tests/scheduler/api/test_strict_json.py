"""Bodies are JSON by name, of bounded size, and hold only what PostgreSQL can keep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from scheduler.api.problems import MEDIA_TYPE, install
from scheduler.api.strict_json import MIB, JsonRoute

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """A server that sends back what it was sent."""
    router = APIRouter(route_class=JsonRoute)

    @router.post("/echo")
    def echo(body: dict[str, Any]) -> dict[str, Any]:
        return body

    @router.get("/fault")
    def fault() -> None:
        raise RuntimeError("the secret is 42")

    app = FastAPI()
    install(app)
    app.include_router(router)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        (b'{"a": NaN}', 400, "bad_request", "NaN"),
        (b'{"a": -Infinity}', 400, "bad_request", "Infinity"),
        (b'{"a": 1e400}', 400, "bad_request", "too large"),
        (b'{"a": "x\\u0000y"}', 400, "bad_request", "NUL"),
        (b'{"\\ud800": 1}', 400, "bad_request", "surrogate"),
        (b'{"a": "\xed\xa0\x80"}', 400, "bad_request", "UTF-8"),
        (b'{"a": ' + b"1" * 5000 + b"}", 400, "bad_request", "number"),
        (b"[" * 100_000, 400, "bad_request", "deeply"),
        (b'{"a": 1', 400, "invalid_json", "not JSON"),
        (b"[1]", 422, "invalid_request", "body"),
        (b"", 422, "invalid_request", "missing"),
        (b'{"a": "' + b"x" * MIB + b'"}', 413, "too_large", "larger than 1 MiB"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_body_that_cannot_be_kept_is_a_problem_in_one_sentence(
    client: TestClient, body: bytes, status: int, code: str, said: str
) -> None:
    answer = client.post("/echo", content=body, headers=JSON)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE)
    assert (problem["status"], problem["code"]) == (status, code)
    assert said in problem["detail"]
    assert "\n" not in problem["detail"]


def test_body_of_unknown_length_ends_at_the_limit(client: TestClient) -> None:
    pulled = 0

    def endless() -> Iterator[bytes]:
        nonlocal pulled
        while pulled < 50:
            pulled += 1
            yield b"x" * MIB

    assert client.post("/echo", content=endless(), headers=JSON).status_code == 413


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
def test_body_of_another_kind_is_415(client: TestClient, media: str) -> None:
    answer = client.post("/echo", content=b"{}", headers={"Content-Type": media})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON", "application/ld+json"])
def test_json_under_any_of_its_names_is_read(client: TestClient, media: str) -> None:
    body = {"a": "ü\\u0041", "b": [1.5, None, True]}
    assert client.post("/echo", json=body, headers={"Content-Type": media}).json() == body


def test_nul_in_the_address_is_refused(client: TestClient) -> None:
    assert client.get("/fault?name=%00").status_code == 400
    assert client.get("/fa%00ult").status_code in (400, 404)


def test_unknown_path_and_method_are_problems(client: TestClient) -> None:
    assert client.get("/nowhere").json()["code"] == "not_found"
    answer = client.put("/echo", json={})
    assert (answer.status_code, answer.json()["code"], answer.headers["allow"]) == (405, "method_not_allowed", "POST")


def test_fault_says_nothing_of_the_inside(client: TestClient) -> None:
    answer = client.get("/fault")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "42" not in answer.text
    assert "Traceback" not in answer.text
