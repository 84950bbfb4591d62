"""What a job printed, in pages and as a stream that ends with the job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from scheduler.cli.client import Client, SentEvent
from scheduler.domain.attempt import AttemptResult, LogChunk
from scheduler.domain.states import Outcome
from scheduler.services import attempts
from scheduler.storage.engine import Engine
from tests.support.api import World, served


class Run:
    """A job's attempt in the hands of a worker that prints."""

    def __init__(self, client: TestClient, engine: Engine, world: World, spec: dict[str, Any]) -> None:
        self.job_id = client.post("/v1/jobs", json=spec).json()["id"]
        self.engine, self.world, self.offset = engine, world, 0
        self.attempt_id = UUID(client.get(f"/v1/jobs/{self.job_id}/attempts").json()["items"][0]["id"])
        work = attempts.claim(engine, self.attempt_id, now=world.now, lease_s=3600)
        assert work is not None
        now, token = world.now, work.lease_token
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


@pytest.mark.parametrize("position", ["abc", "-1", "1" * 30, "²"])
def test_nonsense_for_a_position_is_no_fault(client: TestClient, run: Run, position: str) -> None:
    run.ends("done\n")
    answer = client.get(f"/v1/jobs/{run.job_id}/logs?follow=true", headers={"Last-Event-ID": position.encode("utf-8")})
    assert answer.status_code == 200
