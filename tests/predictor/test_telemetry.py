"""Observations are read strictly, one by one: what is good goes in, what is not is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from predictor.architectures.catalogue import load_models
from predictor.errors import InvalidFacts, PythiaError
from predictor.features import Task
from predictor.hardware import load_gpu_types
from predictor.learned.samples import every_sample
from predictor.telemetry import Outcome, Simulated, other_readings
from predictor.telemetry_files import read_telemetry
from predictor.words import VramMetric
from tests.predictor.observations import observe, raw_custom, raw_training


def test_a_run_is_a_question_with_its_answer() -> None:
    seen = observe(raw_training())
    assert (seen.peak_vram_gib, seen.step_time_s, seen.outcome) == (21.5, 0.8, Outcome.COMPLETED)
    assert seen.question.vram_metric is VramMetric.RESERVED
    assert seen.question.gpu.name == "A100-80GB-SXM"


def test_tokens_per_second_is_a_step_time() -> None:
    seen = observe(raw_training(step_time_s=None, tokens_per_second=4096.0))
    assert seen.step_time_s == pytest.approx(0.5)


def test_generated_tokens_per_second_is_a_runtime() -> None:
    workload = {"type": "inference", "model": "Qwen/Qwen2-7B", "num_requests": 10, "output_length": 50}
    seen = observe(raw_training(workload=workload, step_time_s=None, peak_vram_gib=None, tokens_per_second=100.0))
    assert seen.runtime_s == pytest.approx(5.0)


def test_a_run_out_of_memory_is_a_lower_bound_and_no_value() -> None:
    seen = observe(raw_training(outcome="out_of_memory", peak_vram_gib=None, step_time_s=None))
    assert seen.peak_vram_gib is None
    assert seen.vram_lower_bound_gib == seen.question.gpu.usable_gib


def test_what_an_engine_grabbed_up_front_is_not_its_need() -> None:
    grabbed = observe(raw_training(vram_metric="preallocated", peak_allocated_gib=18.0))
    assert grabbed.peak_vram_gib is None
    assert other_readings(grabbed) == ()


def test_a_further_reading_is_an_observation_of_its_own() -> None:
    (second,) = other_readings(observe(raw_training(peak_allocated_gib=18.0)))
    assert (second.peak_vram_gib, second.question.vram_metric, second.step_time_s) == (18.0, VramMetric.ALLOCATED, None)
    both = raw_training(peak_allocated_gib=18.0, peak_reserved_gib=19.5, vram_metric="driver")
    assert [(one.question.vram_metric, one.peak_vram_gib) for one in other_readings(observe(both))] == [
        (VramMetric.ALLOCATED, 18.0),
        (VramMetric.RESERVED, 19.5),
    ]


@pytest.mark.parametrize("metric", ["reserved", "preallocated"])
def test_what_the_allocator_reserved_is_read_once_and_never_of_an_engine_that_grabs_the_card(metric: str) -> None:
    assert other_readings(observe(raw_training(peak_reserved_gib=19.5, vram_metric=metric))) == ()


def test_what_a_host_measured_teaches_nothing_of_cards() -> None:
    on_host, on_card = (observe(raw_training(gpu_type=gpu, peak_allocated_gib=18.0)) for gpu in ("CPU", "L40S"))
    for task in Task:
        assert len(every_sample(task, [on_host])) == 0
    assert len(every_sample(Task.TRAINING_TIME, [on_host, on_card])) == 1
    assert len(every_sample(Task.TRAINING_MEMORY, [on_host, on_card])) == 2


def test_memory_of_the_last_stage_is_marked_only_where_there_are_stages() -> None:
    assert not observe(raw_training(rank="last")).last_rank_only
    assert observe(raw_training(rank="last", layout={"gpu_count": 2, "pipeline_parallel": 2})).last_rank_only


def test_repeats_share_a_configuration_whatever_their_software_version() -> None:
    one = observe(raw_training(id="a", software={"engine": "transformers", "version": "4.40"}))
    other = observe(raw_training(id="b", software={"engine": "transformers", "version": "5.0"}, peak_vram_gib=30.0))
    assert one.configuration == other.configuration


@pytest.mark.parametrize(
    "changed",
    [
        {"gpu_type": "H100-SXM"},
        {"layout": {"gpu_count": 2, "tensor_parallel": 2}},
        {"workload": raw_training()["workload"] | {"sequence_length": 4096}},
    ],
)
def test_another_setting_is_another_configuration(changed: dict[str, Any]) -> None:
    assert observe(raw_training(**changed)).configuration != observe(raw_training()).configuration


def test_an_architecture_without_an_id_belongs_to_its_source() -> None:
    shape = {"num_parameters": 1_000_000_000}
    assert observe(raw_training(workload=raw_training()["workload"] | {"model": shape})).family == "site"
    assert observe(raw_training()).family != "site"


def test_a_simulated_run_is_refused() -> None:
    with pytest.raises(Simulated, match="simulated"):
        observe(raw_training(simulated=True))


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"simulated": None}, "simulated"),
        ({"outcome": "failed"}, "outcome"),
        ({"peak_vram_gib": -1.0}, "peak_vram_gib"),
        ({"peak_vram_gib": float("nan")}, "peak_vram_gib"),
        ({"peak_vram_gib": 500.0}, "more than"),
        ({"step_time_s": 0.0}, "step_time_s"),
        ({"peak_vram_gib": None, "step_time_s": None}, "measures nothing"),
        ({"gpu_type": "H100"}, "variants"),
        ({"layout": {"gpu_count": 3, "tensor_parallel": 2}}, "layout"),
        ({"workload": {"type": "training"}}, "workload"),
        ({"id": ""}, "id"),
    ],
)
def test_what_cannot_be_true_is_refused_with_its_reason(changed: dict[str, Any], word: str) -> None:
    with pytest.raises(PythiaError, match=word):
        observe(raw_training(**changed))


def test_bad_lines_are_named_and_the_rest_goes_in(tmp_path: Path) -> None:
    lines = [json.dumps(raw_training(id="a")), "not json", "[1]", "", json.dumps(raw_training(id="b", simulated=True))]
    (tmp_path / "one.jsonl").write_text("\n".join(lines))
    with gzip.open(tmp_path / "two.jsonl.gz", "wt") as stream:
        stream.write(json.dumps(raw_custom(3.0)) + "\n" + json.dumps(raw_training(id="a")) + "\n")
    (tmp_path / "notes.txt").write_text("no telemetry")
    reading = read_telemetry(tmp_path, load_models(), load_gpu_types())
    assert [seen.id for seen in reading.observations] == ["a", "site/custom-0"]
    assert [(line.file, line.line) for line in reading.rejected] == [
        ("one.jsonl", 2),
        ("one.jsonl", 3),
        ("one.jsonl", 5),
        ("two.jsonl.gz", 2),
    ]


def test_sources_name_their_rows_as_they_please(tmp_path: Path) -> None:
    rows = [raw_training(id="1", source=source) for source in ("lab", "plant", "lab")]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    reading = read_telemetry(tmp_path, load_models(), load_gpu_types())
    assert [(seen.source, seen.id) for seen in reading.observations] == [("lab", "1"), ("plant", "1")]
    assert [line.why for line in reading.rejected] == ["id 1 of lab was already read"]


def test_a_damaged_archive_is_reported_and_does_not_stop_the_reading(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(raw_training()).encode())[:-9])
    (tmp_path / "b.jsonl").write_text(json.dumps(raw_training(id="b")))
    reading = read_telemetry(tmp_path, load_models(), load_gpu_types())
    assert "b" in [seen.id for seen in reading.observations]
    assert [line.file for line in reading.rejected] == ["a.jsonl.gz"]


def test_a_folder_without_telemetry_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidFacts, match=r"no \.jsonl"):
        read_telemetry(tmp_path, load_models(), load_gpu_types())
    with pytest.raises(InvalidFacts, match="does not exist"):
        read_telemetry(tmp_path / "nowhere", load_models(), load_gpu_types())
