"""The command line's way to a server: JSON over HTTP, and every failure as one sentence."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from predictor.errors import PythiaError
from scheduler.cli.config import DEFAULT_URL, load_config

TIMEOUT_S = httpx.Timeout(10.0, read=120.0)
"""A plan takes milliseconds; a batch of 1,000 jobs or an import of a large file takes seconds."""

_SILENCE_S = 60.0
"""Nothing on a stream for so long, when a ping comes every 15 s: whoever sent it is gone."""
_RECONNECTIONS, _FIRST_PAUSE_S, _LONGEST_PAUSE_S = 12, 0.1, 10.0
"""A minute and a half in all: long enough for a restart."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ServerUnreachable(PythiaError):
    """Nothing answers at the configured address."""

    code = "server_unreachable"


class RefusedByServer(PythiaError):
    """The server understood and said no; the sentence is the server's own."""

    def __init__(self, status: int, detail: str, code: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class SentEvent:
    """One server-sent event."""

    id: str
    event: str
    data: str


class Client:
    """One server; a context manager, since it holds a connection."""

    def __init__(self, url: str, api_key: str | None) -> None:
        headers = {"Accept": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self.url = url
        try:
            host = httpx.URL(url).host
            # a proxy of the environment cannot know what listens on this machine
            self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=host not in LOOPBACK)
        except httpx.InvalidURL:
            raise self._no_address() from None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: object) -> Any:
        """Read a resource; query values that are None are left out."""
        return self.call("GET", path, query={key: value for key, value in query.items() if value is not None})

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Any:
        """Send a JSON body and return the answer."""
        sent = {**(headers or {}), "Content-Type": "application/json"}
        return self.call("POST", path, content=_encoded(body), headers=sent)

    def put(self, path: str, body: object) -> Any:
        """Store a resource under its path and return it."""
        return self.call("PUT", path, content=_encoded(body), headers={"Content-Type": "application/json"})

    def patch(self, path: str, body: object) -> Any:
        """Change a resource and return it."""
        return self.call("PATCH", path, content=_encoded(body), headers={"Content-Type": "application/json"})

    def upload(self, path: str, content: bytes, media_type: str, **query: object) -> Any:
        """Send a file as it is; query values that are None are left out."""
        given = {key: value for key, value in query.items() if value is not None}
        return self.call("POST", path, content=content, query=given, headers={"Content-Type": media_type})

    def call(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One call; RefusedByServer carries the server's sentence."""
        try:
            response = self._http.request(method, path, content=content, params=query, headers=headers)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise _refusal(response)
        return response.json() if response.content else None

    def follow(self, path: str, **query: str) -> Iterator[SentEvent]:
        """The server-sent events of a stream until its `end`. One that breaks is asked for again behind the last event
        that came, so a server may be restarted meanwhile."""
        last, begun, failures = "", False, 0
        while True:
            broke = ServerUnreachable(f"{self.url} ends the stream again and again; look at its log")
            try:
                for event in self._stream(path, query, last):
                    last, begun, failures = event.id or last, True, 0
                    yield event
                    if event.event == "end":
                        return
            except httpx.HTTPError as error:
                broke = self._unreachable(error)
            failures += 1
            if not begun or failures > _RECONNECTIONS:
                raise broke
            time.sleep(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**failures))

    def _stream(self, path: str, query: Mapping[str, str], last: str) -> Iterator[SentEvent]:
        endless = httpx.Timeout(10.0, read=_SILENCE_S)
        headers = {"Last-Event-ID": last} if last else None
        with self._http.stream("GET", path, params=query, timeout=endless, headers=headers) as response:
            if response.is_error:
                response.read()
                raise _refusal(response)
            yield from _events(response.iter_lines())

    def _unreachable(self, error: httpx.HTTPError) -> ServerUnreachable:
        if isinstance(error, httpx.ReadTimeout):
            return ServerUnreachable(f"{self.url} took too long to answer; look at its log")
        if isinstance(error, httpx.UnsupportedProtocol):
            return self._no_address()
        return ServerUnreachable(f"no Pythia answers at {self.url}; start one with `pythia up`, or set PYTHIA_URL")

    def _no_address(self) -> ServerUnreachable:
        return ServerUnreachable(f"{self.url!r} is not an address; set PYTHIA_URL to one like {DEFAULT_URL}")


def connect() -> Client:
    """A client of the configured server."""
    config = load_config()
    return Client(config.url, config.api_key)


def _encoded(body: object) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (ValueError, TypeError) as error:
        raise RefusedByServer(0, f"this cannot be sent as JSON: {error}", "invalid_json") from None


def _refusal(response: httpx.Response) -> RefusedByServer:
    try:
        problem = response.json()
        detail, code = str(problem["detail"]), str(problem["code"])
    except (ValueError, KeyError, TypeError):
        detail, code = f"{response.request.url} answered {response.status_code} without saying why", "unknown"
    if response.status_code == httpx.codes.UNAUTHORIZED:
        detail += "; set PYTHIA_API_KEY, or run `pythia up` on this machine, which keeps its key for you"
    return RefusedByServer(response.status_code, detail, code)


def _events(lines: Iterator[str]) -> Iterator[SentEvent]:
    fields: dict[str, str] = {}
    data: list[str] = []
    for line in lines:
        if not line:
            if fields or data:
                yield SentEvent(fields.get("id", ""), fields.get("event", "message"), "\n".join(data))
            fields, data = {}, []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name:
            fields[name] = value


def post_unless_offline(path: str, body: dict[str, Any], otherwise: str) -> dict[str, Any]:
    """What the server answers; where none does, ServerUnreachable that names the way without one."""
    with connect() as server:
        try:
            answer: dict[str, Any] = server.post(path, body)
        except ServerUnreachable as error:
            raise ServerUnreachable(f"{error}; or {otherwise} without a server: --offline") from error
    return answer
