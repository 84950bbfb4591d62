"""vLLM's benchmarks tell requests, lengths and time; card, split and precision are given, and memory never counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.predictor.importers.result_files import read, serving_result, the_reason, the_row

ONE_H100 = {"gpu_type": "H100-SXM", "layout.gpu_count": "1"}
OFFLINE = {"elapsed_time": 50.0, "num_requests": 100, "total_num_tokens": 64_000, "tokens_per_second": 1280.0}


def test_a_served_run_is_a_batch_of_mean_lengths(tmp_path: Path) -> None:
    row = the_row(read(tmp_path, serving_result(), given=ONE_H100))
    workload = row["workload"]
    assert (workload["input_length"], workload["output_length"]) == (512.0, 128.0)
    assert (workload["num_requests"], workload["max_batch_size"], workload["engine"]) == (100, 32, "vllm")
    assert row["runtime_s"] == 20.0
    assert row["tokens_per_second"] == 640.0
    assert workload["precision_unstated"]
    assert "precision" not in workload


def test_what_metadata_says_of_the_split_is_used(tmp_path: Path) -> None:
    row = the_row(read(tmp_path, serving_result(tensor_parallel_size="4"), given={"gpu_type": "H100-SXM"}))
    assert row["layout"] == {"tensor_parallel": 4, "pipeline_parallel": 1, "data_parallel": 1, "gpu_count": 4}


def test_a_given_precision_is_no_longer_unstated(tmp_path: Path) -> None:
    row = the_row(read(tmp_path, serving_result(), given=ONE_H100 | {"workload.precision": "fp8"}))
    assert row["workload"]["precision"] == "fp8"
    assert "precision_unstated" not in row["workload"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"request_rate": 4.0}, "arrived at 4.0/s"),
        ({"completed": 0}, "no request was completed"),
        ({"completed": 10, "failed": 990, "num_prompts": 1000, "duration": 600.0}, "990 of 1000 requests failed"),
        ({"completed": 98, "failed": 2, "num_prompts": None}, "2 of 100 requests failed"),
        ({"completed": 60}, "40 of 100 requests failed"),
        ({"backend": "openai"}, "--set workload.engine="),
        ({"total_output_tokens": None}, "tokens are missing"),
        ({"model_id": "served-name"}, "served-name"),
    ],
)
def test_a_run_that_does_not_tell_the_servers_speed_is_kept_out(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    assert said in the_reason(read(tmp_path, serving_result(**change), given=ONE_H100))


def test_appended_results_are_read_line_by_line_past_a_broken_one(tmp_path: Path) -> None:
    lines = [json.dumps(serving_result()), '{"duration": 1', json.dumps(serving_result(duration=40.0))]
    imported = read(tmp_path, "\n".join(lines), given=ONE_H100)
    assert [row["runtime_s"] for row in imported.rows] == [20.0, 40.0]
    assert imported.lines == (1, 3)
    assert [one.line for one in imported.rejected] == [2]


def test_an_offline_run_needs_one_length_and_finds_the_other(tmp_path: Path) -> None:
    given = ONE_H100 | {"workload.model": "meta-llama/Llama-3.1-8B", "workload.output_length": "128"}
    row = the_row(read(tmp_path, OFFLINE, given=given))
    assert row["workload"]["input_length"] == 512.0
    assert row["tokens_per_second"] == 256.0, "generated tokens, where the file counts all"
    assert "--set workload.input_length" in the_reason(
        read(tmp_path, OFFLINE, given=given | {"workload.output_length": ""})
    )


def test_given_lengths_that_contradict_the_count_are_refused(tmp_path: Path) -> None:
    given = ONE_H100 | {"workload.model": "meta-llama/Llama-3.1-8B"}
    wrong = given | {"workload.output_length": 128, "workload.input_length": 1024}
    assert "640 tokens a request, 1152 were given" in the_reason(read(tmp_path, OFFLINE, given=wrong))


def test_memory_that_an_engine_grabbed_is_never_a_need(tmp_path: Path) -> None:
    given = ONE_H100 | {"peak_vram_gib": 72.0, "vram_metric": "driver"}
    assert the_row(read(tmp_path, serving_result(), given=given))["vram_metric"] == "preallocated"
