"""Logs tell time and memory; what ran is given, and what a reading means is kept apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from predictor.importers.draft import InvalidResults
from tests.predictor.importers.result_files import read, the_reason, the_row

RAN = {
    "gpu_type": "H100-SXM",
    "layout.gpu_count": "8",
    "workload.model": "meta-llama/Llama-3.1-8B",
    "workload.method": "full",
    "workload.precision": "bf16",
    "workload.sequence_length": "4096",
    "workload.micro_batch_size": "1",
    "workload.global_batch_size": "32",
}

STATE = {
    "global_step": 100,
    "train_batch_size": 2,
    "log_history": [
        {"loss": 1.5, "step": 50},
        {"eval_loss": 1.4, "eval_runtime": 20.0, "step": 50},
        {"train_runtime": 220.0, "train_samples_per_second": 1.0, "train_steps_per_second": 0.5, "step": 100},
    ],
}


def test_the_trainers_state_gives_the_time_of_a_step_without_evaluation(tmp_path: Path) -> None:
    given = {name: value for name, value in RAN.items() if name != "workload.micro_batch_size"}
    imported = read(tmp_path, STATE, "trainer_state.json", given=given)
    assert imported.format == "hf-trainer"
    assert the_row(imported)["step_time_s"] == 2.0
    assert the_row(imported)["workload"]["micro_batch_size"] == 2


def test_memory_stages_of_the_trainer_add_up_to_allocated_bytes(tmp_path: Path) -> None:
    stages = {
        "train_runtime": 100.0,
        "train_steps_per_second": 0.5,
        "before_init_mem_gpu": 2 * 2**30,
        "init_mem_gpu_alloc_delta": 14 * 2**30,
        "train_mem_gpu_alloc_delta": 8 * 2**30,
        "train_mem_gpu_peaked_delta": 6 * 2**30,
    }
    row = the_row(read(tmp_path, stages, "train_results.json", given=RAN))
    assert (row["peak_vram_gib"], row["vram_metric"], row["step_time_s"]) == (30.0, "allocated", 2.0)


def test_a_training_that_went_on_counts_only_its_own_steps(tmp_path: Path) -> None:
    resumed = {"log_history": [{"train_runtime": 500.0, "step": 100}, {"train_runtime": 30.0, "step": 130}]}
    assert the_row(read(tmp_path, resumed, given=RAN))["step_time_s"] == 1.0


@pytest.mark.parametrize("missing", sorted(set(RAN) - {"workload.precision"}))
def test_whatever_decides_time_or_memory_is_asked_for(tmp_path: Path, missing: str) -> None:
    given = {name: value for name, value in RAN.items() if name != missing}
    assert f"does not say {missing}; give it with --set" in the_reason(
        read(tmp_path, {"log_history": [{"train_runtime": 30.0, "step": 10}]}, given=given)
    )


def test_an_unfinished_training_is_no_measurement(tmp_path: Path) -> None:
    assert "did not finish" in the_reason(read(tmp_path, {"log_history": [{"loss": 1.0, "step": 5}]}, given=RAN))


MEGATRON = """\
[Rank 0] (after 9 iterations) memory (MB) | allocated: 9.0 | max allocated: 51200.0 | max reserved: 53248.0
[Rank 1] (after 9 iterations) memory (MB) | allocated: 9.0 | max allocated: 40960.0 | max reserved: 43008.0
 iteration       10/     100 | elapsed time per iteration (ms): 9000.0 | global batch size:    64 |
 iteration       20/     100 | elapsed time per iteration (ms): 1500.0 | global batch size:    64 |
 iteration       30/     100 | elapsed time per iteration (ms): 1700.0 | global batch size:    64 |
"""


def test_a_megatron_log_keeps_reserved_and_allocated_of_the_fullest_rank_apart(tmp_path: Path) -> None:
    given = {name: value for name, value in RAN.items() if name != "workload.global_batch_size"}
    imported = read(tmp_path, MEGATRON, "train.log", given=given)
    row = the_row(imported)
    assert imported.format == "torch-log"
    assert (row["peak_vram_gib"], row["vram_metric"], row["peak_allocated_gib"]) == (52.0, "reserved", 50.0)
    assert row["step_time_s"] == pytest.approx(1.6), "the first step is warm-up"
    assert row["workload"]["global_batch_size"] == 64


def test_torchtitan_counts_the_tokens_of_one_gpu(tmp_path: Path) -> None:
    log = (
        "step:  1  loss: 12.2  memory: 30.00GiB(38%)  tps: 300  mfu: 2%\n"
        "step: 10  loss:  9.1  memory: 36.50GiB(46%)  tps: 6,100  mfu: 31%\n"
        "step: 20  loss:  8.7  memory: 36.50GiB(46%)  tps: 6,300  mfu: 32%\n"
    )
    row = the_row(read(tmp_path, log, "titan.log", given=RAN))
    assert row["tokens_per_second"] == 8 * 6200
    assert (row["peak_vram_gib"], row["vram_metric"]) == (36.5, "reserved")


def test_a_vision_log_is_a_custom_job_with_its_whole_time(tmp_path: Path) -> None:
    log = (
        "Epoch: [0]  [  0/529]  eta: 0:09  loss: 0.06 (0.06)  time: 1.0945  data: 0.3007  max mem: 2048\n"
        "Epoch: [0]  [100/529]  eta: 0:05  loss: 0.05 (0.05)  time: 0.5000  data: 0.0007  max mem: 4096\n"
        "Training time 1:02:03\n"
    )
    custom = {"gpu_type": "RTX4090", "layout.gpu_count": 1, "workload.type": "custom", "workload.kind": "detector"}
    row = the_row(read(tmp_path, log, "detector.log", given=custom))
    assert row["workload"] == {"type": "custom", "kind": "detector"}
    assert (row["runtime_s"], row["peak_vram_gib"], row["vram_metric"]) == (3723.0, 4.0, "allocated")


def test_the_trainers_console_line_is_read(tmp_path: Path) -> None:
    log = "{'loss': 1.2, 'epoch': 0.5}\n{'train_runtime': '200.0', 'train_steps_per_second': '0.25', 'epoch': 1.0}\n"
    assert the_row(read(tmp_path, log, "console.log", given=RAN))["step_time_s"] == 4.0


@pytest.mark.parametrize(
    ("line", "gib", "metric"),
    [
        ("cuda max memory allocated (MB): 20480", 20.0, "allocated"),
        ("Max memory allocated: 20.5 GB", 20.5, "allocated"),
        ("torch.cuda.max_memory_reserved: 22548578304 bytes", 21.0, "reserved"),
        ("eta: 0:10:00 iter: 19 max_mem: 5120M", 5.0, "allocated"),
    ],
)
def test_memory_lines_say_their_unit_and_their_metric(tmp_path: Path, line: str, gib: float, metric: str) -> None:
    row = the_row(read(tmp_path, line, "run.log", given=RAN))
    assert (row["peak_vram_gib"], row["vram_metric"]) == (gib, metric)


def test_running_out_of_memory_is_a_result_without_a_value(tmp_path: Path) -> None:
    log = "max memory allocated (MB): 70000\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n"
    assert the_row(read(tmp_path, log, "run.log", given=RAN))["outcome"] == "out_of_memory"


def test_a_memory_without_a_unit_is_no_reading(tmp_path: Path) -> None:
    with pytest.raises(InvalidResults, match="not recognised"):
        read(tmp_path, "memory: 5 apples\n", "run.log", given=RAN)
