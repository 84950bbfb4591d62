"""An S3 server in this process, and a line to it that can be cut, or held, in the middle of a transfer."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from moto.server import ThreadedMotoServer

from workers.staging.plan import Access
from workers.staging.store import make_client

BUCKET = "files"
UPPER = "import pathlib; pathlib.Path('out.txt').write_text(pathlib.Path('in/a.txt').read_text().upper())"
"""What a job does with its one input, `IN`, to make its one output, `OUT`."""
IN = {"from": f"s3://{BUCKET}/a.txt", "to": "in/"}
OUT = {"from": "*.txt", "to": f"s3://{BUCKET}/done/"}


@dataclass
class Line:
    """Carries requests to a server, one a connection."""

    port: int
    of: bytes = rb"GET /files/"
    """A pattern: only requests that begin so are cut and held."""
    cut_answers_after: list[int] = field(default_factory=list)
    """Of the next answers so many bytes come through each."""
    cut_requests_after: list[int] = field(default_factory=list)
    """Of the next requests so many bytes go through each."""
    on_cut: Callable[[], None] = lambda: None
    open: threading.Event = field(default_factory=threading.Event)
    """While it is cleared, requests wait."""
    requests: list[bytes] = field(default_factory=list)
    """The head of every request."""

    def __post_init__(self) -> None:
        self.open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it begins."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """No more connections."""
        self.open.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as far:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (data := near.recv(65536)):
                    return
                head += data
            lines, _, rest = head.partition(b"\r\n\r\n")
            self.requests.append(lines)
            answer, request = None, None
            if re.match(self.of, lines):
                self.open.wait()
                answer = self.cut_answers_after.pop(0) if self.cut_answers_after else None
                request = self.cut_requests_after.pop(0) if self.cut_requests_after else None
            # so that the next request comes over a connection of its own, to be counted and cut
            far.sendall(lines + b"\r\nConnection: close\r\n\r\n" + rest)
            threading.Thread(target=self._pass, args=(near, far, request), daemon=True).start()
            self._pass(far, near, answer)

    def _pass(self, source: socket.socket, target: socket.socket, left: int | None) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if left is not None and len(data) >= left:
                    target.sendall(data[:left])
                    self.on_cut()
                    for end in (source, target):
                        with suppress(OSError):
                            end.shutdown(socket.SHUT_RDWR)
                    return
                left = None if left is None else left - len(data)
                target.sendall(data)


@dataclass(frozen=True)
class Store:
    """A bucket on a server, and keys to it over a line."""

    client: Any
    access: Access
    line: Line

    def put(self, key: str, data: bytes, **more: Any) -> None:
        """A file in the bucket."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data, **more)

    def get(self, key: str) -> bytes:
        """The content of one."""
        data: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return data

    def keys(self) -> list[str]:
        """All that is there."""
        return [one["Key"] for one in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]


@contextmanager
def serve_store() -> Iterator[Store]:
    """A server with one empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    line = Line(port)
    keys = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "a-key-of-the-store", "region": "us-east-1"}
    url = f"http://{host}:{port}"
    client = make_client(Access(**keys, endpoint_url=url))
    client.create_bucket(Bucket=BUCKET)
    try:
        yield Store(client, Access(**keys, endpoint_url=line.url), line)
    finally:
        line.close()
        httpx.post(f"{url}/moto-api/reset")  # what it holds is this process's, and would be the next server's
        server.stop()
