"""`pythia evaluate` prints what was missed, and writes a report where it is asked to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from predictor.evaluation import scores
from predictor.features import Task
from predictor.learned import growing
from predictor.learned.boosting import Boosting
from tests.predictor.observations import raw_training
from tests.scheduler.cli.conftest import Pythia


@pytest.fixture
def observations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty settings, enough to be held out, and trees few enough to be grown in a test."""
    few = Boosting(trees=3, leaves=3)
    monkeypatch.setattr(growing, "SETTINGS", {task: growing.Settings(habits=few, particulars=few) for task in Task})
    monkeypatch.setitem(scores.FOLDS, "configuration", 2)
    workload = raw_training()["workload"]
    rows = [
        raw_training(
            id=f"lab/{row}", source=f"lab{row % 2}", workload=workload | {"sequence_length": 128 * (row + 1)},
            step_time_s=0.05 * (row + 1), peak_vram_gib=16.0 + 0.4 * row,
        )
        for row in range(40)
    ]  # fmt: skip
    path = tmp_path / "observations.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_report_is_a_page_and_its_figures(pythia: Pythia, observations: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = pythia(
        "evaluate", "--observations", str(observations), "--by", "configuration", "--report", str(out), "--quick",
        "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert f"wrote {out / 'report.html'} and {out / 'report.json'}" in said.err
    figures = json.loads((out / "report.json").read_text())
    assert figures["scores"] == said.json
    assert figures["sources"] == {"lab0": 20, "lab1": 20}
    assert figures["ablations"] == figures["learning_curve"] == []
    assert "<h1>How well Pythia forecasts 40 observations</h1>" in (out / "report.html").read_text()


def test_a_report_is_not_written_over_a_file(pythia: Pythia, observations: Path) -> None:
    said = pythia("evaluate", "--observations", str(observations), "--report", str(observations))
    assert said.code == 2
    assert "is a file; name a folder" in said.err


def test_an_unknown_way_of_holding_out_is_refused(pythia: Pythia, observations: Path) -> None:
    said = pythia("evaluate", "--observations", str(observations), "--by", "colour")
    assert said.code == 2
    assert "--by colour is unknown" in said.err
