"""What the page on clouds shows can be done, and the providers that it names are those of the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from scheduler.cli.main import main
from scheduler.exports.names import Engine, sellers
from scheduler.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "clouds.md").read_text(encoding="utf-8")
JOB = re.search(r"\$ cat train\.yaml\n(.*?)\$ pythia", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("engine", list(Engine))
def test_the_shown_job_is_exported(engine: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert JOB is not None
    (tmp_path / "train.yaml").write_text(JOB[1])
    assert main(["export", str(tmp_path / "train.yaml"), "--for", engine, "--offline"]) == 0
    task = yaml.safe_load(capfd.readouterr().out)
    assert task["name"] == "nightly-lora"
    assert "anything" not in str(task), "the token has no value"


@pytest.mark.parametrize("engine", list(Engine))
def test_the_providers_are_those_of_the_table(engine: Engine) -> None:
    said = re.sub(r"\s+", " ", PAGE)
    listed = re.search(rf"{engine}(?: rents)? from (aws[^;.]*)", said, flags=re.IGNORECASE)
    assert listed is not None
    assert set(re.split(r", | and ", listed[1])) == set(sellers(engine))


def test_every_setting_of_the_page_exists_and_every_setting_is_on_the_page() -> None:
    named = set(re.findall(r"PYTHIA_(DSTACK_[A-Z_]+)", PAGE))
    assert {name.lower() for name in named} == {name for name in Settings.model_fields if name.startswith("dstack_")}
