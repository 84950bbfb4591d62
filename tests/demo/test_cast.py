"""The demo can fail: a job that did not come to what it is there to show is named."""

from __future__ import annotations

import pytest

from scheduler.demo.cast import LEARNER, ROLES, SHOWN_PLANS, Role, Story
from scheduler.domain.spec import parse_job_spec
from tests.demo.stories import attempt, refused, story
from tests.scheduler.cli.decisions import candidate, decision, forecast


def role(file: str) -> Role:
    """The role of a file, by its number."""
    return next(one for one in ROLES if one.file.startswith(file))


def card(usable_gib: float, outcome: str) -> dict[str, object]:
    """A try on a card of some size."""
    return attempt(outcome=outcome, forecast=forecast(usable_vram_gib=usable_gib))


def test_at_least_ten_jobs_are_cast_and_two_of_their_plans_are_shown() -> None:
    files = [one.file for one in ROLES]
    assert len(set(files)) == len(files) >= 10
    assert len(set(SHOWN_PLANS) & set(files)) == 2


@pytest.mark.parametrize("cast", [*ROLES, LEARNER], ids=lambda cast: cast.file)
def test_every_role_has_a_spec_that_can_be_submitted(cast: Role) -> None:
    assert parse_job_spec(cast.spec()).run is not None


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("01", story()),
        ("04", story()),
        ("06", refused("vram")),
        ("07", refused("deadline")),
        ("08", story(attempts=[card(45.0, "out_of_memory"), card(140.4, "completed")])),
    ],
)
def test_job_that_shows_its_point_is_no_complaint(file: str, told: Story) -> None:
    assert role(file).complaint(told) is None


@pytest.mark.parametrize(
    ("file", "told", "said"),
    [
        ("01", story(job={"state": "failed", "reason": "exit code 3"}), "lora is failed (exit code 3)"),
        ("04", story(decisions=[decision(candidates=[candidate(country="US")])]), "European Union"),
        ("04", story(decisions=[decision(candidates=[candidate(country=None)])]), "European Union"),
        ("06", refused("budget"), "want of memory"),
        ("06", story(), "expected infeasible"),
        ("07", refused("vram"), "deadline"),
        ("08", story(), "runs out of memory"),
        ("08", story(attempts=[card(45.0, "out_of_memory"), card(45.0, "completed")]), "more of it"),
        ("08", story(attempts=[card(45.0, "lost"), card(140.4, "completed")]), "runs out of memory"),
    ],
)
def test_job_that_misses_its_point_is_named(file: str, told: Story, said: str) -> None:
    complaint = role(file).complaint(told)
    assert complaint is not None
    assert said in complaint
