"""Rows kept apart are compared with forecasts, and nothing is said without them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.validation import main, validate
from predictor.model import Predictor
from predictor.telemetry import Observation
from tests.predictor.observations import observe


def served(batch: int, over: float, slow: float, predictor: Predictor) -> Observation:
    """A run that needed `over` times the memory and `slow` times the time that was forecast."""
    seen = observe({
        "id": f"apart/{batch}", "source": "apart", "gpu_type": "A100-80GB-SXM", "layout": {"gpu_count": 1},
        "workload": {"type": "inference", "model": "Qwen/Qwen2-7B", "engine": "tensorrt-llm", "input_length": 128,
                     "output_length": 128, "num_requests": 8 * batch, "max_batch_size": batch},
        "outcome": "completed", "simulated": False, "runtime_s": 1.0, "peak_vram_gib": 20.0, "vram_metric": "driver",
    })  # fmt: skip
    found = predictor.forecast([seen.question])[0]
    assert found.peak_vram is not None
    assert found.runtime_s is not None
    return replace(seen, peak_vram_gib=over * found.peak_vram.p50_gib, runtime_s=slow * found.runtime_s.p50)


def test_errors_and_coverage_are_those_of_the_rows() -> None:
    predictor = Predictor(None)
    rows = [served(batch, over, 1.25, predictor) for batch, over in ((1, 1.1), (2, 1.25), (4, 3.0))]
    found = validate(rows, predictor)
    assert found["all"] == found["A100-80GB-SXM"]
    assert found["all"]["rows"] == 3
    assert found["all"]["memory"] == pytest.approx(1.0 - 1.0 / 1.25, abs=1e-4)
    assert found["all"]["memory_covered"] == pytest.approx(2 / 3, abs=1e-3)
    assert found["all"]["time"] == pytest.approx(0.2, abs=1e-4)
    assert found["all"]["time_covered"] == 1.0


def test_without_a_folder_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PYTHIA_VALIDATION_DIR", raising=False)
    assert main() == 2
    assert "PYTHIA_VALIDATION_DIR" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHIA_VALIDATION_DIR", "/nowhere/at/all")
    assert main() == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
