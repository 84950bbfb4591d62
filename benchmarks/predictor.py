"""`make bench-predictor`: errors on held-out groups beside arithmetic and outside tools, and how fast forecasts are.

Then how soon a new source is known: one training for each source that is left out, some minutes on two cores.

The last line is one JSON object. Needs PYTHIA_OBSERVATIONS_DIR, a folder of observations.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.baselines import side_by_side, table
from predictor.architectures.catalogue import load_models
from predictor.bundle import Bundle, load_bundle
from predictor.evaluation.configurations import TOYS
from predictor.evaluation.learning_curve import DRAWS, Point, curve_table, learning_curve
from predictor.evaluation.report import make_report
from predictor.evaluation.scores import Score, score_table
from predictor.evaluation.totals import memory_totals
from predictor.forecast import Question
from predictor.hardware import load_gpu_types
from predictor.layouts import sensible_layouts
from predictor.model import Predictor
from predictor.site.training import learn_site
from predictor.telemetry import Observation
from predictor.telemetry_files import read_telemetry
from predictor.training import train
from predictor.workloads.spec import parse_workload

SEED = 7
PLAN_ROWS = 600
MIXED = 10_000

PLANS = {
    "training": {"type": "training", "model": "meta-llama/Llama-3.1-8B", "method": "full", "num_samples": 100_000,
                 "sequence_length": 4096, "micro_batch_size": 2},
    "lora": {"type": "training", "model": "meta-llama/Llama-3.1-8B", "method": "lora", "lora_rank": 16,
             "num_samples": 100_000, "sequence_length": 4096, "micro_batch_size": 2},
    "qlora": {"type": "training", "model": "meta-llama/Llama-3.1-70B-Instruct", "method": "qlora", "lora_rank": 16,
              "num_samples": 10_000, "sequence_length": 2048, "micro_batch_size": 1},
    "inference": {"type": "inference", "model": "meta-llama/Llama-3.1-70B-Instruct", "precision": "fp8",
                  "num_requests": 10_000, "input_length": 3150, "output_length": 400},
    "mixture": {"type": "inference", "model": "deepseek-ai/DeepSeek-V3", "precision": "fp8", "num_requests": 2000,
                "input_length": 1000, "output_length": 1000},
}  # fmt: skip
"""A job of every kind, by what its figures are called."""


LINE = {
    "id": "a1",
    "workload": PLANS["inference"],
    "gpu_type": "H100-SXM",
    "layout": {"gpu_count": 2, "tensor_parallel": 2},
}

SITE = ("argonne", "fms_acceleration")
"""Sources that stand for a site: together they measured training memory, training time and serving time."""


OWN = (0, 10, 100)
"""A new source's own observations after which its others are forecast; `pythia evaluate --report` has more of them."""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--speed", action="store_true", help="only time forecasts, score nothing")
    only_speed = asked.parse_args().speed
    folder = os.environ.get("PYTHIA_OBSERVATIONS_DIR")
    if not folder:
        print("Set PYTHIA_OBSERVATIONS_DIR to a folder of observations to run this benchmark.", file=sys.stderr)
        return 2
    observations = read_telemetry(Path(folder), load_models(), load_gpu_types()).observations
    figures: dict[str, object] = {"observations": len(observations), "seed": SEED}
    figures |= speed(observations)
    if only_speed:
        print(json.dumps(figures))
        return 0
    print(f"Speed: {json.dumps(figures)}")
    found = make_report(observations, seed=SEED, created="", git_revision="", ablate=False, curve=False)
    print("\n".join(score_table(found.scores)))
    figures["held_out"] = {f"{score.task} by {score.grouping}": errors(score) for score in found.scores}
    figures["memory"] = [total.to_json() for total in memory_totals(found.scores)]
    rows, notes = side_by_side(observations, found.judged)
    print("\n".join([*table(rows), *notes]))
    figures["baselines"] = [row.to_json() for row in rows]
    points = learning_curve(observations, seed=SEED, counts=OWN)
    print(f"A source never seen, after {', '.join(map(str, OWN))} of its own observations (medians of {DRAWS} draws):")
    print("\n".join(curve_table(points)))
    figures["new_source"] = new_source(points)
    print(json.dumps(figures))
    return 0


def new_source(points: Sequence[Point]) -> dict[str, object]:
    """Of each task and number of own observations: all sources pooled, and each source once; toys in neither."""
    found: dict[str, object] = {}
    for pooled in points:
        if pooled.source is None:
            each = [
                one.error
                for one in points
                if (one.task, one.own) == (pooled.task, pooled.own) and one.source not in (None, *TOYS)
            ]
            found[f"{pooled.task} after {pooled.own}"] = {
                "sources": pooled.sources,
                "configurations": pooled.configurations,
                "learned": round(pooled.error, 4),
                "source_mean": round(float(np.mean(each)), 4),
                "covered": round(pooled.covered, 4),
            }
    return found


