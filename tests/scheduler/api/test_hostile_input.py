"""Whatever is sent, the answer is an answer: never a fault, never another form of error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.model import load_default_predictor
from scheduler.api.problems import MEDIA_TYPE
from scheduler.services.knowledge import Predictor


@pytest.fixture
def predictor() -> Predictor:
    """The one that ships: odd numbers must not break its arithmetic either."""
    return load_default_predictor()


JSON = {"Content-Type": "application/json"}
QUIETLY = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

ODD_TEXTS = st.sampled_from([
    "", "\0", "\ud800", "'; DROP TABLE jobs; --", "../../etc/passwd", "NaN", "1e999", "x" * 5000, "\u202e", "%00",
    "null", "EU", "H100", "H100-SXM", "meta-llama/Llama-3.1-8B", "zero3", "2026-11-25", "2026-11-25T00:00:00Z",
    "training", "lora",
])  # fmt: skip
ODD_NUMBERS = st.sampled_from([
    0, -1, 1, 2, 8, 2**31, 2**63, 2**64, 10**30, 10**400, 0.5, -0.0, 1e-320, 1e308, 1e-9,
])  # fmt: skip
LEAVES = st.none() | st.booleans() | ODD_NUMBERS | ODD_TEXTS | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_TEXTS | st.text(max_size=8), inner, max_size=4),
)

SEEDS: list[dict[str, Any]] = [
    {
        "name": "a", "workload": {
            "type": "training", "method": "qlora", "model": "meta-llama/Llama-3.1-8B", "precision": "bf16",
            "sequence_length": 512, "micro_batch_size": 1, "global_batch_size": 8, "num_samples": 10,
            "optimizer": "adamw", "gradient_checkpointing": "full", "attention": "flash", "lora_rank": 8,
            "lora_target_modules": ["q_proj"],
            "quantization": "nf4", "engine": "trl",
        },
        "run": {"command": ["true"], "env": {"A": "b"}, "working_dir": "/"},
        "constraints": {
            "gpu_types": ["H100"], "gpu_count": 2, "max_gpus": 4, "layout": {"gpu_count": 2, "tensor_parallel": 2},
            "jurisdictions": ["EU"], "deadline": "2027-01-01T00:00:00Z", "max_cost_usd": "10.00", "max_runtime_s": 60,
            "min_fit_probability": 0.5, "spot": "allow", "tenancy": "any",
        },
        "objective": "time", "priority": 1, "max_attempts": 2, "labels": {"a": "b"}, "simulation": {"seed": 1},
    },
    {
        "workload": {
            "type": "inference", "num_requests": 10, "input_length": 10, "output_length": 10, "cached_prefix_length": 1,
            "max_batch_size": 4, "engine": "vllm", "kv_cache_precision": "fp8",
            "model": {
                "num_parameters": 7e9, "num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 11008,
                "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 32000,
                "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 1024, "sliding_window": 512,
            },
        },
        "run": {"command": ["true"]},
    },
    {
        "workload": {"type": "custom", "kind": "k", "features": {"n": 1, "w": "x"}, "vram_gib": 1, "runtime_s": 5},
        "run": {"command": ["true"]},
    },
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value, itself included."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(below for key, one in inner for below in places(one, (*path, key)))]


@st.composite
def mutants(draw: st.DrawFn) -> Any:
    """A job spec in which up to three things were replaced by something odd."""
    spec: Any = json.loads(json.dumps(draw(st.sampled_from(SEEDS))))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(spec)))
        odd = draw(VALUES)
        if not path:
            return odd
        parent = spec
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = odd
    return spec


def answers(client: TestClient, method: str, path: str, body: Any) -> None:
    """The call is answered in form; a NaN or half a surrogate pair in the body is sent as it is."""
    content = json.dumps(body).encode()
    answer = client.request(method, path, content=content, headers=JSON)
    assert answer.status_code in (200, 201, 400, 404, 409, 422), (answer.status_code, content[:500])
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == MEDIA_TYPE
        problem = answer.json()
        assert problem["code"]
        assert problem["detail"].strip()
        assert "Traceback" not in problem["detail"]


@QUIETLY
@given(spec=mutants())
def test_no_spec_is_a_fault(client: TestClient, spec: Any) -> None:
    answers(client, "POST", "/v1/jobs", spec)


@QUIETLY
@given(spec=mutants())
def test_no_plan_is_a_fault(client: TestClient, spec: Any) -> None:
    answers(client, "POST", "/v1/plans", spec)


@QUIETLY
@given(specs=st.lists(mutants(), min_size=1, max_size=3))
def test_no_batch_is_a_fault(client: TestClient, specs: list[Any]) -> None:
    answers(client, "POST", "/v1/jobs:batch", specs)


@QUIETLY
@given(spec=mutants(), gpu_type=VALUES | st.just("H100-SXM"), layout=VALUES | st.just({"gpu_count": 2}), more=VALUES)
def test_no_question_is_a_fault(client: TestClient, spec: Any, gpu_type: Any, layout: Any, more: Any) -> None:
    workload = spec.get("workload") if isinstance(spec, dict) else spec
    question = {"id": more, "workload": workload, "gpu_type": gpu_type, "layout": layout, "software": more}
    answers(client, "POST", "/v1/predictions", [question, more])


@QUIETLY
@given(spec=mutants(), more=VALUES)
def test_no_observation_is_a_fault(client: TestClient, spec: Any, more: Any) -> None:
    workload = spec.get("workload") if isinstance(spec, dict) else spec
    row = {
        "id": "a", "source": "s", "workload": workload, "gpu_type": "H100-SXM", "layout": {"gpu_count": 1},
        "outcome": "completed", "simulated": False, "runtime_s": 1.0, "peak_vram_gib": more,
    }  # fmt: skip
    answers(client, "POST", "/v1/observations:import", {"observations": [row]})
    answers(client, "POST", "/v1/observations:import", {"observations": [row | {"id": more, "note": more}]})


@QUIETLY
@given(body=VALUES, method=st.sampled_from(["PUT", "PATCH"]))
def test_no_offer_is_a_fault(client: TestClient, body: Any, method: str) -> None:
    answers(client, method, "/v1/offers" + ("/00000000-0000-7000-8000-000000000009" if method == "PATCH" else ""), body)


@QUIETLY
@given(query=st.dictionaries(st.sampled_from(["state", "label", "name", "after", "limit"]), ODD_TEXTS | st.text()))
def test_no_filter_is_a_fault(client: TestClient, query: dict[str, str]) -> None:
    sent = {key: value.encode("utf-8", "surrogatepass") for key, value in query.items()}
    assert client.get("/v1/jobs", params=sent).status_code in (200, 400, 422)


@QUIETLY
@given(body=st.binary(max_size=200), media=st.sampled_from(["application/json", "text/csv", "", "\x7f"]))
def test_no_bytes_are_a_fault(client: TestClient, body: bytes, media: str) -> None:
    for path in ("/v1/jobs", "/v1/jobs:batch", "/v1/predictions", "/v1/observations:import", "/v1/offers:import"):
        answer = client.post(path, content=body, headers={b"Content-Type": media.encode("latin-1")})
        assert answer.status_code in (400, 415, 422), (path, answer.text)
