"""Job files are read as people write them, and refused with the line that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from predictor.facts import datasets_dir
from scheduler.cli.job_file import read_job_file
from scheduler.domain.errors import InvalidSpec
from scheduler.domain.spec import parse_job_spec


def written(folder: Path, text: str) -> str:
    path = folder / "job.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("path", sorted((datasets_dir() / "demo").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_valid_spec_with_a_command(path: Path) -> None:
    assert parse_job_spec(read_job_file(str(path))).run is not None


def test_time_stays_text_so_that_the_spec_reads_its_zone(tmp_path: Path) -> None:
    raw = read_job_file(written(tmp_path, "constraints: {deadline: 2026-12-01T06:00:00Z}"))
    assert raw["constraints"]["deadline"] == "2026-12-01T06:00:00Z"


def test_model_may_be_a_config_json_beside_the_job(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 4096}))
    raw = read_job_file(written(tmp_path, "workload: {type: training, model: config.json}"))
    assert raw["workload"]["model"] == {"hidden_size": 4096}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nname: b\n", "twice"),
        ("name: [1\n", "line 2"),
        ("- a list\n", "must be a mapping"),
        ("just words", "must be a mapping"),
        ("!!python/object/apply:os.system ['true']", "constructor"),
        ("workload: {model: missing.json}", "missing.json"),
        ("a: 2026-99-99\nb: *nowhere", "line 2"),
    ],
)
def test_unreadable_file_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        read_job_file(written(tmp_path, text))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_binary_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="No such file"):
        read_job_file(str(tmp_path / "none.yaml"))
    (tmp_path / "photo").write_bytes(b"\xff\xd8\xff\x00")
    with pytest.raises(InvalidSpec, match="UTF-8"):
        read_job_file(str(tmp_path / "photo"))