def speed(observations: Sequence[Observation]) -> dict[str, object]:
    """Of a plan's forecasts, a mixed batch, the bundle and one line from the shell; wall-clock beside CPU time."""
    bundle = load_bundle()
    predictor, site = Predictor(bundle), Predictor(_site(bundle, observations))
    by_kind = {kind: plan_questions(raw) for kind, raw in PLANS.items()}
    plans = [*by_kind.values()]
    mixed = random.Random(SEED).choices(  # noqa: S311 - a draw of questions, no secret
        [observation.question for observation in observations], k=MIXED
    )
    figures: dict[str, object] = {"plan_rows": PLAN_ROWS}
    # a plan compares figures and shows a few values; a caller of the API reads every value
    figures |= _ms("plan_forecasts", [lambda p=plan: predictor.forecast(p) for plan in plans], 40)  # type: ignore[misc]
    for kind, plan in by_kind.items():
        figures |= _ms(f"plan_{kind}", [lambda p=plan: predictor.forecast(p)], 60)  # type: ignore[misc]
    figures |= _ms("plan_values", [lambda p=plan: list(predictor.forecast(p)) for plan in plans], 20)  # type: ignore[misc]
    figures |= _ms("site_plan_forecasts", [lambda p=plan: site.forecast(p) for plan in plans], 20)  # type: ignore[misc]
    figures |= _s("forecasts_10000", lambda: list(predictor.forecast(mixed)))
    figures |= _s("forecast_columns_10000", lambda: predictor.forecast(mixed))
    figures |= _s("load_bundle", load_bundle)
    figures |= _ms("yardstick", [_yardstick], 20)
    training = timed(lambda: train(observations, seed=SEED, created="2026-01-01", git_revision="bench", base=None))
    return figures | {
        "predict_line_s": round(min(timed(_predict_a_line).wall for _ in range(3)), 2),
        "train_s": round(training.wall, 1),
        "train_cpu_s": round(training.cpu, 1),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "bundle_bytes": sum(map(len, bundle.files.values())),
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


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one call."""

    wall: float
    cpu: float
    """Of this process, all threads: what wall-clock would be on a machine with nothing else to do."""


def timed(call: Callable[[], object]) -> Took:
    """Seconds of one call."""
    began, worked = time.perf_counter(), time.process_time()
    call()
    return Took(wall=time.perf_counter() - began, cpu=time.process_time() - worked)


def _ms(name: str, calls: Sequence[Callable[[], object]], rounds: int) -> dict[str, object]:
    """Percentiles in milliseconds of some calls in turn, after one of each to warm up."""
    for call in calls:
        call()
    took = [timed(call) for _ in range(rounds) for call in calls]
    wall, cpu = (1000 * np.array([getattr(one, clock) for one in took]) for clock in ("wall", "cpu"))
    return {
        f"{name}_p50_ms": round(float(np.median(wall)), 2),
        f"{name}_p95_ms": round(float(np.quantile(wall, 0.95)), 2),
        f"{name}_cpu_p50_ms": round(float(np.median(cpu)), 2),
        f"{name}_cpu_p95_ms": round(float(np.quantile(cpu, 0.95)), 2),
    }


def _s(name: str, call: Callable[[], object], rounds: int = 5) -> dict[str, object]:
    """Medians in seconds."""
    took = [timed(call) for _ in range(rounds)]
    return {
        f"{name}_s": round(float(np.median([one.wall for one in took])), 3),
        f"{name}_cpu_s": round(float(np.median([one.cpu for one in took])), 3),
    }


def _yardstick() -> float:
    """The same work everywhere: some 4 ms on a quiet server of 2023, and longer where its core is shared."""
    total = 0.0
    for number in range(100_000):
        total += number * 0.5
    return total


def _site(bundle: Bundle, observations: Sequence[Observation]) -> Bundle:
    """The bundle after a site taught it as much as a forecast is ever compared with."""
    own = [observation for observation in observations if observation.source in SITE]
    return learn_site(bundle, own, seed=SEED, created="2026-01-01", git_revision="bench").bundle


def _predict_a_line() -> None:
    """`pythia predict` from the shell, interpreter and imports included."""
    command = [sys.executable, "-c", "from scheduler.cli.main import run; run()", "predict", "-"]
    subprocess.run(command, input=json.dumps(LINE), capture_output=True, text=True, check=True)


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
