"""`make bench-predictor`: errors on held-out groups beside arithmetic and outside tools, and how fast forecasts are.

The last line is one JSON object. Needs PYTHIA_OBSERVATIONS_DIR, a folder of observations.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.baselines import side_by_side, table
from predictor.architectures.catalogue import load_models
from predictor.bundle import load_bundle
from predictor.evaluation.report import make_report
from predictor.evaluation.scores import Score, score_table
from predictor.forecast import Question
from predictor.hardware import load_gpu_types
from predictor.layouts import sensible_layouts
from predictor.model import Predictor
from predictor.telemetry import Observation
from predictor.telemetry_files import read_telemetry
from predictor.training import train
from predictor.workloads.spec import parse_workload

SEED = 7
PLAN_ROWS = 600
MIXED = 10_000

PLANS = (
    {"type": "training", "model": "meta-llama/Llama-3.1-8B", "method": "full", "num_samples": 100_000,
     "sequence_length": 4096, "micro_batch_size": 2},
    {"type": "inference", "model": "meta-llama/Llama-3.1-70B-Instruct", "precision": "fp8", "num_requests": 10_000,
     "input_length": 3150, "output_length": 400},
    {"type": "inference", "model": "deepseek-ai/DeepSeek-V3", "precision": "fp8", "num_requests": 2000,
     "input_length": 1000, "output_length": 1000},
)  # fmt: skip


def main() -> int:
    folder = os.environ.get("PYTHIA_OBSERVATIONS_DIR")
    if not folder:
        print("Set PYTHIA_OBSERVATIONS_DIR to a folder of observations to run this benchmark.", file=sys.stderr)
        return 2
    observations = read_telemetry(Path(folder), load_models(), load_gpu_types()).observations
    figures: dict[str, object] = {"observations": len(observations), "seed": SEED}
    figures |= speed(observations)
    print(f"Speed: {json.dumps(figures)}")
    found = make_report(observations, seed=SEED, created="", git_revision="", ablate=False, curve=False)
    print("\n".join(score_table(found.scores)))
    figures["held_out"] = {f"{score.task} by {score.grouping}": errors(score) for score in found.scores}
    rows, notes = side_by_side(observations, found.judged)
    print("\n".join([*table(rows), *notes]))
    figures["baselines"] = [row.to_json() for row in rows]
    print(json.dumps(figures))
    return 0


def speed(observations: Sequence[Observation]) -> dict[str, object]:
    """Milliseconds of a plan's forecasts, seconds of a mixed batch, of loading the bundle and of training one."""
    load = [timed(load_bundle) for _ in range(5)]
    predictor = Predictor(load_bundle())
    plans = [plan_questions(raw) for raw in PLANS]
    for plan in plans:
        predictor.forecast(plan)
    took = [timed(lambda plan=plan: predictor.forecast(plan)) for _ in range(40) for plan in plans]  # type: ignore[misc]
    questions = [observation.question for observation in observations]
    mixed = random.Random(SEED).choices(questions, k=MIXED)  # noqa: S311 - a draw of questions, no secret
    batches = [timed(lambda: predictor.forecast(mixed)) for _ in range(5)]
    training = timed(lambda: train(observations, seed=SEED, created="2026-01-01", git_revision="bench", base=None))
    return {
        "plan_rows": PLAN_ROWS,
        "plan_forecasts_p50_ms": round(1000 * float(np.median(took)), 2),
        "plan_forecasts_p95_ms": round(1000 * float(np.quantile(took, 0.95)), 2),
        "forecasts_10000_s": round(float(np.median(batches)), 3),
        "load_bundle_s": round(float(np.median(load)), 3),
        "train_s": round(training, 1),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "bundle_bytes": sum(map(len, load_bundle().files.values())),
    }


def plan_questions(raw: dict[str, object]) -> list[Question]:
    """One workload on every card, count and layout, as a plan asks; repeated up to PLAN_ROWS."""
    workload = parse_workload(raw, load_models())
    cards = [gpu for gpu in load_gpu_types() if gpu.is_accelerator]
    found = [
        Question(workload=workload, gpu=gpu, layout=layout)
        for count in (1, 2, 4, 8, 16)
        for layout in sensible_layouts(workload, count)
        for gpu in cards
    ]
    return (found * (1 + PLAN_ROWS // len(found)))[:PLAN_ROWS]


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def errors(score: Score) -> dict[str, object]:
    """The figures of one way of holding out."""
    figures: dict[str, object] = {
        "configurations": score.overall.configurations,
        "learned": round(score.overall.learned, 4),
        "arithmetic": round(score.overall.arithmetic, 4),
        "source_mean": round(score.source_mean, 4),
        "source_mean_arithmetic": round(score.source_mean_arithmetic, 4),
        "covered": round(score.overall.covered, 4),
    }
    if score.over_provision is not None:
        figures |= {
            "over_provision": round(score.over_provision, 4),
            "out_of_memory_flagged": score.out_of_memory_flagged,
            "out_of_memory": score.out_of_memory,
            "refused_roomy": score.refused_roomy and round(score.refused_roomy, 4),
        }
    return figures


if __name__ == "__main__":
    sys.exit(main())
