"""What tokens cost, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from predictor.model import Predictor as BarePredictor
from scheduler.services.knowledge import Predictor

ASKED: dict[str, Any] = {
    "model": "meta-llama/Llama-3.1-8B", "precision": "fp8", "input_length": 1000, "output_length": 200,
}  # fmt: skip


@pytest.fixture
def predictor() -> Predictor:
    """Arithmetic alone: it knows what a phase waits for."""
    return BarePredictor(None)


def test_tokens_are_priced_on_the_inventory(client: TestClient) -> None:
    body = client.post("/v1/economics/tokens", json=ASKED).json()
    assert {one["gpu_type"] for one in body["best_of_each_gpu_type"]} == {"H100-SXM", "L40S"}
    blended = [float(one["blended_usd_per_mtok"]["mid"]) for one in body["costs"]]
    assert blended == sorted(blended)
    first = body["costs"][0]
    assert 0 < float(first["blended_usd_per_mtok"]["low"]) < blended[0] < float(first["blended_usd_per_mtok"]["high"])
    assert first["requests_per_second"]["p10"] < first["requests_per_second"]["p90"]
    assert body["question"] == ASKED


def test_a_limit_nobody_keeps_leaves_nothing_but_the_names(client: TestClient) -> None:
    body = client.post("/v1/economics/tokens", json=ASKED | {"max_ttft_s": 1e-6}).json()
    assert body["costs"] == []
    assert {one["gpu_type"] for one in body["unfit"]} == {"H100-SXM", "L40S"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "nobody/nothing"}, "nobody/nothing"),
        ({"input_length": 0}, "input_length"),
        ({"max_tpot_s": -1}, "max_tpot_s"),
        ({"cached_prefix_length": 2000}, "cached_prefix_length"),
        ({"prompt": 3}, "prompt"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(client: TestClient, change: dict[str, Any], said: str) -> None:
    answer = client.post("/v1/economics/tokens", json=ASKED | change)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_apis_are_compared_with_the_inventory(client: TestClient) -> None:
    body = client.post("/v1/economics/crossover", json=ASKED | {"max_utilisation": 0.5}).json()
    requests = [float(one["request_usd"]) for one in body["crossings"]]
    assert requests == sorted(requests)
    for one in body["crossings"]:
        found, lowest = one["crossing"], one["lowest_utilisation"]
        assert (found is None) == (lowest["utilisation"] > 0.5)
        assert lowest["utilisation_low"] < lowest["utilisation"] < lowest["utilisation_high"]
    assert len(body["curve"]) > 100


def test_a_model_without_a_price_per_token_is_one_sentence(client: TestClient) -> None:
    answer = client.post("/v1/economics/crossover", json=ASKED | {"model": "Qwen/Qwen2.5-0.5B"})
    assert answer.status_code == 422
    assert "no price per token of Qwen/Qwen2.5-0.5B is known" in answer.json()["detail"]
