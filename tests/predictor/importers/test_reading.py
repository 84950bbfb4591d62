"""Whatever a file holds, reading it gives rows that any import accepts, reasons by line, or one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.errors import PythiaError
from predictor.hardware import load_gpu_types
from predictor.importers.draft import InvalidResults
from predictor.importers.formats import NAMES
from predictor.importers.gpu_names import gpu_type_named
from predictor.importers.reading import read_results
from predictor.telemetry import read_observation
from tests.predictor.importers.result_files import (
    MEGATRON_CONFIG,
    golden_values,
    mlperf_entry,
    peft_result,
    read,
    serving_result,
    training_log,
)

GIVEN = {
    "gpu_type": "H100-SXM",
    "layout.gpu_count": 8,
    "llama2-70b:workload.input_length": 294,
    "llama2_70b_lora:workload.micro_batch_size": 1,
}

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
RESULTS: tuple[Any, ...] = (peft_result(), serving_result(), [mlperf_entry()], golden_values())
"""One real result of each JSON format, to be damaged."""


def damage(value: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """The value with some part replaced by anything at all."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: damage(value[key], draw)}
    if isinstance(value, list) and value and draw(st.booleans()):
        return [damage(value[0], draw), *value[1:]]
    return draw(anything)


def read_or_refuse(path: Path, form: str | None) -> None:
    """Rows that were let in pass the check of any import; nothing but a PythiaError comes out."""
    try:
        imported = read_results(path, format=form, given=GIVEN, columns={})
    except PythiaError:
        return
    for row in imported.rows:
        read_observation(json.loads(json.dumps(row)), load_models(), load_gpu_types())
    assert all(one.reason and one.line >= 1 for one in imported.rejected)
    assert len(imported.lines) == len(imported.rows)
    assert len({row["id"] for row in imported.rows}) == len(imported.rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results")
    (path / "model_config.yaml").write_text(MEGATRON_CONFIG)
    return path


@given(data=st.binary(max_size=300), form=st.sampled_from((None, *NAMES)))
@settings(max_examples=300)
def test_arbitrary_bytes_are_read_or_refused(folder: Path, data: bytes, form: str | None) -> None:
    (folder / "bytes").write_bytes(data)
    read_or_refuse(folder / "bytes", form)


@given(value=anything, form=st.sampled_from((None, *NAMES)))
@settings(max_examples=200)
def test_arbitrary_json_is_read_or_refused(folder: Path, value: object, form: str | None) -> None:
    (folder / "any.json").write_text(json.dumps(value))
    read_or_refuse(folder / "any.json", form)


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_result_is_read_or_refused(folder: Path, data: st.DataObject) -> None:
    result = data.draw(st.sampled_from(RESULTS))
    for _ in range(data.draw(st.integers(1, 3))):
        result = damage(result, data.draw)
    (folder / "damaged.json").write_text(json.dumps(result))
    read_or_refuse(folder / "damaged.json", data.draw(st.sampled_from((None, *NAMES))))


@given(data=st.data())
@settings(max_examples=200)
def test_a_damaged_text_is_read_or_refused(folder: Path, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from((training_log(), MEGATRON_CONFIG, "gpu_type,peak_vram_gib\nH100-SXM,3\n")))
    cut = data.draw(st.integers(0, len(whole)))
    text = whole[:cut] + data.draw(st.text(max_size=30)) + whole[data.draw(st.integers(0, len(whole))) :]
    (folder / "damaged.txt").write_text(text, encoding="utf-8", errors="replace")
    read_or_refuse(folder / "damaged.txt", data.draw(st.sampled_from((None, *NAMES))))


@given(config=st.text(max_size=200) | anything.map(json.dumps))
@settings(max_examples=200)
def test_arbitrary_arguments_of_megatron_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, config: str
) -> None:
    path = tmp_path_factory.getbasetemp()
    (path / "model_config.yaml").write_text(config, encoding="utf-8", errors="replace")
    (path / "golden_values.json").write_text(json.dumps(golden_values()))
    read_or_refuse(path / "golden_values.json", None)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, '{"run_info": {}, "train_info": 1e999}']
)
def test_hostile_json_is_one_sentence(tmp_path: Path, text: str) -> None:
    for form in (None, *NAMES):
        (tmp_path / "deep.json").write_text(text)
        read_or_refuse(tmp_path / "deep.json", form)


def test_an_unknown_content_names_the_formats(tmp_path: Path) -> None:
    with pytest.raises(InvalidResults, match="not recognised; name it: observations, mlperf-inference"):
        read(tmp_path, "hello\n", "hello.txt")


def test_an_unknown_format_names_the_formats(tmp_path: Path) -> None:
    with pytest.raises(InvalidResults, match="there is no format 'mlperf'; it is one of"):
        read(tmp_path, "hello\n", "hello.txt", form="mlperf")


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidResults, match="cannot be read"):
        read_results(tmp_path / "none.json", format=None, given={}, columns={})


def test_a_column_map_belongs_to_a_table(tmp_path: Path) -> None:
    with pytest.raises(InvalidResults, match="read as vllm-bench"):
        read(tmp_path, serving_result(), columns={"gpu_type": "gpu"}, form="vllm-bench")


def test_what_is_given_wins_over_what_the_file_says(tmp_path: Path) -> None:
    served = serving_result(model_id="/models/llama")
    row = read(tmp_path, served, given=GIVEN | {"workload.model": "meta-llama/Llama-3.1-8B"}).rows[0]
    assert row["workload"]["model"] == "meta-llama/Llama-3.1-8B"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA H100-SXM-80GB", "H100-SXM"),
        ("NVIDIA H200", "H200-SXM"),
        ("NVIDIA H200-SXM-141GB", "H200-SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB-SXM"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB-PCIe"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB-PCIe"),
        ("Tesla V100-SXM2-16GB", "V100-16GB-SXM2"),
        ("Tesla T4", "T4"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA RTX A6000", "RTXA6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTXPRO6000"),
        ("AMD Instinct MI300X-NPS1-SPX-192GB-750W", "MI300X"),
        ("NVIDIA GB200", "GB200"),
        ("NVIDIA H100", None),
        ("NVIDIA A100", None),
        ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA A10-24Q", None),
        ("NVIDIA GH200 144G HBM3e", None),
        ("H100-SXM and A100-SXM4-80GB", None),
        ("AMD Instinct MI250X", None),
        ("TPU v5p", None),
        (None, None),
    ],
)
def test_a_card_is_named_only_where_its_name_is_certain(said: str | None, meant: str | None) -> None:
    assert gpu_type_named(said) == meant
    assert meant is None or meant in load_gpu_types()
