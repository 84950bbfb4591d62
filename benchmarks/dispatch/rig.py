"""An installation of real processes on an embedded PostgreSQL and any broker; each can be killed at any time."""

from __future__ import annotations

import http.client
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGQUIT, SIGTERM
from typing import Any

import sqlalchemy as sa
from kombu import Connection
from kombu.exceptions import KombuError

from scheduler.broker import SCHEMA, broker_for, prepare
from scheduler.domain.offers import Offer
from scheduler.embedded.keys import api_key_of
from scheduler.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresFailed
from scheduler.embedded.process import Child
from scheduler.services.import_offers import put_offers
from scheduler.settings import Settings
from scheduler.storage.engine import make_engine
from scheduler.storage.migrate import upgrade
from tests.support.brokers import BROKERS, broker_settings

__all__ = ["BROKERS", "Rig", "running_rig"]

_PATIENCE_S = 90.0


@dataclass(slots=True, kw_only=True)
class Rig:
    """The processes by name. Their logs are in `directory`/logs."""

    directory: Path
    settings: Settings
    api_key: str
    postgres: EmbeddedPostgres
    children: dict[str, Child] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.settings.port}"

    def start(
        self,
        services: Mapping[str, Sequence[str]],
        ports: Mapping[str, int] | None = None,
        *,
        packages: Path | None = None,
    ) -> None:
        """Start services by name, as arguments of `python -m`; those that have a port get it. `packages` is where they
        are imported from, if not from here."""
        elsewhere = {} if packages is None else {"PYTHONPATH": str(packages)}
        # -P: or what lies in the current directory would come first
        python = [sys.executable, "-m"] if packages is None else [sys.executable, "-P", "-m"]
        for name, module in services.items():
            port = (ports or {}).get(name, self.settings.port)
            self.children[name] = Child(
                name=name,
                command=[*python, *module],
                log=self.directory / "logs" / f"{name}.log",
                environment=self.settings.model_copy(update={"port": port}).environment()
                | {"PYTHONUNBUFFERED": "1"}
                | elsewhere,
                parent_death=SIGKILL,
            )
            self.children[name].start()

    def kill(self, name: str) -> None:
        """End a process and its children without a word, and start it again."""
        self.children[name].kill()
        self.children[name].start()

    def revive(self) -> None:
        """Start again what ended by itself, as a supervisor would."""
        for child in self.children.values():
            if not child.running:
                child.start()

    def flush_broker(self) -> bool:
        """The broker loses everything that it carries; whether it could be told to, for its database may be away."""
        try:
            self._flush()
        except (sa.exc.OperationalError, OSError, KombuError):
            return False
        return True

    def _flush(self) -> None:
        broker = broker_for(self.settings)
        if broker.kind == "embedded":
            with self.connected() as connection:
                connection.execute(sa.text(f"DELETE FROM {SCHEMA}.kombu_message"))  # noqa: S608 - a constant
            return
        with Connection(broker.url, transport_options=broker.transport_options) as link:
            channel = link.default_channel
            for queue in broker.queues():
                if broker.kind == "redis":
                    channel.client.delete(queue.name)
                else:
                    channel.queue_purge(queue.name)

    def restart_postgres(self) -> None:
        """PostgreSQL crashes: sessions are cut in the middle of what they do, and the next start replays the log."""
        self.postgres.server.signal(SIGQUIT)
        self.postgres.server.wait(10)
        self.postgres.server.kill()
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.postgres.start_again()
            except EmbeddedPostgresFailed:
                # sessions of the server that died hold its shared memory for a moment longer
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    @contextmanager
    def connected(self) -> Iterator[sa.Connection]:
        """A connection of one's own for a moment, committed at the end."""
        engine = sa.create_engine(self.settings.require_database_url(), poolclass=sa.NullPool)
        with engine.begin() as connection:
            yield connection

    def scalar(self, query: str) -> Any:
        """The one answer to a question."""
        with self.connected() as connection:
            return connection.execute(sa.text(query)).scalar()

    def until(self, happened: Callable[[], object], *, within_s: float, rest_s: float = 0.1) -> bool:
        """Wait for something; whether it happened. A database that is away is asked again."""
        deadline = time.monotonic() + within_s
        while True:
            with suppress(sa.exc.OperationalError):
                if happened():
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(rest_s)

    def answers(self, port: int | None = None) -> bool:
        """Whether the API does."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.settings.port, timeout=2)
        try:
            connection.request("GET", "/v1/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """End every process; the database stays."""
        for child in self.children.values():
            if child.running:
                child.signal(SIGTERM)
        deadline = time.monotonic() + 10
        for child in self.children.values():
            child.wait(deadline - time.monotonic())
            child.kill()


@contextmanager
def running_rig(
    directory: Path,
    broker: str,
    offers: Sequence[Offer],
    *,
    begin: Callable[[str], object] = upgrade,
    **changes: Any,
) -> Iterator[Rig]:
    """A database with an inventory, a broker and no process yet; everything is stopped at the end.

    `begin` makes the schema, given the database's URL.
    """
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    postgres = EmbeddedPostgres.in_directory(directory)
    postgres.start()
    try:
        url = postgres.url()
        begin(url)
        if offers:
            engine = make_engine(url, pool_size=1)
            put_offers(engine, offers)
            engine.dispose()
        with broker_settings(broker, url) as given:
            settings = given.model_copy(update={"data_dir": directory, "port": free_port(), **changes})
            prepare(broker_for(settings))
            key, _ = api_key_of(url, directory / "api_key")
            if key is None:
                raise EmbeddedPostgresFailed(f"{directory} holds a database from before: name a new folder")
            rig = Rig(directory=directory, settings=settings, api_key=key, postgres=postgres)
            try:
                yield rig
            finally:
                rig.stop()
    finally:
        postgres.stop()


def free_port() -> int:
    """Any that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
