"""Versions of software become dates, so that engines are comparable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.workload import Software
from predictor.workloads.software import UNSAID, generation


def dated(engine: str, version: str) -> float:
    return generation(Software(engine=engine, version=version))


@pytest.mark.parametrize(
    ("engine", "version", "year"),
    [
        ("vllm", "0.4.2", 2024.25),
        ("vllm", "vLLM v0.9.2", 2025.37),
        ("vllm", "vllm/vllm-openai:v0.13.0", 2025.96),
        ("tensorrt-llm", "nvcr.io#nvidia/tensorrt-llm/release:1.2.0rc2", 2026.1),
        ("tensorrt-llm", "TensorRT 10.2.0, CUDA 12.4", 2024.53),
        ("transformers", "torch 2.1.2 transformers 4.38.2", 2023.94),
        ("megatron-bridge", "26.04 NeMo Container", 2026 + 4 / 12),
    ],
)
def test_a_version_is_dated(engine: str, version: str, year: float) -> None:
    assert 2022.0 + dated(engine, version) == pytest.approx(year)


@pytest.mark.parametrize("version", ["", "nightly-5b8c30d62b754b57", "gpt-oss-dev", "CUDA 12.2"])
def test_what_is_no_known_version_is_unsaid(version: str) -> None:
    assert dated("vllm", version) == UNSAID


@given(minor=st.integers(1, 40), later=st.integers(0, 40))
def test_a_newer_version_is_never_older(minor: int, later: int) -> None:
    assert dated("vllm", f"0.{minor + later}.0") >= dated("vllm", f"0.{minor}.0") > UNSAID


@given(version=st.text(max_size=60))
def test_any_text_is_read(version: str) -> None:
    assert dated("vllm", version) >= 0.0
