"""Our lines and those of the libraries come out in one form."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from scheduler.logs import configure_logs


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_every_line_is_one_json_object_with_what_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")
    structlog.get_logger("scheduler.x").info("placed job", job_id="j1", cost_usd="10.42")
    logging.getLogger("some.library").warning("could not reach %s", "h")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert ours.pop("timestamp").endswith("Z")
    assert ours == {
        "event": "placed job",
        "job_id": "j1",
        "cost_usd": "10.42",
        "level": "info",
        "logger": "scheduler.x",
    }
    assert (theirs["event"], theirs["level"]) == ("could not reach h", "warning")


def test_text_lines_hold_the_event_and_its_ids(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text")
    structlog.get_logger("scheduler.x").info("placed job", job_id="j1")
    (line,) = capsys.readouterr().err.splitlines()
    assert "placed job" in line
    assert "job_id=j1" in line
    assert "\x1b" not in line, "colours do not belong in a file"


def test_libraries_are_heard_only_when_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text")
    logging.getLogger("httpx").info("HTTP Request: GET http://h")
    logging.getLogger("httpx").warning("odd")
    assert len(capsys.readouterr().err.splitlines()) == 1
