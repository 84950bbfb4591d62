"""Versions, trainings and drift as people read them: what was kept out and where forecasts fail is on the page."""

from __future__ import annotations

from typing import Any

from scheduler.cli.models import _drift_text, _text

VERSION = {
    "version": "2026-11-27.abc", "rows": 1200, "created_at": "2026-11-27T06:00:00+00:00",
    "comparison": {"verdict": "it is better"},
}  # fmt: skip
TRAINING = {
    "requested_at": "2026-11-27T06:00:00+00:00", "scheduled": True, "state": "ended", "promoted": True, "read": 1300,
    "learned_from": 1000, "held_out": 250, "quarantined": 37, "left_out": 13, "verdict": "it is better",
}  # fmt: skip
FOUND: dict[str, Any] = {
    "in_use": "2026-11-27.abc",
    "items": [VERSION],
    "shipped": {"version": "2026-11-25.def", "rows": 16_026, "created": "2026-11-25"},
    "trainings": [],
}


def test_the_version_in_use_is_marked_and_every_version_has_its_proof() -> None:
    header, first, shipped = _text(FOUND).splitlines()
    assert header.split()[:4] == ["VERSION", "IN", "USE", "OBSERVATIONS"]
    assert "champion" in first
    assert first.endswith("it is better")
    assert "champion" not in shipped
    assert shipped.endswith("came with Pythia")


def test_a_training_shows_what_it_kept_out() -> None:
    queued = dict.fromkeys(TRAINING) | {
        "requested_at": "2026-11-27T12:00:00+00:00", "scheduled": False, "state": "queued", "promoted": False,
    }  # fmt: skip
    header, waiting, ended = _text(FOUND | {"trainings": [queued, TRAINING]}).splitlines()[-3:]
    assert "QUARANTINED" in header
    assert ended.split()[3:] == ["the", "clock", "1,300", "1,000", "250", "37", "13", "promoted:", "it", "is", "better"]
    assert waiting.split()[3:] == ["a", "person", "-", "-", "-", "-", "-", "queued"]


def test_an_alarm_of_drift_comes_first_and_says_which_slice() -> None:
    alarm = "time of gpu_type L40S: 2 of the last 15 jobs stayed within what 80% should"
    loud = {
        "slice": "gpu_type", "value": "L40S", "quantity": "time", "jobs": 15, "median_error": 0.5,
        "median_error_before": None, "within": 2 / 15, "promised": 0.8, "alarm": alarm,
    }  # fmt: skip
    said = _drift_text({"alarms": [alarm], "slices": [loud]}).splitlines()
    assert said[0] == f"ALARM  {alarm}"
    assert said[2].split() == ["gpu_type", "L40S", "time", "15", "50.0%", "13.3%", "80.0%"]
    quiet = _drift_text({"alarms": [], "slices": [loud | {"alarm": None}]})
    assert quiet.startswith("No alarm.")
    assert "No real attempt" in _drift_text({"alarms": [], "slices": []})
