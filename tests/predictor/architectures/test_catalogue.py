"""Models by id: complete, consistent, quick to open."""

from __future__ import annotations

import csv
import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from predictor.architectures.architecture import parse_architecture
from predictor.architectures.catalogue import COLUMNS, ModelCatalogue, load_models
from predictor.errors import InvalidFacts, UnknownModel
from predictor.facts import datasets_dir, read_facts
from predictor.hardware import load_gpu_types

MODELS = load_models()


@pytest.mark.parametrize("model_id", MODELS.ids())
def test_the_dimensions_of_a_model_make_up_its_parameters(model_id: str) -> None:
    model = MODELS.get(model_id)
    assert model.counted_parameters == pytest.approx(model.num_parameters, rel=0.02)
    assert model.assumptions == ()


def test_published_active_counts_of_mixtures_are_reached() -> None:
    # as the model cards state them, rounded to a billion or a tenth
    for model_id, billions in [
        ("mistralai/Mixtral-8x7B-v0.1", 12.9),
        ("deepseek-ai/DeepSeek-V3", 37),
        ("Qwen/Qwen3-235B-A22B", 22),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 17),
        ("databricks/dbrx-base", 36),
    ]:
        assert MODELS.get(model_id).num_active_parameters == pytest.approx(billions * 1e9, rel=0.03), model_id


def test_an_id_is_found_whatever_its_case() -> None:
    assert MODELS.get("META-LLAMA/llama-3.1-8b") is MODELS.get("meta-llama/Llama-3.1-8B")


@pytest.mark.parametrize(
    ("variant", "known"),
    [
        ("meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-70B"),
        ("meta-llama/Meta-Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistralai/Mixtral-8x7B-v0.1"),
    ],
)
def test_a_tuned_variant_has_the_shape_of_its_model_and_says_so(variant: str, known: str) -> None:
    model = MODELS.get(variant)
    assert model.id == variant
    assert model.num_parameters == MODELS.get(known).num_parameters
    assert any(known in assumption for assumption in model.assumptions)


@pytest.mark.parametrize("model_id", ["deepseek-ai/DeepSeek-R2", "nobody/nothing", "", "/", "Llama-3.1-8B"])
def test_an_unknown_model_is_refused_with_what_to_do(model_id: str) -> None:
    with pytest.raises(UnknownModel, match=r"give its dimensions or its config\.json"):
        MODELS.get(model_id)


def test_an_unknown_model_is_answered_with_its_neighbours() -> None:
    with pytest.raises(UnknownModel, match=r"near it: .*deepseek-ai/DeepSeek-R1"):
        MODELS.get("deepseek-ai/DeepSeek-R2")


def test_opening_the_catalogue_does_not_keep_the_command_line_waiting() -> None:
    path = datasets_dir() / "model_architectures.csv"
    times = []
    for _ in range(5):
        start = time.process_time()
        ModelCatalogue(read_facts(path, COLUMNS, key=("id",))).get("meta-llama/Llama-3.1-8B")
        times.append(time.process_time() - start)
    assert min(times) < 0.03  # seconds of processor time; measured 0.009


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("hidden_size", "0", "hidden_size is 0"),
        ("hidden_size", "wide", "hidden_size is 'wide'"),
        ("num_parameters", "-1", "num_parameters is -1"),
        ("num_parameters", "700000000000", "but the dimensions make"),
        ("num_key_value_heads", "3", "not a multiple"),
        ("gated_mlp", "", "gated_mlp is empty"),
        ("source", "", "source is empty"),
    ],
)
def test_a_model_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, column: str, value: str, sentence: str
) -> None:
    with (datasets_dir() / "model_architectures.csv").open(encoding="utf-8", newline="") as stream:
        row = next(csv.DictReader(stream))
    path = tmp_path / "models.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerow(row | {column: value})
    with pytest.raises(InvalidFacts, match=f"models.csv line 2: .*{sentence}"):
        load_models(path).get(row["id"])


def observations() -> Iterator[dict[str, Any]]:
    folder = Path(os.environ["PYTHIA_OBSERVATIONS_DIR"])
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            yield from map(json.loads, stream)


@pytest.mark.skipif("PYTHIA_OBSERVATIONS_DIR" not in os.environ, reason="PYTHIA_OBSERVATIONS_DIR names no observations")
def test_every_model_and_card_of_the_observations_is_known() -> None:
    gpus = load_gpu_types()
    for observation in observations():
        assert observation["gpu_type"] in gpus
        model = observation["workload"].get("model")
        if isinstance(model, str):
            assert MODELS.get(model).assumptions == ()
        elif model is not None:
            assert parse_architecture(model, source="observation").num_parameters > 0
