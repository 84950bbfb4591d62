"""What the learned part reads of a question, worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from predictor.arithmetic import inference_arithmetic
from predictor.features import INFERENCE_TIME
from predictor.layout import Layout
from tests.predictor.questions import LLAMA_3_70B, serve

FOUR = Layout(gpu_count=4, tensor_parallel=4)


def crowding(**spec: Any) -> float:
    """Of a 70B in 16 bits on four cards of 40 GB, unless told otherwise."""
    asked: dict[str, Any] = {
        "precision": "bf16",
        "gpu": "A100-40GB-SXM",
        "layout": FOUR,
        "engine": "vllm",
        "num_requests": 512,
    } | spec
    rows = INFERENCE_TIME.rows(inference_arithmetic([serve(LLAMA_3_70B, **asked)]))
    return math.exp(rows[0, INFERENCE_TIME.names.index("log crowding")])


def test_a_batch_whose_cache_fits_is_not_crowded() -> None:
    assert crowding(max_batch_size=16, input_length=64, output_length=64) == pytest.approx(1.0)
    assert crowding(max_batch_size=64, input_length=2048, output_length=2048, gpu="H100-SXM") == pytest.approx(1.0)


def test_a_batch_beyond_the_cache_is_crowded_by_its_share_of_what_fits() -> None:
    """Of 40 GiB an engine plans with 36: weights (32.9) and context leave room for three sequences of 4,096 tokens,
    each of which takes 80 KiB a token (a quarter of 80 layers x 8 heads x 128 x keys and values x 2 bytes)."""
    long: dict[str, Any] = {"input_length": 2048, "output_length": 2048}

    assert crowding(max_batch_size=64, **long) == pytest.approx(64 / 3)
    assert crowding(max_batch_size=32, **long) == pytest.approx(32 / 3)


def test_longer_texts_crowd_more() -> None:
    crowded = [
        crowding(max_batch_size=64, input_length=length, output_length=length) for length in (64, 128, 512, 1024, 2048)
    ]

    assert crowded == sorted(crowded)
    assert crowded[-1] > crowded[0]


def test_what_memory_chooses_never_crowds_and_a_contiguous_cache_cannot() -> None:
    long: dict[str, Any] = {"input_length": 2048, "output_length": 2048}

    assert crowding(max_batch_size=None, **long) == pytest.approx(1.0)
    assert crowding(max_batch_size=64, engine="transformers", **long) == pytest.approx(1.0)
