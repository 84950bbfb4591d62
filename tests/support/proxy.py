"""A TCP proxy in front of a broker, whose connections a test can cut as an idle time-out or a restart would."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class CuttableProxy:
    """Carries bytes between its own port on loopback and the service behind a URL, until cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._behind = (parts.hostname, parts.port)
        self._open: list[socket.socket] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer._carry(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        credentials, at, _ = parts.netloc.rpartition("@")
        port = self._server.server_address[1]
        self.url = parts._replace(netloc=f"{credentials}{at}127.0.0.1:{port}").geturl()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self.cut()
        self._server.server_close()

    def cut(self) -> None:
        """Close every connection that is open now; new ones are carried again."""
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _carry(self, client: socket.socket) -> None:
        with socket.create_connection(self._behind) as service:
            self._open += [client, service]
            threading.Thread(target=_copy, args=(service, client), daemon=True).start()
            _copy(client, service)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
