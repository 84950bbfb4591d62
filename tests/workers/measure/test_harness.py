"""Ladders are climbed to the first out-of-memory, within the time box, and never twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from predictor.architectures.catalogue import load_models
from predictor.features import Task
from predictor.hardware import load_gpu_types
from predictor.learned.samples import every_sample
from predictor.telemetry import read_observation
from workers.measure import __main__ as command
from workers.measure.cases import Case, Ladder, ladders
from workers.measure.devices import BUSY_GIB, BusyGpu, check_idle, first_visible, gpu_type_of
from workers.measure.harness import CaseServer, Device, MeasuringEnded, Tally, measure, observation

CARD = Device("cuda", "H200-SXM", 140.4)


class FakeGpu:
    """Holds a given batch, and takes a second for each case."""

    def __init__(self, largest_batch: int) -> None:
        self.largest_batch = largest_batch
        self.ran: list[Case] = []
        self.now = 0.0

    def __call__(self, case: Case, device: str, seconds: float) -> Mapping[str, Any]:
        self.ran.append(case)
        self.now += min(1.0, seconds)
        batch = case.workload.get("micro_batch_size") or case.workload["max_batch_size"]
        assert isinstance(batch, int)
        if batch > self.largest_batch:
            return {"outcome": "out_of_memory"}
        return {"outcome": "completed", "step_time_s": 0.5, "driver_growth_gib": 10.0, "context_free_gib": 140.0}

    def clock(self) -> float:
        return self.now


def climb(gpu: FakeGpu, grid: list[Ladder], out: Path, minutes: float = 1e6) -> Tally:
    return measure(grid, CARD, out, minutes=minutes, say=lambda _: None, runner=gpu, clock=gpu.clock)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_ladder_ends_with_its_first_out_of_memory(tmp_path: Path) -> None:
    grid = ladders(cpu=False, seed=1)[:20]
    gpu = FakeGpu(largest_batch=4)
    tally = climb(gpu, grid, tmp_path / "o.jsonl")
    assert tally.out_of_memory == 20
    assert tally.completed == len(gpu.ran) - 20
    assert [row["outcome"] for row in rows(tmp_path / "o.jsonl")].count("out_of_memory") == 20


def test_an_out_of_memory_row_carries_no_memory(tmp_path: Path) -> None:
    climb(FakeGpu(largest_batch=0), ladders(cpu=False, seed=1)[:1], tmp_path / "o.jsonl")
    (row,) = rows(tmp_path / "o.jsonl")
    assert row["outcome"] == "out_of_memory"
    assert "peak_vram_gib" not in row


def test_a_second_run_measures_only_what_is_missing(tmp_path: Path) -> None:
    grid, out = ladders(cpu=False, seed=1)[:30], tmp_path / "o.jsonl"
    climb(FakeGpu(4), grid, out, minutes=0.5)
    first = len(rows(out))
    assert 0 < first < 40
    again = FakeGpu(4)
    tally = climb(again, grid, out)
    ids = [row["id"] for row in rows(out)]
    assert len(ids) == len(set(ids)) == first + len(again.ran)
    assert tally.already_known == first


def test_a_line_cut_off_by_a_crash_is_measured_again(tmp_path: Path) -> None:
    grid, out = ladders(cpu=False, seed=1)[:2], tmp_path / "o.jsonl"
    climb(FakeGpu(4), grid, out)
    whole = out.read_text()
    out.write_text(whole[:-40])
    climb(FakeGpu(4), grid, out)
    assert sorted(out.read_text().splitlines()) == sorted(whole.splitlines())


def test_nothing_runs_past_the_time_box(tmp_path: Path) -> None:
    gpu = FakeGpu(64)
    climb(gpu, ladders(cpu=False, seed=1), tmp_path / "o.jsonl", minutes=0.25)
    assert gpu.now <= 15


def test_the_driver_peak_counts_the_context(tmp_path: Path) -> None:
    case = ladders(cpu=False, seed=1)[0].cases[0]
    row = observation(case, CARD, {"outcome": "completed", "driver_growth_gib": 10.0, "context_free_gib": 140.0})
    assert row["peak_vram_gib"] == pytest.approx(10.4)
    assert row["vram_metric"] == "driver"


def test_what_the_allocator_gave_back_when_memory_ran_short_was_held_at_the_peak() -> None:
    case = ladders(cpu=False, seed=1)[0].cases[0]
    said = {"outcome": "completed", "driver_growth_gib": 61.0, "freed_gib": 18.0, "context_free_gib": 140.0}
    assert observation(case, CARD, said)["peak_vram_gib"] == pytest.approx(79.4)


def test_the_grid_is_the_same_for_a_seed_and_its_keys_are_unique() -> None:
    grid = ladders(cpu=False, seed=3)
    assert grid == ladders(cpu=False, seed=3) != ladders(cpu=False, seed=4)
    keys = [case.key for ladder in grid for case in ladder.cases]
    assert len(keys) == len(set(keys)) > 1000


@pytest.mark.parametrize(
    ("driver_says", "gib", "gpu_type"),
    [
        ("NVIDIA H200", 140.4, "H200-SXM"),
        ("NVIDIA H100 80GB HBM3", 79.65, "H100-SXM"),
        ("NVIDIA H100 PCIe", 79.65, "H100-PCIe"),
        ("NVIDIA H100 NVL", 93.58, "H100-NVL"),
        ("NVIDIA A100-SXM4-80GB", 80.0, "A100-80GB-SXM"),
        ("NVIDIA A100-SXM4-40GB", 40.0, "A100-40GB-SXM"),
        ("NVIDIA A100 80GB PCIe", 80.0, "A100-80GB-PCIe"),
        ("NVIDIA L40S", 44.99, "L40S"),
        ("NVIDIA L4", 22.49, "L4"),
        ("NVIDIA A10G", 22.49, "A10G"),
        ("NVIDIA A10", 22.49, "A10"),
        ("NVIDIA GeForce RTX 4090", 23.99, "RTX4090"),
        ("Tesla T4", 15.0, "T4"),
        ("Tesla V100-SXM2-16GB", 15.78, "V100-16GB-SXM2"),
    ],
)
def test_the_driver_s_name_for_a_card_finds_its_type(driver_says: str, gib: float, gpu_type: str) -> None:
    assert gpu_type_of(driver_says, gib, load_gpu_types()) == gpu_type


@pytest.mark.parametrize(
    ("listed", "first"),
    [(None, 0), ("2,0", 2), (" 1 ", 1), ("GPU-8f2a, 1", "GPU-8f2a"), ("", None), ("-1", None)],
)
def test_the_card_that_is_measured_is_the_one_that_torch_calls_its_first(
    listed: str | None, first: int | str | None
) -> None:
    assert first_visible(listed) == first


def test_a_card_that_somebody_else_uses_is_refused() -> None:
    check_idle(BUSY_GIB / 2, "L40S")
    with pytest.raises(BusyGpu, match=r"20\.0 GiB of this L40S are in use already"):
        check_idle(20.0, "L40S")


def test_a_measuring_process_that_is_gone_is_one_sentence() -> None:
    case = ladders(cpu=True, seed=1)[0].cases[0]
    with CaseServer() as run:
        process = run._process
        assert process is not None
        process.kill()
        process.wait()
        with pytest.raises(MeasuringEnded, match="the measuring process ended"):
            run(case, "cpu", 5.0)


def test_a_card_that_cannot_be_measured_is_one_sentence_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def busy(*_: object, **__: object) -> Device:
        raise BusyGpu("in use")

    monkeypatch.setattr(command, "find_device", busy)
    monkeypatch.setattr(command, "NEEDED", ())
    monkeypatch.setattr("sys.argv", ["measure", "--out", str(tmp_path / "o.jsonl")])
    assert command.main() == 2
    assert capsys.readouterr().err == "pythia measure: in use\n"


def test_a_smoke_run_is_marked_as_of_the_host_and_teaches_no_card(tmp_path: Path) -> None:
    host = Device("cpu", "CPU", None)
    gpu = FakeGpu(4)
    measure(ladders(cpu=True, seed=1)[:4], host, tmp_path / "o.jsonl", minutes=9, say=lambda _: None, runner=gpu,
            clock=gpu.clock)  # fmt: skip
    measured = rows(tmp_path / "o.jsonl")
    assert {row["gpu_type"] for row in measured} == {"CPU"}
    read = [read_observation(row, load_models(), load_gpu_types()) for row in measured]
    assert all(len(every_sample(task, read)) == 0 for task in Task)
