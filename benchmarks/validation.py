"""`python -m benchmarks.validation`: measurements that nothing was ever trained on, beside what the bundle says.

The last line is one JSON object. Needs PYTHIA_VALIDATION_DIR, a folder of observations that are kept apart.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictor.architectures.catalogue import load_models
from predictor.bundle import load_bundle
from predictor.errors import PythiaError
from predictor.forecast import Forecast
from predictor.hardware import load_gpu_types
from predictor.model import Predictor
from predictor.telemetry import Observation
from predictor.telemetry_files import read_telemetry

Floats = NDArray[np.float64]


def main() -> int:
    folder = os.environ.get("PYTHIA_VALIDATION_DIR")
    if not folder:
        print("Set PYTHIA_VALIDATION_DIR to a folder of observations that no training may see.", file=sys.stderr)
        return 2
    try:
        observations = read_telemetry(Path(folder), load_models(), load_gpu_types()).observations
    except PythiaError as error:
        print(f"{folder} cannot be read: {error}", file=sys.stderr)
        return 2
    figures = {"learned": validate(observations, Predictor(load_bundle()))}
    figures["arithmetic"] = validate(observations, Predictor(None))
    for name, by_card in figures.items():
        print(f"{name:12} {'CARD':16}{'ROWS':>6}{'MEMORY':>9}{'P95 HOLDS':>11}{'TIME':>9}{'P10..P90':>10}")
        for card, found in by_card.items():
            print(f"{'':12} {card:16}{found['rows']:6.0f}" + "".join(
                f"{100 * found[figure]:{width}.1f} %"
                for figure, width in (("memory", 7), ("memory_covered", 9), ("time", 7), ("time_covered", 8))
            ))  # fmt: skip
    print(json.dumps({name: by_card["all"] for name, by_card in figures.items()}))
    return 0


def validate(observations: Sequence[Observation], predictor: Predictor) -> dict[str, Mapping[str, float]]:
    """Median |forecast / measured - 1| and coverage of memory and of time, over all rows and by card."""
    pairs = list(zip(observations, predictor.forecast([one.question for one in observations]), strict=True))
    cards = sorted({one.question.gpu.name for one in observations})
    return {
        "all": _figures(pairs),
        **{card: _figures([pair for pair in pairs if pair[0].question.gpu.name == card]) for card in cards},
    }


def _figures(pairs: Sequence[tuple[Observation, Forecast]]) -> dict[str, float]:
    peaks = np.array([
        (found.peak_vram.p50_gib / seen.peak_vram_gib, found.peak_vram.p95_gib / seen.peak_vram_gib)
        for seen, found in pairs
        if found.peak_vram and seen.peak_vram_gib
    ]).reshape(-1, 2)  # fmt: skip
    times = np.array([
        (run.p10 / seen.runtime_s, run.p50 / seen.runtime_s, run.p90 / seen.runtime_s)
        for seen, found in pairs
        if (run := found.runtime_s) and seen.runtime_s
    ]).reshape(-1, 3)  # fmt: skip
    return {
        "rows": len(pairs),
        "memory": _median(np.abs(peaks[:, 0] - 1.0)),
        "memory_covered": _mean(peaks[:, 1] >= 1.0),
        "memory_over_provision": _mean(peaks[:, 1] - 1.0),
        "time": _median(np.abs(times[:, 1] - 1.0)),
        "time_covered": _mean((times[:, 0] <= 1.0) & (times[:, 2] >= 1.0)),
        "in_domain": _mean(np.array([found.in_domain for _, found in pairs])),
    }


def _median(values: Floats) -> float:
    return round(float(np.median(values)), 4) if len(values) else float("nan")


def _mean(values: NDArray[np.float64 | np.bool_]) -> float:
    return round(float(np.mean(values)), 4) if len(values) else float("nan")


if __name__ == "__main__":
    sys.exit(main())
