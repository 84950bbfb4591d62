"""A `FakeDstack` over HTTP, at the real paths, with bad days when a test wants them."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from tests.support.bad_days import Answers, BadDays, answering
from tests.support.fake_dstack import OVER, FakeDstack, Json, Refused


@dataclass
class FakeServer(BadDays):
    """Requests are named by the last two parts of their paths. More troubles: `delivers later`: when `deliver` is
    called, and `no dstack`: another program answers there."""

    dstack: FakeDstack
    answers: list[tuple[str, Any]] = field(default_factory=list)
    """Everything that was answered, with what was asked."""
    held: list[tuple[list[str], Json]] = field(default_factory=list)
    """What is yet to be delivered."""

    def deliver(self) -> None:
        """The network lets go of what it held up; nobody hears the answers."""
        while self.held:
            with self.dstack.lock, suppress(Refused):
                self.dstack.control()
                done(self.dstack, *self.held.pop(0))


def serving(dstack: FakeDstack) -> AbstractContextManager[FakeServer]:
    """Serve a project on a free port."""
    return answering(FakeServer(dstack), _Handler)


class _Handler(Answers):
    fake: FakeServer

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The server's clock is the cloud's."""
        return format_datetime(self.fake.dstack.now(), usegmt=True)

    def do_POST(self) -> None:
        body = json.loads(self.body())
        asked = "/".join(self.path.split("/")[-2:])
        self.fake.requests.append(asked)
        trouble, path = self.fake.trouble(asked), self.path.strip("/").split("/")
        if trouble == "delivers later":
            self.fake.held.append((path, body))
        if trouble == "delivers later" or self.fake.down or trouble == "hangs up":
            self.close_connection = True
            return
        try:
            if isinstance(trouble, int):
                raise Refused(trouble, f"the server said {trouble}")
            if not self.known():
                raise Refused(403, "Invalid token", None)
            with self.fake.dstack.lock:
                self.fake.dstack.control()
                raw = json.dumps(done(self.fake.dstack, path, body)).encode()
            self.fake.answers.append((asked, json.loads(raw)))
            if trouble == "forgets to answer":
                self.close_connection = True
                return
            self.send(200, b"<html>" if trouble == "no dstack" else raw)
        except Refused as refusal:
            detail = {"msg": refusal.said, "code": refusal.code}
            self.send(refusal.status, json.dumps({"detail": [detail] if refusal.status == 400 else detail}).encode())


def done(dstack: FakeDstack, path: list[str], body: Json) -> Any:
    """Do what is asked for, and say what is answered."""
    match path:
        case ["api", "project", dstack.project, *rest]:
            return _in_project(dstack, rest, body)
        case ["api", "projects", dstack.project, "get"]:
            return {"project_name": dstack.project}
        case ["api", "runs", "list"]:
            return _listed(dstack, body)
        case ["api", "events", "list"]:
            return _events(dstack, body)
    raise Refused(404, "Not found", None)


def _in_project(dstack: FakeDstack, path: list[str], body: Json) -> Any:
    match path:
        case ["runs", "get"]:
            return dstack.run(body["run_name"])
        case ["runs", "apply"]:
            return dstack.apply(body["plan"]["run_spec"])
        case ["runs", "stop"]:
            return dstack.stop(body["runs_names"], abort=body["abort"])
        case ["logs", "poll"]:
            return logs_page(dstack.logs.get(body["job_submission_id"], []), body)
    raise Refused(404, "Not found", None)


def _listed(dstack: FakeDstack, body: Json) -> list[Json]:
    if body["project_name"] != dstack.project:
        return []
    found = [run for run in dstack.runs if not (body.get("only_active") and run["status"] in OVER)]
    after, ascending = body.get("prev_submitted_at"), body.get("ascending", False)
    found.sort(key=lambda run: _time(run["submitted_at"]), reverse=not ascending)
    if after is not None:
        here = _time(after)
        found = [
            run
            for run in found
            if (_time(run["submitted_at"]) > here if ascending else _time(run["submitted_at"]) < here)
        ]
    return found[: body["limit"]]


def _events(dstack: FakeDstack, body: Json) -> list[Json]:
    (run_id,) = body["within_runs"]
    (run,) = [run for run in dstack.runs if run["id"] == run_id]
    ours = {run_id, *(one["id"] for job in run["jobs"] for one in job["job_submissions"])}
    found = [event for event in dstack.events if event["targets"][0]["id"] in ours]
    after = body.get("prev_recorded_at")
    if after is not None:
        found = [event for event in found if _time(event["recorded_at"]) > _time(after)]
    return found[: body["limit"]]


def logs_page(stored: list[Json], body: Json) -> Json:
    """As its file storage does: what has the time that is asked for is left out."""
    start, first = body.get("start_time"), int(body.get("next_token") or 0)
    pieces = list(enumerate(stored, start=1))
    if start is not None:
        pieces = [(number, piece) for number, piece in pieces if _time(piece["timestamp"]) > _time(start)]
    if body.get("descending"):
        return {"logs": [piece for _, piece in pieces[::-1]][: body["limit"]], "external_url": None, "next_token": None}
    pieces = [(number, piece) for number, piece in pieces if number > first]
    page = pieces[: body["limit"]]
    more = str(page[-1][0]) if len(pieces) > len(page) else None
    return {"logs": [piece for _, piece in page], "external_url": None, "next_token": more}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
