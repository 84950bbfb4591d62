"""What the demo demands at its end, and its tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scheduler.demo.cast import ROLES, RUNS, Story
from scheduler.demo.play import demand
from scheduler.demo.tables import first_and_last, learning, summary
from scheduler.demo.watch import DemoFailed
from tests.demo.stories import attempt, refused, run, story
from tests.scheduler.cli.decisions import forecast


def good_stories() -> list[Story]:
    """Every role's job as it should be."""
    crash = attempt(outcome="out_of_memory", forecast=forecast(usable_vram_gib=45.0))
    special = {"06": refused("vram"), "07": refused("deadline"), "08": story(attempts=[crash, attempt()])}
    return [special.get(role.file[:2], story()) for role in ROLES]


def good_runs() -> list[Story]:
    """Twelve runs, of which all but the first are forecast from history."""
    return [run("stated", 20.0, 1.0), *(run("history", 1.1, 1.0) for _ in range(RUNS - 1))]


def test_what_was_promised_is_no_failure() -> None:
    demand(good_stories(), good_runs())


def _unmarked(stories: list[Story], runs: list[Story]) -> None:
    stories[0] = story(attempts=[attempt(simulated=False)])


def _marked(stories: list[Story], runs: list[Story]) -> None:
    runs[3].attempts[0].update(simulated=True)  # type: ignore[attr-defined]


def _never_learned(stories: list[Story], runs: list[Story]) -> None:
    runs[-1] = run("stated", 20.0, 1.0)


def _no_better(stories: list[Story], runs: list[Story]) -> None:
    runs[-1] = run("history", 40.0, 1.0)


def _failed(stories: list[Story], runs: list[Story]) -> None:
    stories[1] = story(job={"state": "failed"})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_unmarked, "not marked"),
        (_marked, "marked as simulated"),
        (_never_learned, "not stated and history"),
        (_no_better, "no better"),
        (_failed, "expected completed"),
    ],
)
def test_broken_promise_fails_the_demo_with_a_sentence(
    spoil: Callable[[list[Story], list[Story]], None], said: str
) -> None:
    stories, runs = good_stories(), good_runs()
    spoil(stories, runs)
    with pytest.raises(DemoFailed, match=said):
        demand(stories, runs)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_summary_puts_prediction_beside_measurement_and_choice_beside_naive() -> None:
    lines = summary([story()])
    assert cells(lines[1]) == [
        "lora", "H100-SXM × 1", "verda FIN-01", "58.1 .. 63.4", "59.0", "3h10 .. 3h55", "3h20", "10.60", "21.00",
        "10.80 s", "completed", "1",
    ]  # fmt: skip


def test_summary_names_what_ruled_a_refused_job_out() -> None:
    assert "infeasible: deadline" in summary([refused("deadline")])[1]


def test_summary_adds_up_the_jobs_that_asked_for_the_least_cost() -> None:
    hurried: dict[str, Any] = {**story().decisions[0], "objective": "time"}
    last = summary([story(), story(), story(decisions=[hurried])])[-1]
    assert last == "Together: $21.20 chosen, $42.00 naive, over the 2 placed jobs that asked for the least cost."


def test_learning_shows_where_each_forecast_came_from_and_how_far_off_it_was() -> None:
    rows = [cells(line) for line in learning([run("stated", 20.0, 1.0), run("history", 1.1, 1.0)])[1:]]
    assert rows[0][1:] == ["what its user said", "10s .. 40s", "20s", "1.0s", "1,900 %"]
    assert rows[1][1:] == ["earlier runs", "0.6s .. 2.2s", "1.1s", "1.0s", "10 %"]


def test_first_and_last_run_stand_side_by_side() -> None:
    first, last = first_and_last(good_runs())
    assert first.startswith("run 1   forecast 20s")
    assert last.startswith("run 12  forecast 1.1s")
    assert "from 11 earlier runs, took 1.0s: off by 10 %" in last
