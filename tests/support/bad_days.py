"""A server over HTTP that stands in for somebody else's, with bad days when a test wants them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

TOKEN = "not-a-secret"
"""What it takes from whoever asks."""


@dataclass(kw_only=True)
class BadDays:
    """Where a server answers, and how it is about to misbehave."""

    url: str = ""
    requests: list[str] = field(default_factory=list)
    """What was asked, in the server's own words."""
    troubles: list[tuple[str, int | str]] = field(default_factory=list)
    """What is done to the next request of a kind: a status, `hangs up` before it does anything, `forgets to answer`
    after it has done it, or what that server knows besides."""
    down: bool = False

    def trouble(self, asked: str) -> int | str | None:
        """What is to happen to a request, once."""
        for number, (which, what) in enumerate(self.troubles):
            if which == asked:
                del self.troubles[number]
                return what
        return None


class Answers(BaseHTTPRequestHandler):
    """What every handler of such a server does alike."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Tests print nothing."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def known(self) -> bool:
        """Whether who asks has the token."""
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def send(self, code: int, raw: bytes, media_type: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


Fake = TypeVar("Fake", bound=BadDays)


@contextmanager
def answering(fake: Fake, handler: type[Answers]) -> Iterator[Fake]:
    """Serve on a free port; the handler finds the server's state as its `fake`."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"fake": fake}))
    http.daemon_threads = True
    fake.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
