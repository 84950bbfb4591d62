"""What a job printed, in pages and as a stream that ends with the job."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import QueuePool

from scheduler.cli.client import Client, SentEvent
from scheduler.domain.attempt import AttemptResult, LogChunk
from scheduler.domain.states import Outcome
from scheduler.services import attempts
from scheduler.services.api_keys import make_key
from scheduler.services.knowledge import know
from scheduler.services.log_search import forget_logs
from scheduler.services.place_waiting import place_waiting
from scheduler.services.tenants import add_tenant
from scheduler.storage.engine import Engine
from tests.support.api import World, served
from tests.support.predictor import FixedPredictor


class Run:
    """A job's attempt in the hands of a worker that prints."""

    def __init__(self, client: TestClient, engine: Engine, world: World, spec: dict[str, Any]) -> None:
        self.job_id = client.post("/v1/jobs", json=spec).json()["id"]
        self.engine, self.world = engine, world
        self.takes_the_next_attempt(client)

    def takes_the_next_attempt(self, client: TestClient) -> None:
        """The last of its attempts is brought to running."""
        self.offset = 0
        engine, now = self.engine, self.world.now
        self.attempt_id = UUID(client.get(f"/v1/jobs/{self.job_id}/attempts").json()["items"][-1]["id"])
        work = attempts.claim(engine, self.attempt_id, now=now, lease_s=3600)
        assert work is not None
        token = work.lease_token
        assert attempts.mark_starting(engine, self.attempt_id, token, {}, now=now, next_poll_at=now)
        assert attempts.mark_running(engine, self.attempt_id, token, {}, now=now, next_poll_at=now)

    def prints(self, text: str) -> None:
        """A look collects some output."""
        work = attempts.take_poll(self.engine, self.attempt_id, now=self.world.now, lease_s=60)
        assert work is not None
        chunk = LogChunk(stream="stdout", offset=self.offset, size=len(text.encode()), text=text)
        self.offset += len(text.encode())
        now = self.world.now
        assert attempts.still_running(self.engine, work, chunks=[chunk], now=now, next_poll_at=now)

    def ends(self, last_words: str) -> None:
        """The attempt completes, with what it printed at the very end."""
        result = AttemptResult(outcome=Outcome.COMPLETED, exit_code=0, simulated=False)
        chunk = LogChunk(stream="stderr", offset=0, size=len(last_words), text=last_words)
        attempts.finish(self.engine, self.attempt_id, result, now=self.world.now, chunks=[chunk])


@pytest.fixture
def run(client: TestClient, engine: Engine, world: World, spec: dict[str, Any]) -> Run:
    """A running job."""
    return Run(client, engine, world, spec)


@pytest.fixture
def server(client: TestClient) -> Iterator[Client]:
    """The same API behind a real socket: a test client would collect a stream before showing any of it."""
    key = str(client.headers["Authorization"]).removeprefix("Bearer ")
    with served(cast(FastAPI, client.app)) as url, Client(url, key) as connected:
        yield connected


def texts(events: list[SentEvent]) -> list[str]:
    return [json.loads(event.data)["text"] for event in events if event.event == "log"]


def test_pages_of_what_was_printed_go_on_behind_an_id(client: TestClient, run: Run) -> None:
    run.prints("one\n")
    run.prints("two\n")
    path = f"/v1/jobs/{run.job_id}/logs"
    first, second = client.get(path).json()["items"]
    assert (first["stream"], first["text"], second["text"], second["offset"]) == ("stdout", "one\n", "two\n", 4)
    assert client.get(path, params={"after": first["id"]}).json()["items"] == [second]


def test_stream_sends_what_is_printed_as_it_comes_and_ends_with_the_job(run: Run, server: Client) -> None:
    run.prints("before\n")
    stream = server.follow(f"/v1/jobs/{run.job_id}/logs", follow="true")
    first = next(stream)
    assert texts([first]) == ["before\n"]
    run.prints("während\n")
    assert texts([next(stream)]) == ["während\n"]
    run.ends("last words\n")
    rest = list(stream)
    assert texts(rest) == ["last words\n"]
    assert rest[-1].event == "end"


def test_stream_that_broke_goes_on_where_it_was(client: TestClient, run: Run) -> None:
    run.prints("one\n")
    run.prints("two\n")
    run.ends("three\n")
    path = f"/v1/jobs/{run.job_id}/logs"
    first = client.get(path).json()["items"][0]["id"]
    answer = client.get(path, params={"follow": True}, headers={"Last-Event-ID": str(first)})
    assert answer.headers["content-type"].startswith("text/event-stream")
    sent = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [json.loads(one)["text"] for one in sent if one != "{}"] == ["two\n", "three\n"]


@pytest.mark.parametrize("position", ["abc", "-1", "1" * 30, "1" * 5000, "²"])
def test_nonsense_for_a_position_is_no_fault(client: TestClient, run: Run, position: str) -> None:
    run.ends("done\n")
    answer = client.get(f"/v1/jobs/{run.job_id}/logs?follow=true", headers={b"Last-Event-ID": position.encode()})
    assert answer.status_code == 200


