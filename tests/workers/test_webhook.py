"""Telling a user's web server that a job has ended, and giving up on one that does not listen."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.dispatch import NOTIFY
from scheduler.services.cancel import cancel_job
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import know
from scheduler.services.submit import submit_job
from scheduler.storage.ids import new_id
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.offers import make_custom_spec, make_offer
from tests.support.predictor import FixedPredictor
from workers.webhook import RETRY_AFTER_S, Messenger

NOW = datetime(2026, 9, 1, tzinfo=UTC)


@dataclass
class Listener:
    """A user's web server that gives a fixed answer."""

    answer: int
    url: str = ""
    heard: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def listening(answer: int) -> Iterator[Listener]:
    made = Listener(answer)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.heard.append({"path": self.path, "type": self.headers["Content-Type"], **json.loads(body)})
            self.send_response(made.answer)
            if made.answer == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - so that a redirect that is followed would be heard

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/done?key=1"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def ended_job(engine: sa.Engine, url: str | None) -> UUID:
    put_offers(engine, [make_offer("CPU", 0.0)])
    spec = make_custom_spec(webhook_url=url)
    job = submit_job(engine, know(FixedPredictor()), spec, tenant_id=DEFAULT_TENANT, now=NOW).job
    cancel_job(engine, DEFAULT_TENANT, job.id, now=NOW)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM outbox"))
    return job.id


def doorbells(engine: sa.Engine) -> list[tuple[str, dict[str, str], datetime]]:
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT task, arguments, claimed_until FROM outbox ORDER BY id"))
        return [tuple(row) for row in rows]


def tell(engine: sa.Engine, job_id: UUID, tries: int = 0) -> None:
    Messenger(engine=engine, clock=lambda: NOW).tell(job_id, tries=tries)


def test_the_job_is_posted_as_the_api_shows_it(engine: sa.Engine) -> None:
    with listening(204) as listener:
        job_id = ended_job(engine, listener.url)
        tell(engine, job_id)
        (heard,) = listener.heard
    assert (heard["path"], heard["type"]) == ("/done?key=1", "application/json")
    assert (heard["id"], heard["state"], heard["name"]) == (str(job_id), "cancelled", "test")
    assert doorbells(engine) == []


@pytest.mark.parametrize("answer", [302, 404, 500])
def test_any_answer_but_success_is_tried_again_later(engine: sa.Engine, answer: int) -> None:
    with listening(answer) as listener:
        job_id = ended_job(engine, listener.url)
        tell(engine, job_id)
        assert len(listener.heard) == 1, "a redirect was followed"
    again = (NOTIFY, {"job_id": str(job_id), "tries": "1"}, NOW + timedelta(seconds=RETRY_AFTER_S[0]))
    assert doorbells(engine) == [again]


def test_a_server_that_is_gone_is_tried_a_few_times_and_no_more(engine: sa.Engine) -> None:
    job_id = ended_job(engine, "http://127.0.0.1:1/done")
    for tries in range(len(RETRY_AFTER_S) + 1):
        tell(engine, job_id, tries)
    waits = [(due - NOW).total_seconds() for _, _, due in doorbells(engine)]
    assert waits == list(RETRY_AFTER_S)


def test_nobody_is_told_who_did_not_ask_or_of_what_is_gone(engine: sa.Engine) -> None:
    tell(engine, ended_job(engine, None))
    tell(engine, new_id())
    assert doorbells(engine) == []
