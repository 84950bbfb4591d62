"""Ask a dstack server: the few calls that we need, each with one time limit and some patience within it.

Every failure that may pass is `ProviderUnavailable` with one sentence. The server's clock comes with its answers: what
is measured against its times is measured by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from uuid import UUID

import httpx
from pydantic import TypeAdapter, ValidationError

from scheduler.settings import Settings
from workers.backends.base import ProviderUnavailable
from workers.backends.dstack.said import Event, Logs, Run
from workers.backends.words import line

T = TypeVar("T")

API_VERSION = "0.22.5"
"""Of the client that we pass for: a newer server answers it in the forms of then, an older one refuses in words."""
CALL_S = 10.0
"""Of one call with all its tries. A look makes several calls: where most of them take so long it outlives its lease,
and the next look goes ahead beside it, as it does after a worker's death."""
APPLY_S = 40.0
"""The server asks the registry about the image before it answers."""
_SHARES = {"pool": 0.1, "connect": 0.2, "write": 0.1, "read": 0.6}
"""Of the time that is left what a try may take for each: all of it together. Only an answer that keeps coming, bit by
bit, may take longer."""
_TRIES, _FIRST_REST_S = 3, 0.2
_SHORTEST_TRY_S = 1.0
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_PAGE = 100
_LONGEST = 300
"""Letters of the server's words in a sentence of ours."""
_RUNS, _EVENTS = TypeAdapter(list[Run]), TypeAdapter(list[Event])


class Refused(Exception):
    """The server has understood the request and will not do it; the message is its own sentence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said, and when by the server's clock."""

    value: Any
    at: datetime


@dataclass(frozen=True, slots=True)
class Server:
    """A project of a dstack server, as whoever has the token may see it."""

    http: httpx.Client
    project: str
    clock: Callable[[], datetime]
    """For servers that do not say what time it is."""

    def run(self, name: str) -> tuple[Run | None, datetime]:
        """The run of a name as it stands, if there is one, and the server's time."""
        try:
            answer = self._asked(f"/api/project/{self.project}/runs/get", {"run_name": name})
        except _Absent as absent:
            return None, absent.at
        return self._read(Run.model_validate, answer.value), answer.at

    def apply(self, spec: Mapping[str, Any]) -> None:
        """Make a run; Refused where there is one of its name that has not ended, or the server will not have it.

        Not tried again here: whoever asks once more looks first whether it was made.
        """
        body = {"plan": {"run_spec": spec, "current_resource": None}, "force": False}
        self._once(f"/api/project/{self.project}/runs/apply", body, within_s=APPLY_S)

    def stop(self, name: str, *, abort: bool) -> None:
        """End a run, with time to write a checkpoint or without."""
        self._asked(f"/api/project/{self.project}/runs/stop", {"runs_names": [name], "abort": abort})

    def active(self) -> tuple[list[Run], datetime]:
        """Every run of the project that has not ended, and the server's time."""
        found = list(self._runs({"only_active": True}))
        # of a project that it does not know, or does not show us, the server lists nothing: that is not the same
        return found, self._asked(f"/api/projects/{self.project}/get", {}).at

    def since(self, when: datetime) -> Iterator[Run]:
        """Every run that was made after a time, oldest first."""
        return self._runs({"prev_submitted_at": when.isoformat(), "ascending": True})

    def _runs(self, which: Mapping[str, Any]) -> Iterator[Run]:
        asked = {"project_name": self.project, "job_submissions_limit": 1, "limit": _PAGE, **which}
        while True:
            page = self._read(_RUNS.validate_python, self._asked("/api/runs/list", asked).value)
            yield from page
            if len(page) < _PAGE:
                return
            asked |= {"prev_submitted_at": page[-1].submitted_at.isoformat(), "prev_run_id": str(page[-1].id)}

    def events(self, run_id: UUID) -> list[Event]:
        """What the server has written down of a run and its jobs, oldest first; it forgets after a month."""
        found: list[Event] = []
        asked: dict[str, Any] = {"within_runs": [str(run_id)], "ascending": True, "limit": _PAGE}
        while True:
            page = self._read(_EVENTS.validate_python, self._asked("/api/events/list", asked).value)
            found += page
            if len(page) < _PAGE:
                return found
            asked |= {"prev_recorded_at": page[-1].recorded_at.isoformat(), "prev_id": str(page[-1].id)}

    def printed(self, name: str, submission_id: UUID, **asked: Any) -> Logs:
        """A page of what a job printed, by the server's own options (`start_time`, `next_token`, `descending`)."""
        body = {"run_name": name, "job_submission_id": str(submission_id), "limit": 1000, **asked}
        return self._read(Logs.model_validate, self._asked(f"/api/project/{self.project}/logs/poll", body).value)

    def _asked(self, path: str, body: Mapping[str, Any]) -> Answer:
        """An answer, after a few tries where the failure may pass. All of these calls may be repeated."""
        rest_s, until = _FIRST_REST_S, time.monotonic() + CALL_S
        for left in reversed(range(_TRIES)):
            try:
                return self._once(path, body, within_s=until - time.monotonic())
            except Refused as refusal:
                raise ProviderUnavailable(f"the dstack server refused: {refusal}") from None
            except _Passing:
                if not left or time.monotonic() + rest_s + _SHORTEST_TRY_S > until:
                    raise
            time.sleep(rest_s)
            rest_s *= 2
        raise AssertionError  # the last try has answered or raised

    def _once(self, path: str, body: Mapping[str, Any], *, within_s: float) -> Answer:
        timeout = httpx.Timeout(None, **{what: share * within_s for what, share in _SHARES.items()})
        try:
            answer = self.http.post(path, json=body, timeout=timeout)
        except httpx.LocalProtocolError:  # it quotes the header, and that is the token
            raise _unusable() from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise _Passing(f"the dstack server cannot be reached: {line(error, _LONGEST)}") from None
        at = self._time(answer)
        match answer.status_code:
            case 200:
                try:
                    return Answer(answer.json(), at)
                except ValueError:
                    raise ProviderUnavailable("what answers at PYTHIA_DSTACK_URL is no dstack server") from None
            case 400 | 422:
                said, code = _complaint(answer)
                if code == "resource_not_exists":
                    raise _Absent(said, at)
                raise Refused(said)
            case 401 | 403:
                raise ProviderUnavailable(
                    f"the dstack server does not let PYTHIA_DSTACK_TOKEN into the project {self.project!r}: "
                    f"{_complaint(answer)[0]}"
                )
            case 404:
                raise ProviderUnavailable(
                    f"the dstack server has no project {self.project!r}: set PYTHIA_DSTACK_PROJECT "
                    "(or PYTHIA_DSTACK_URL, if something else answers there)"
                )
            case status if status in _PASSING:
                raise _Passing(f"the dstack server answered {status}: {_complaint(answer)[0]}")
            case status:
                raise ProviderUnavailable(f"the dstack server answered {status}: {_complaint(answer)[0]}")

    def _time(self, answer: httpx.Response) -> datetime:
        try:
            return parsedate_to_datetime(answer.headers["date"]).astimezone(UTC)
        except (KeyError, ValueError):
            return self.clock()

    def _read(self, read: Callable[[Any], T], value: Any) -> T:
        try:
            return read(value)
        except ValidationError as error:
            # without the value: variables of runs have no place in a message
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ProviderUnavailable(
                f"the dstack server's answer cannot be read: {line(where + ': ' + first['msg'], _LONGEST)}"
            ) from None