def test_streams_hold_no_connection_while_they_wait(run: Run, server: Client, engine: Engine) -> None:
    run.prints("before\n")
    streams = [server.follow(f"/v1/jobs/{run.job_id}/logs", follow="true") for _ in range(20)]
    assert {texts([next(stream)])[0] for stream in streams} == {"before\n"}
    pool = cast(QueuePool, engine.pool)
    looks: list[int] = []
    for _ in range(50):
        time.sleep(0.01)
        looks.append(pool.checkedout())
    assert min(looks) == 0
    assert max(looks) <= 2  # one glance for all of them, and whoever reads what is new
    run.ends("last words\n")
    assert [texts(list(stream)) for stream in streams] == [["last words\n"]] * 20


def test_stream_tells_what_every_attempt_printed_in_order(
    client: TestClient, run: Run, engine: Engine, world: World
) -> None:
    run.prints("first\n")
    lost = AttemptResult(outcome=Outcome.PREEMPTED, simulated=False)
    attempts.finish(engine, run.attempt_id, lost, now=world.now)
    place_waiting(engine, know(FixedPredictor()), now=world.now)
    run.takes_the_next_attempt(client)
    run.prints("second\n")
    run.ends("done\n")
    answer = client.get(f"/v1/jobs/{run.job_id}/logs", params={"follow": True})
    sent = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [json.loads(one)["text"] for one in sent if one != "{}"] == ["first\n", "second\n", "done\n"]


def test_a_tenant_may_not_take_every_socket(client: TestClient, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.api.following.MOST_OF_A_TENANT", 0)
    answer = client.get(f"/v1/jobs/{run.job_id}/logs", params={"follow": True})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_followers")


def test_nobody_reads_or_finds_what_another_tenants_job_printed(
    client: TestClient, run: Run, engine: Engine, world: World
) -> None:
    run.prints("the secret sauce\n")
    other = make_key(engine, add_tenant(engine, "other").id, "k")
    theirs = {"Authorization": f"Bearer {other}"}
    for query in ({}, {"follow": "true"}):
        answer = client.get(f"/v1/jobs/{run.job_id}/logs", params=query, headers=theirs)
        assert answer.status_code == 404
    assert client.get("/v1/logs", params={"search": "sauce"}, headers=theirs).json()["items"] == []
    assert client.get("/v1/logs", params={"search": "sauce", "job": run.job_id}, headers=theirs).status_code == 404
    assert len(client.get("/v1/logs", params={"search": "sauce"}).json()["items"]) == 1


def test_search_finds_lines_by_part_of_them(client: TestClient, run: Run) -> None:
    run.prints("step 1 loss 0.9\nRuntimeError: CUDA out of memory\nbye 100%_\\\n")
    run.prints("step 2\n")
    (hit,) = client.get("/v1/logs", params={"search": "cuda OUT of"}).json()["items"]
    assert (hit["job_id"], hit["job"], hit["attempt"]) == (run.job_id, "lora", 1)
    assert (hit["lines"], hit["count"]) == (["RuntimeError: CUDA out of memory"], 1)
    # what means something to LIKE or to a pattern is a character here
    for literal, found in (("100%_\\", 1), ("1__%", 0), ("s.ep", 0), ("step", 2)):
        assert len(client.get("/v1/logs", params={"search": literal}).json()["items"]) == found, literal


def test_search_goes_on_behind_a_page_and_back_no_further_than_asked(
    client: TestClient, run: Run, world: World
) -> None:
    began = world.now
    for number in range(5):
        run.prints(f"epoch {number}\n")
        world.later(hours=1)
    found: list[str] = []
    query: dict[str, Any] = {"search": "epoch", "limit": 2}
    while True:
        page = client.get("/v1/logs", params=query).json()
        found += [line for hit in page["items"] for line in hit["lines"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert found == [f"epoch {number}" for number in (4, 3, 2, 1, 0)]
    since = (began + timedelta(hours=3)).isoformat()
    assert len(client.get("/v1/logs", params={"search": "epoch", "since": since}).json()["items"]) == 2
    assert client.get("/v1/logs", params={"search": "epoch", "job": str(uuid4())}).status_code == 404


def test_search_looks_into_so_much_at_a_time(client: TestClient, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.prints("needle\n")
    for _ in range(5):
        run.prints("hay\n")
    monkeypatch.setattr("scheduler.services.log_search.MOST_BYTES", 1000)
    pages: list[int] = []
    after = None
    while not pages or after:
        page = client.get("/v1/logs", params={"search": "needle"} | ({"after": after} if after else {})).json()
        pages.append(len(page["items"]))
        after = page["next"]
    assert pages[0] == 0
    assert sum(pages) == 1


@pytest.mark.parametrize("wanted", ["", "x", "two\nlines", "x" * 201])
def test_search_for_what_no_line_holds_is_refused(client: TestClient, wanted: str) -> None:
    assert client.get("/v1/logs", params={"search": wanted}).status_code == 422


def test_output_is_forgotten_a_week_after_its_attempt_and_not_before(
    client: TestClient, run: Run, engine: Engine
) -> None:
    run.prints("one\n")
    week = timedelta(days=7)
    now = run.world.now
    assert forget_logs(engine, older_than=week, now=now + timedelta(days=30)) == 0  # it runs on
    run.ends("two\n")
    assert forget_logs(engine, older_than=week, now=now + timedelta(days=6)) == 0
    assert forget_logs(engine, older_than=week, now=now + timedelta(days=8)) == 2
    assert client.get(f"/v1/jobs/{run.job_id}/logs").json()["items"] == []
