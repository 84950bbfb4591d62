"""GPU types: what a card offers, by exact or bare name."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from predictor.errors import InvalidFacts, UnknownGpuType
from predictor.facts import datasets_dir
from predictor.hardware import COLUMNS, SLICE_COLUMNS, load_gpu_types

GPUS = load_gpu_types()


def test_usable_memory_is_what_the_driver_offers_not_the_label() -> None:
    assert GPUS.get("L40S").usable_gib == pytest.approx(44.99)
    assert GPUS.get("H100-SXM").usable_gib == pytest.approx(79.65)
    for gpu in GPUS:
        assert gpu.usable_gib is None or gpu.usable_gib <= gpu.memory_gb_nominal


def test_rates_are_dense_and_grow_as_numbers_shrink() -> None:
    assert GPUS.get("H100-SXM").bf16_tflops == 989
    assert GPUS.get("H100-SXM").fp8_tflops == 1979
    for gpu in GPUS:
        ladder = [rate for rate in (gpu.fp32_tflops, gpu.bf16_tflops, gpu.fp8_tflops, gpu.fp4_tflops) if rate]
        assert ladder == sorted(ladder), gpu.name


def test_a_card_without_the_unit_has_no_rate() -> None:
    assert GPUS.get("T4").bf16_tflops is None
    assert not GPUS.get("A100-80GB-SXM").native_fp8
    for gpu in GPUS:
        assert gpu.native_fp4 <= (gpu.fp4_tflops is not None)
        assert gpu.native_fp8 <= (gpu.fp8_tflops is not None)


def test_the_share_that_was_measured_is_the_share_that_is_used() -> None:
    # 794.5 of 989 TFLOPS and 668.4 of 1307.4, the best of all matrix shapes
    assert GPUS.get("H100-SXM").achievable_fraction == pytest.approx(794.5 / 989, abs=0.001)
    assert GPUS.get("MI300X").achievable_fraction == pytest.approx(668.4 / 1307.4, abs=0.001)


def test_only_the_cpu_is_no_accelerator() -> None:
    assert [gpu.name for gpu in GPUS if not gpu.is_accelerator] == ["CPU"]
    assert GPUS.get("CPU").usable_gib is None


@pytest.mark.parametrize(
    ("name", "variants"),
    [
        ("H100", {"H100-PCIe", "H100-SXM", "H100-NVL"}),
        ("A100", {"A100-40GB-PCIe", "A100-40GB-SXM", "A100-80GB-PCIe", "A100-80GB-SXM"}),
        ("A100-80GB", {"A100-80GB-PCIe", "A100-80GB-SXM"}),
        ("h100-sxm", {"H100-SXM"}),
        ("B200", {"B200"}),
    ],
)
def test_a_bare_name_stands_for_every_variant(name: str, variants: set[str]) -> None:
    assert {gpu.name for gpu in GPUS.variants(name)} == variants


def test_a_bare_name_where_one_is_needed_is_refused_with_its_variants() -> None:
    with pytest.raises(UnknownGpuType, match="H100-PCIe, H100-SXM, H100-NVL"):
        GPUS.get("H100")


@pytest.mark.parametrize("name", ["H1000", "", "A", "GTX-1080", "H100-", "-", "CPU-"])
def test_an_unknown_name_is_refused(name: str) -> None:
    assert name not in GPUS
    for ask in (GPUS.get, GPUS.variants):
        with pytest.raises(UnknownGpuType, match="is not in the catalogue"):
            ask(name)


def test_an_unknown_name_is_answered_with_its_neighbours() -> None:
    with pytest.raises(UnknownGpuType, match=r"near it: .*RTX4090"):
        GPUS.get("RTX4080")


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("usable_gib", "", "usable_gib is empty"),
        ("usable_gib", "81", "usable_gib 81 is above the label"),
        ("usable_gib", "-1", "usable_gib is -1"),
        ("memory_bandwidth_gbs", "0", "memory_bandwidth_gbs is 0"),
        ("bf16_tflops", "-989", "bf16_tflops is -989"),
        ("native_fp8", "1", "native_fp8 is '1'"),
        ("achievable_fraction", "1.2", "achievable_fraction is 1.2"),
        ("year", "20", "year is 20"),
        ("vendor", "", "vendor is empty"),
    ],
)
def test_a_card_that_cannot_be_is_refused_with_its_line(tmp_path: Path, column: str, value: str, sentence: str) -> None:
    with (datasets_dir() / "gpu_types.csv").open(encoding="utf-8", newline="") as stream:
        row = next(row for row in csv.DictReader(stream) if row["name"] == "H100-SXM")
    path = tmp_path / "gpu_types.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerow(row | {column: value})
    with pytest.raises(InvalidFacts, match=f"gpu_types.csv line 2: {sentence}"):
        load_gpu_types(path)


def test_a_part_of_a_card_has_its_share_of_memory_and_of_every_rate() -> None:
    third, whole = GPUS.get("A10/3"), GPUS.get("A10")
    assert (third.slice_of, third.parts, whole.slice_of, whole.parts) == ("A10", 3, None, 1)
    assert third.usable_gib == pytest.approx(22.49 / 3)
    assert third.memory_bandwidth_gbs == pytest.approx(200)
    assert third.bf16_tflops == pytest.approx(125 / 3)
    assert (third.fp8_tflops, third.native_fp8, third.compute_capability) == (None, False, "8.6")


def test_a_name_of_a_card_never_means_a_part_of_it() -> None:
    assert all(gpu.slice_of is None for name in ("A10", "L4", "RTXPRO6000") for gpu in GPUS.variants(name))


@pytest.mark.parametrize(("share", "name"), [(0.333, "A10/3"), (0.167, "A10/6"), (0.5, "A10/2"), (0.3, None)])
def test_a_part_is_found_by_the_share_that_price_lists_write(share: float, name: str | None) -> None:
    found = GPUS.part_of("A10", share)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("H100-SXM/7,H200,7,mig,a list", "whole is 'H200', not a card of the catalogue"),
        ("H100-7,H100-SXM,7,mig,a list", "name is 'H100-7', must be H100-SXM/7"),
        ("H100-SXM/1,H100-SXM,1,mig,a list", "parts is 1"),
    ],
)
def test_a_part_that_cannot_be_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    with (datasets_dir() / "gpu_types.csv").open(encoding="utf-8", newline="") as stream:
        row = next(row for row in csv.DictReader(stream) if row["name"] == "H100-SXM")
    path = tmp_path / "gpu_types.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerow(row)
    (tmp_path / "gpu_slices.csv").write_text(f"{','.join(SLICE_COLUMNS)}\n{line}\n", encoding="utf-8")
    with pytest.raises(InvalidFacts, match=f"gpu_slices.csv line 2: {said}"):
        load_gpu_types(path)


def test_a_file_is_read_once() -> None:
    assert load_gpu_types() is load_gpu_types()
