"""MLPerf summaries tell whole systems; what a round does not publish is given for one benchmark at a time."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.predictor.importers.result_files import mlperf_entry, read, the_reason, the_row, training_log

LENGTH = {"llama2-70b:workload.input_length": "294"}

TO_CSV = {
    "Submitter": "Organization", "Platform": "Platform", "UsedModel": "Model", "Model": "MlperfModel",
    "Scenario": "Scenario", "Performance_Result": "Result", "Accuracy": "Accuracy", "Nodes": "number_of_nodes",
    "Accelerator": "accelerator_model_name", "a#": "accelerators_per_node", "Software": "framework",
    "version": "version", "weight_data_types": "weight_data_types", "Performance_Units": "Units",
}  # fmt: skip


def as_csv(*entries: dict[str, object]) -> str:
    written = io.StringIO()
    table = csv.DictWriter(written, fieldnames=list(TO_CSV.values()))
    table.writeheader()
    table.writerows({TO_CSV[name]: value for name, value in entry.items()} for entry in entries)
    return written.getvalue()


def test_an_entry_is_a_batch_over_the_data_set_of_its_benchmark(tmp_path: Path) -> None:
    row = the_row(read(tmp_path, [mlperf_entry()], given=LENGTH))
    assert row["workload"]["model"] == "meta-llama/Llama-2-70b-hf"
    assert row["workload"]["num_requests"] == 24_576
    assert row["workload"]["output_length"] == 290.5
    assert row["workload"]["input_length"] == 294
    assert (row["gpu_type"], row["layout"]) == ("H100-SXM", {"gpu_count": 8})
    assert row["software"] == {"engine": "tensorrt-llm", "version": "TensorRT 10.2.0, CUDA 12.4", "scenario": "offline"}
    assert row["tokens_per_second"] == 20_000
    assert row["source"] == "mlperf-inference-v4.1"


def test_the_cards_of_all_nodes_count(tmp_path: Path) -> None:
    assert the_row(read(tmp_path, [mlperf_entry(Nodes=4)], given=LENGTH))["layout"] == {"gpu_count": 32}


def test_two_accuracy_targets_of_one_run_are_one_measurement(tmp_path: Path) -> None:
    imported = read(tmp_path, [mlperf_entry(), mlperf_entry(Model="llama2-70b-99.9")], given=LENGTH)
    assert len(imported.rows) == 1
    assert imported.rejected[0].reason == "the same run stands above under its other accuracy target"


def test_what_is_given_for_one_benchmark_is_not_taken_for_another(tmp_path: Path) -> None:
    imported = read(tmp_path, [mlperf_entry(), mlperf_entry(Model="llama3.1-8b", Scenario="Server")], given=LENGTH)
    assert len(imported.rows) == 1
    assert "--set llama3.1-8b:workload.input_length=" in imported.rejected[0].reason


def test_a_rejected_entry_is_named_by_the_line_it_begins_on(tmp_path: Path) -> None:
    broken = mlperf_entry(Accelerator="NVIDIA H100", Performance_Result=1.0)
    imported = read(tmp_path, [mlperf_entry(), broken], given=LENGTH)
    assert [one.line for one in imported.rejected] == [len(mlperf_entry()) + 4]
    assert "gpu_type" in imported.rejected[0].reason


def test_a_benchmark_without_tokens_is_a_custom_job_of_a_thousand_samples(tmp_path: Path) -> None:
    vision = mlperf_entry(Model="resnet", Performance_Result=50_000.0, Performance_Units="Samples/s")
    row = the_row(read(tmp_path, [vision]))
    assert row["workload"]["kind"] == "mlperf-inference-resnet"
    assert row["runtime_s"] == 0.02


def test_a_latency_is_no_throughput(tmp_path: Path) -> None:
    assert "Latency (ms)" in the_reason(read(tmp_path, [mlperf_entry(Performance_Units="Latency (ms)")], given=LENGTH))


def test_early_rounds_of_gptj_counted_samples(tmp_path: Path) -> None:
    early = mlperf_entry(Model="gptj-99", version="v3.1", Performance_Units="Samples/s")
    assert "counted samples, not tokens" in the_reason(read(tmp_path, [early]))


def test_the_csv_of_a_submission_says_the_same_as_the_json(tmp_path: Path) -> None:
    from_json = the_row(read(tmp_path, [mlperf_entry()], given=LENGTH))
    entry = mlperf_entry(Performance_Units="Samples/s") | {"a#": 8}  # the checker's CSV calls tokens samples
    from_csv = the_row(read(tmp_path, as_csv(entry), "summary.csv", given=LENGTH))
    assert {**from_csv, "id": ""} == {**from_json, "id": ""}


def test_a_training_log_gives_the_time_of_a_step_without_evaluation(tmp_path: Path) -> None:
    given = {"gpu_type": "MI300X", "layout.gpu_count": 8, "workload.micro_batch_size": 1}
    imported = read(tmp_path, training_log(), "result_0.txt", given=given)
    row = the_row(imported)
    assert imported.format == "mlperf-training"
    assert imported.lines == (2,)
    assert row["step_time_s"] == pytest.approx(15.0 / 12)
    assert row["workload"]["model"] == "meta-llama/Llama-2-70b-hf"
    assert row["workload"]["lora_rank"] == 16
    assert row["workload"]["sequence_length"] == 8192
    assert row["source"] == "mlperf-training-acme"


def test_a_log_says_its_sequence_length_and_cards_where_it_can(tmp_path: Path) -> None:
    log = training_log("llama31_8b", max_sequence_length=4096, number_of_nodes=2, accelerators_per_node=8)
    row = the_row(read(tmp_path, log, "r.txt", given={"gpu_type": "B200", "workload.micro_batch_size": 1}))
    assert row["workload"]["sequence_length"] == 4096
    assert row["layout"] == {"gpu_count": 16}
    assert "lora_rank" not in row["workload"]


def test_a_log_asks_for_what_it_does_not_say(tmp_path: Path) -> None:
    assert "does not say gpu_type" in the_reason(read(tmp_path, training_log(), "r.txt"))


def test_a_log_of_another_benchmark_is_a_custom_job(tmp_path: Path) -> None:
    row = the_row(read(tmp_path, training_log("rgat"), "r.txt", given={"gpu_type": "B200", "layout.gpu_count": 8}))
    assert row["workload"]["kind"] == "mlperf-training-rgat"
    assert row["runtime_s"] == 15.0


def test_an_unreadable_log_line_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    log = training_log("rgat") + "\n:::MLLOG {broken"
    imported = read(tmp_path, log, "r.txt", given={"gpu_type": "B200", "layout.gpu_count": 8})
    assert len(imported.rows) == 1
    assert imported.rejected[0].line == len(log.split("\n"))


def test_a_summary_gives_custom_jobs_and_asks_for_the_size_of_language_models(tmp_path: Path) -> None:
    table = (
        "division,submitter,system,number_of_nodes,accelerator_model_name,accelerators_count,framework,resnet,"
        "llama2_70b_lora,details_url\n"
        "closed,Acme,acme8,1,NVIDIA H100-SXM5-80GB (700W),8,PyTorch 2.9,12.5,28.0,https://example.org\n"
    )
    imported = read(tmp_path, table, "summary.csv")
    row = imported.rows[0]
    assert row["workload"]["kind"] == "mlperf-training-resnet"
    assert row["runtime_s"] == 750.0
    assert [one.line for one in imported.rejected] == [2]
    size = {"llama2_70b_lora:workload.num_samples": 3072, "llama2_70b_lora:workload.global_batch_size": 8}
    whole = read(tmp_path, table, "summary.csv", given=size | {"llama2_70b_lora:workload.micro_batch_size": 1})
    assert [row["runtime_s"] for row in whole.rows] == [750.0, 1680.0]
    assert not whole.rejected


def test_a_cell_of_a_benchmark_that_is_no_time_is_named_and_the_rest_goes_in(tmp_path: Path) -> None:
    table = (
        "division,submitter,system,accelerator_model_name,accelerators_count,framework,rack,resnet,bert\n"
        "closed,Acme,a,NVIDIA H100-SXM5-80GB,8,PyTorch 2.9,north,12.5,5.0\n"
        "closed,Acme,b,NVIDIA H100-SXM5-80GB,8,PyTorch 2.9,south,oops,6.0\n"
        "closed,Acme,c,NVIDIA H100-SXM5-80GB,8,PyTorch 2.9,north,,\n"
    )
    imported = read(tmp_path, table, "summary.csv")
    assert [row["runtime_s"] for row in imported.rows] == [750.0, 300.0, 360.0]
    assert [(one.line, one.reason.split(":")[0]) for one in imported.rejected] == [
        (3, "resnet"),
        (4, "the row has no time to converge in any benchmark's column"),
    ]


def test_a_result_that_is_no_number_is_called_that(tmp_path: Path) -> None:
    entry = mlperf_entry(Performance_Result="n/a", Model="bert-99")
    assert the_reason(read(tmp_path, [entry])) == "bert: the result 'n/a' is no number above 0"
