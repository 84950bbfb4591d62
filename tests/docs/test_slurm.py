"""The page about Slurm names settings and commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scheduler.cli.main import main
from scheduler.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "slurm.md").read_text(encoding="utf-8")
COMMANDS = [line.removeprefix("$ pythia ") for line in PAGE.splitlines() if line.startswith("$ pythia ")]


def test_its_settings_are_those_that_there_are() -> None:
    named = set(re.findall(r"PYTHIA_SLURM_\w+", PAGE))
    assert named == {f"PYTHIA_{name.upper()}" for name in Settings.model_fields if name.startswith("slurm_")}


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_take_their_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shlex.split(command), "--help"]) == 0
    known = capsys.readouterr().out
    assert all(option in known for option in re.findall(r"--[a-z-]+", command))


def test_its_options_of_sbatch_are_read_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.findall(r"`(\[\"--account.*?\])`", PAGE)
    assert shown
    monkeypatch.setenv("PYTHIA_SLURM_OPTIONS", shown[0])
    settings = Settings()
    assert settings.slurm_options[0] == "--account=ml"
    assert settings.environment()["PYTHIA_SLURM_OPTIONS"].startswith('["--account=ml", ')
