"""The predictor on the command line: lines in, lines out, exit codes, and a bundle from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scheduler.cli.main import main
from tests.predictor.observations import raw_custom

GOOD = {"id": "a", "workload": {"type": "training", "model": "Qwen/Qwen2-7B", "num_steps": 5}, "gpu_type": "H100-SXM"}
BAD = {"id": "b", "workload": {"type": "training", "model": "Qwen/Qwen2-7B"}, "gpu_type": "H100-SXM"}


def write(folder: Path, *items: object) -> str:
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(item) + "\n" for item in items))
    return str(file)


def test_good_lines_answer_and_exit_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", write(tmp_path, GOOD, GOOD | {"id": "c"})]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["id"] for answer in answers] == ["a", "c"]


def test_a_bad_line_is_an_error_in_its_place_and_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", write(tmp_path, GOOD, BAD, GOOD), "--json"]) == 1
    first, bad, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert set(bad) == {"id", "error"}
    assert "num_steps" in bad["error"]
    assert first == last


def test_an_explanation_is_text_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serving = {"type": "inference", "model": "Qwen/Qwen2-7B", "num_requests": 100, "input_length": 900}
    serve = {"id": "s", "workload": serving, "gpu_type": "L40S"}
    custom = {"workload": {"type": "custom", "kind": "unheard", "runtime_s": 30, "vram_gib": 8}, "gpu_type": "L40S"}
    architecture = GOOD | {"workload": GOOD["workload"] | {"model": {"num_parameters": 3e9}}}  # type: ignore[operator]
    assert main(["predict", write(tmp_path, GOOD, BAD, serve, custom, architecture), "--explain"]) == 1
    training, bad, serving_text, custom_text, given = capsys.readouterr().out.strip().split("\n\n")
    assert training.startswith("a  training of Qwen/Qwen2-7B on H100-SXM × 1\n")
    for said in ("arithmetic", "weights", "bottleneck: ", "learned × ", "trusted", "Nearest known jobs by time"):
        assert said in training, said
    assert bad.startswith("b  error: ")
    assert "prefill" in serving_text
    assert "decode" in serving_text
    assert "Begins at  30s by its user, 8.0 GiB by its user" in custom_text
    assert "given architecture" in given
    assert "{" not in training


def test_an_explanation_is_the_line_of_the_contract_and_one_object_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", write(tmp_path, GOOD)]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main(["predict", write(tmp_path, GOOD), "--explain", "--json"]) == 0
    explained = json.loads(capsys.readouterr().out)
    assert set(explained.pop("explanation")) == {"memory", "time"}
    assert explained == plain


def test_what_cannot_be_read_is_one_sentence_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for arguments in ([str(tmp_path / "none.jsonl")], [str(tmp_path)], [str(binary)]):
        assert main(["predict", *arguments]) == 2
    assert main(["predict", write(tmp_path, GOOD), "--bundle", str(tmp_path)]) == 2
    complaints = capsys.readouterr().err.strip().splitlines()
    assert len(complaints) == 4
    assert "holds no bundle" in complaints[-1]


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import io  # noqa: PLC0415

    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(GOOD)))
    assert main(["predict", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "a"


def test_a_bundle_is_trained_from_files_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [raw_custom(3.0 * size, row=size, kind="fit", features={"size": size}) for size in range(1, 13)]
    telemetry = tmp_path / "telemetry"
    telemetry.mkdir()
    (telemetry / "jobs.jsonl").write_text("".join(json.dumps(job) + "\n" for job in [*jobs, {"id": "broken"}]))
    out = tmp_path / "bundle"
    assert main(["train", "--observations", str(telemetry), "--out", str(out), "--quick"]) == 0
    said = capsys.readouterr()
    assert "12 observations" in said.out
    assert "jobs.jsonl line 13" in said.err
    ask = {"id": 1, "workload": {"type": "custom", "kind": "fit", "features": {"size": 8}}, "gpu_type": "CPU"}
    assert main(["predict", write(tmp_path, ask), "--bundle", str(out)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["basis"] == "history"
    assert answer["runtime_s"]["p50"] == pytest.approx(24.0, rel=0.15)


def test_training_on_nothing_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--observations", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no .jsonl" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_grouping_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--observations", str(tmp_path), "--by", "colour"]) == 2
    assert "colour" in capsys.readouterr().err
