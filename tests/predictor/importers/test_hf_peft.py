"""PEFT's comparison gives a row of memory at the longest texts and one of time at the mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.predictor.importers.result_files import peft_result, read, the_reason


def test_a_run_gives_its_memory_at_the_cap_and_its_time_at_the_mean_length(tmp_path: Path) -> None:
    imported = read(tmp_path, peft_result())
    memory, time = imported.rows
    assert imported.format == "hf-peft"
    assert not imported.rejected
    assert (memory["peak_vram_gib"], memory["vram_metric"]) == (21.0, "reserved")
    assert memory["workload"]["sequence_length"] == 768
    assert memory["workload"]["sequence_length_is_cap"]
    assert time["step_time_s"] == 1.5, "the median of 2 s and 1 s a step, evaluation left out"
    assert time["workload"]["sequence_length"] == 200.0
    assert time["workload"]["sequence_length_is_mean"]
    assert memory["id"] != time["id"]


def test_card_method_and_versions_come_from_the_file(tmp_path: Path) -> None:
    row = read(tmp_path, peft_result()).rows[0]
    assert row["gpu_type"] == "L40S"
    assert row["layout"] == {"gpu_count": 1}
    assert row["workload"]["lora_rank"] == 8
    assert row["workload"]["lora_target_modules"] == ["q_proj", "v_proj"]
    assert row["software"]["version"] == "torch 2.9, transformers 5.1, peft 0.19"


def test_older_files_name_memory_and_card_otherwise(tmp_path: Path) -> None:
    old = peft_result()
    old["train_info"]["cuda_memory_max"] = old["train_info"].pop("accelerator_memory_max")
    old["meta_info"]["system_info"] = {"gpu": "NVIDIA L40S"}
    assert read(tmp_path, old).rows[0]["peak_vram_gib"] == 21.0


def test_no_adapter_is_full_training_and_a_missing_section_is_not(tmp_path: Path) -> None:
    full = peft_result(run_info__peft_config=None)
    assert read(tmp_path, full).rows[0]["workload"]["method"] == "full"
    del full["run_info"]["peft_config"]
    assert "no method" in the_reason(read(tmp_path, full))


def test_running_out_of_memory_is_a_result(tmp_path: Path) -> None:
    failed = peft_result(train_info__status="canceled", run_info__error_msg="CUDA out of memory. Tried to allocate")
    (row,) = read(tmp_path, failed).rows
    assert row["outcome"] == "out_of_memory"
    assert "peak_vram_gib" not in row


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train_info__status": "failed"}, "ended as failed"),
        ({"run_info__peft_config__peft_type": "IA3"}, "IA3 is no method"),
        ({"run_info__peft_config__use_dora": True}, "DORA is no method"),
    ],
)
def test_what_is_not_predicted_is_kept_out_with_its_name(tmp_path: Path, change: dict[str, object], said: str) -> None:
    assert said in the_reason(read(tmp_path, peft_result(**change)))


def test_an_unknown_card_is_asked_for_and_taken_when_given(tmp_path: Path) -> None:
    unknown = peft_result(meta_info__system_info__accelerator="NVIDIA A100")
    assert all("--set gpu_type=" in one.reason for one in read(tmp_path, unknown).rejected)
    given = read(tmp_path, unknown, given={"gpu_type": "A100-80GB-SXM"})
    assert {row["gpu_type"] for row in given.rows} == {"A100-80GB-SXM"}
