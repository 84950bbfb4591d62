"""Lines in, lines out, in order; a bad line is an error of its own."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.architectures.catalogue import load_models
from predictor.bundle import load_bundle
from predictor.hardware import load_gpu_types
from predictor.layout import parse_layout
from predictor.lines import Facts, answer_lines
from predictor.model import Predictor

FACTS = Facts(models=load_models(), gpus=load_gpu_types())
PREDICTOR = Predictor(load_bundle())

SERVE = {"type": "inference", "model": "Qwen/Qwen2-7B", "num_requests": 100, "input_length": 512, "output_length": 128}
TRAIN = {"type": "training", "model": "Qwen/Qwen2-7B", "method": "lora", "num_samples": 100}
GOOD: list[dict[str, Any]] = [
    {"workload": SERVE, "gpu_type": "H100-SXM", "layout": {"gpu_count": 1}},
    {"workload": TRAIN, "gpu_type": "L40S", "layout": {"gpu_count": 4}},
    {"workload": {"type": "custom", "kind": "k", "runtime_s": 3.0}, "gpu_type": "CPU"},
]
BAD: list[tuple[object, str]] = [
    ({"gpu_type": "H100-SXM", "layout": {"gpu_count": 1}}, "workload"),
    ({"workload": SERVE, "gpu_type": "H100"}, "H100-SXM"),
    ({"workload": SERVE, "gpu_type": "H100-SXM", "layout": {"gpu_count": 4, "tensor_parallel": 3}}, "layout"),
    ({"workload": SERVE | {"model": "no/such-model"}, "gpu_type": "H100-SXM"}, "catalogue"),
    ({"workload": SERVE | {"num_requests": -1}, "gpu_type": "H100-SXM"}, "num_requests"),
    ({"workload": {"type": "custom", "kind": "never seen"}, "gpu_type": "CPU"}, "nothing is known"),
    ([], "object"),
    ("x", "object"),
]


def answer(*items: object) -> list[dict[str, Any]]:
    return answer_lines([json.dumps(item) for item in items], PREDICTOR, FACTS)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 20))
def test_answers_stand_in_the_order_of_the_lines_and_do_not_depend_on_it(seed: int, count: int) -> None:
    dealt = random.Random(seed)
    items = [
        dealt.choice([*GOOD, *(bad for bad, _ in BAD if isinstance(bad, dict))]) | {"id": f"n{row}"}
        for row in range(count)
    ]
    answers = answer(*items)
    assert [found["id"] for found in answers] == [item["id"] for item in items]
    assert answers == [answer(item)[0] for item in items]


@pytest.mark.parametrize(("item", "word"), BAD)
def test_a_bad_line_answers_with_its_reason_and_spoils_no_other(item: object, word: str) -> None:
    first, bad, last = answer(GOOD[0], item, GOOD[1])
    assert set(bad) == {"id", "error"}
    assert word in bad["error"]
    assert "error" not in first
    assert "error" not in last


@pytest.mark.parametrize("line", ["{", "NaN", '{"id": 1, "x": Infinity}', "[" * 100_000])
def test_what_is_no_json_is_an_error(line: str) -> None:
    found = answer_lines([line], PREDICTOR, FACTS)
    assert len(found) == 1
    assert "not JSON" in str(found[0]["error"])


def test_blank_lines_are_passed_over() -> None:
    assert answer_lines(["", "  \n"], PREDICTOR, FACTS) == []


def test_a_count_alone_gets_the_best_split_and_says_which() -> None:
    (found,) = answer(
        {
            "workload": SERVE | {"model": "meta-llama/Llama-3.1-70B-Instruct"},
            "gpu_type": "H100-SXM",
            "layout": {"gpu_count": 4},
        }
    )
    layout = parse_layout(found["layout"])
    assert not isinstance(layout, int)
    assert layout.gpu_count == 4
    assert found["peak_vram_gib"]["p50"] < found["usable_vram_gib"], (
        "a 70B model in 16 bits fits four cards only if split"
    )


def test_a_forecast_has_every_field_of_the_contract() -> None:
    fields = {
        "id", "gpu_type", "layout", "peak_vram_gib", "usable_vram_gib", "fit_probability", "vram_breakdown_gib",
        "tokens_per_second", "step_time_s", "runtime_s", "startup_s", "basis", "in_domain", "assumptions",
        "model_version",
    }  # fmt: skip
    for found in answer(*GOOD):
        assert fields <= set(found)
        assert json.loads(json.dumps(found)) == found


def test_what_was_left_open_is_assumed_aloud() -> None:
    serve, train, _ = answer(*GOOD)
    assert any(note.startswith("max_batch_size") for note in serve["assumptions"])
    assert any(note.startswith("sequence_length") for note in train["assumptions"])