class _Passing(ProviderUnavailable):
    """The same call may succeed in a moment."""


class _Absent(ProviderUnavailable):
    """There is no such run; only who asks for a run takes that for an answer."""

    def __init__(self, said: str, at: datetime) -> None:
        super().__init__(said)
        self.at = at


def connect(settings: Settings, clock: Callable[[], datetime]) -> Server:
    """Make a client; nothing is asked of the server yet."""
    assert settings.dstack_url is not None  # noqa: S101 - there is no such backend without one
    if settings.dstack_token is None:
        raise ProviderUnavailable("PYTHIA_DSTACK_URL is set and PYTHIA_DSTACK_TOKEN is not: give both")
    headers = {"Authorization": f"Bearer {settings.dstack_token}", "X-API-VERSION": API_VERSION}
    try:
        client = httpx.Client(base_url=settings.dstack_url, headers=headers)
    except (httpx.InvalidURL, OSError, TypeError, ValueError):  # they quote the value
        raise _unusable() from None
    return Server(client, settings.dstack_project, clock)


def _unusable() -> ProviderUnavailable:
    return ProviderUnavailable(
        "the dstack server cannot be asked with these settings: check PYTHIA_DSTACK_URL and PYTHIA_DSTACK_TOKEN"
    )


def _complaint(answer: httpx.Response) -> tuple[str, str | None]:
    """The server's own sentence and its code, where it gave them."""
    try:
        detail = answer.json()["detail"]
        first = detail[0] if isinstance(detail, list) else detail
        where = ".".join(str(part) for part in first.get("loc", ()))
        return line(f"{where}: {first['msg']}" if where else first["msg"], _LONGEST), first.get("code")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return line(answer.reason_phrase or "no reason given", _LONGEST), None
