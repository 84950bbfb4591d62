"""`pythia import-observations` converts here, sends what may be sent, and names every line that may not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from predictor.importers.formats import NAMES
from scheduler.cli import client, observations
from scheduler.cli.main import main
from tests.predictor.importers.result_files import peft_result, serving_result

ROW = {
    "id": "a",
    "source": "lab",
    "workload": {"type": "custom", "kind": "resnet"},
    "gpu_type": "CPU",
    "outcome": "completed",
    "simulated": False,
    "runtime_s": 3.0,
}


class RecordingServer:
    """Takes what is posted and refuses the rows it was told to."""

    def __init__(self) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.refuses: set[str] = set()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == "/v1/observations:import"
        rows = body["observations"]
        self.batches.append(rows)
        refused = [{"index": n, "error": "not here"} for n, row in enumerate(rows) if row["id"] in self.refuses]
        return {"imported": len(rows) - len(refused), "known": 0, "refused": refused}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> RecordingServer:
    recording = RecordingServer()

    @contextmanager
    def connect() -> Iterator[RecordingServer]:
        yield recording

    monkeypatch.setattr(client, "connect", connect)
    return recording


def a_file(tmp_path: Path, content: object, name: str = "result.json") -> str:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_result_file_is_converted_and_sent(
    server: RecordingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-observations", a_file(tmp_path, peft_result())]) == 0
    assert [row["source"] for row in server.batches[0]] == ["hf-peft", "hf-peft"]
    assert "2 observations imported, 0 known before, 0 refused" in capsys.readouterr().out


def test_lines_that_reader_or_server_refuse_are_named_and_the_rest_goes_in(
    server: RecordingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.refuses = {"b"}
    lines = [json.dumps(ROW), "{oops", json.dumps(ROW | {"id": "b"}), json.dumps(ROW | {"id": "c"})]
    assert main(["import-observations", a_file(tmp_path, "\n".join(lines), "rows.jsonl"), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["imported"] == 2
    assert [one["line"] for one in said["refused"]] == [2, 3]


def test_many_rows_go_in_batches_and_keep_their_lines(
    server: RecordingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(observations, "_BATCH", 2)
    server.refuses = {"4"}
    lines = "\n".join(json.dumps(ROW | {"id": str(number)}) for number in range(5))
    assert main(["import-observations", a_file(tmp_path, lines, "rows.jsonl")]) == 1
    assert [len(batch) for batch in server.batches] == [2, 2, 1]
    assert "line 5: not here" in capsys.readouterr().out


def test_a_dry_run_prints_the_rows_and_needs_no_server(
    server: RecordingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--dry-run", "--set", "gpu_type=H100-SXM", "--set", "layout.gpu_count=2"]
    assert main(["import-observations", a_file(tmp_path, serving_result()), *arguments]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["layout"] == {"gpu_count": 2}
    assert "read as vllm-bench" in printed.err
    assert not server.batches


def test_what_is_missing_is_asked_for_with_the_option_that_gives_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-observations", a_file(tmp_path, serving_result()), "--dry-run"]) == 1
    assert "line 1: the file does not say gpu_type; give it with --set gpu_type=H100-SXM" in capsys.readouterr().err


def test_columns_are_mapped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = a_file(tmp_path, "what,card,seconds\nresnet,CPU,3.5\n", "runs.csv")
    arguments = ["--map", "workload.kind=what", "--map", "gpu_type=card", "--map", "runtime_s=seconds"]
    arguments += ["--set", "workload.type=custom", "--set", "layout.gpu_count=1", "--dry-run"]
    assert main(["import-observations", table, *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["runtime_s"] == 3.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "gpu_type"], "not of the form FIELD=…"),
        (["--map", "=x"], "not of the form FIELD=…"),
        (["--format", "excel"], "there is no format 'excel'"),
        (["--set", "gpu=H100-SXM"], "no field of an observation"),
    ],
)
def test_an_argument_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["import-observations", a_file(tmp_path, serving_result()), "--dry-run", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_the_help_names_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-observations", "--help"]) == 0
    help_text = " ".join(capsys.readouterr().out.split())
    assert ", ".join(NAMES) in help_text
