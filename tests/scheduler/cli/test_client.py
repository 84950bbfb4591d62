"""The way to a server when it goes away and comes back."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from scheduler.cli.client import Client, RefusedByServer, ServerUnreachable


class Breaking(httpx.SyncByteStream):
    """An answer that stops in the middle."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __iter__(self) -> Iterator[bytes]:
        yield self._text.encode()
        raise httpx.ReadError("the connection was reset")


def following(answers: list[httpx.Response], asked: list[str | None]) -> Client:
    """A client of a server that gives these answers, one after the other."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        return answers.pop(0)

    client = Client("http://127.0.0.1:1", "key")
    client._http = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://127.0.0.1:1")
    return client


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.cli.client._FIRST_PAUSE_S", 0.0)


def test_stream_that_breaks_is_asked_for_again_behind_its_last_event() -> None:
    asked: list[str | None] = []
    answers = [
        httpx.Response(200, stream=Breaking("id: 7\nevent: log\ndata: a\n\nid: 8\nevent: lo")),
        httpx.Response(200, text=": still running\n\n"),  # ended in order, but by no `end`
        httpx.Response(200, text="id: 9\nevent: log\ndata: b\n\nevent: end\ndata: {}\n\n"),
    ]
    events = list(following(answers, asked).follow("/logs"))
    assert [event.data for event in events] == ["a", "b", "{}"]
    assert asked == [None, "7", "7"]


def test_server_that_was_never_there_is_said_at_once() -> None:
    asked: list[str | None] = []
    with pytest.raises(ServerUnreachable):
        list(following([httpx.Response(200, stream=Breaking(""))], asked).follow("/logs"))
    assert asked == [None]


def test_refusal_after_a_break_is_the_servers_own_sentence() -> None:
    problem = {"detail": "no job 1", "code": "not_found"}
    answers = [
        httpx.Response(200, stream=Breaking("id: 1\nevent: log\ndata: a\n\n")),
        httpx.Response(404, json=problem),
    ]
    with pytest.raises(RefusedByServer, match="no job 1"):
        list(following(answers, []).follow("/logs"))


def test_server_that_never_recovers_is_given_up() -> None:
    answers = [httpx.Response(200, stream=Breaking("id: 1\nevent: log\ndata: a\n\n"))]
    answers += [httpx.Response(200, stream=Breaking("")) for _ in range(20)]
    with pytest.raises(ServerUnreachable):
        list(following(answers, []).follow("/logs"))
    assert answers
