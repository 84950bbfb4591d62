"""`python -m benchmarks.retraining`: how long 100,000 observations take to learn from, and how much memory.

The observations are drawn with repetition from the open ones, each with lengths and measurements of its own (seeded
noise), so that no two are repeats of one job. A site's lesson with its comparison and a full training run in a process
each; the last line is one JSON object. Needs PYTHIA_OBSERVATIONS_DIR, a folder of observations.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from predictor.architectures.catalogue import load_models
from predictor.bundle import load_bundle
from predictor.hardware import load_gpu_types
from predictor.site.training import Lesson, learn_site
from predictor.telemetry import Observation
from predictor.telemetry_files import read_telemetry
from predictor.training import train
from predictor.workload import InferenceWorkload, TrainingWorkload, Workload
from scheduler.services.judging import Seen, judge, newest

SEED = 7
ROWS = 100_000
NOISE = 0.05
"""Standard deviation of a measurement's logarithm: repeats at fixed software spread about so."""
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
LENGTHS = 0.1
"""How far lengths go up or down, as a share."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--only", choices=sorted(_WAYS), help="one way of learning, in this process")
    arguments = parser.parse_args()
    folder = os.environ.get("PYTHIA_OBSERVATIONS_DIR")
    if not folder:
        print("Set PYTHIA_OBSERVATIONS_DIR to a folder of observations to run this benchmark.", file=sys.stderr)
        return 2
    if arguments.only:
        print(json.dumps(_measured(arguments.only, Path(folder), arguments.rows)))
        return 0
    figures: dict[str, object] = {"observations": arguments.rows, "seed": SEED}
    for way in _WAYS:
        # a process of its own: the peak of a process never falls
        command = [sys.executable, "-m", "benchmarks.retraining", "--only", way, "--rows", str(arguments.rows)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        figures |= {f"{way}_{name}": value for name, value in json.loads(answer).items()}
        print(f"{way}: {answer.strip()}")
    print(json.dumps(figures))
    return 0


def drawn(observations: Sequence[Observation], count: int, seed: int) -> list[Observation]:
    """Observations of jobs like those given, none the repeat of another."""
    draw = random.Random(seed)  # noqa: S311 - a draw of observations, no secret
    return [_like(observation, number, draw) for number, observation in enumerate(draw.choices(observations, k=count))]


def _like(seen: Observation, number: int, draw: random.Random) -> Observation:
    longer = draw.uniform(1.0 - LENGTHS, 1.0 + LENGTHS)

    def noisy(value: float | None) -> float | None:
        return None if value is None else value * draw.lognormvariate(0.0, NOISE)

    return replace(
        seen,
        id=f"{seen.id}-{number}",
        configuration=f"{seen.configuration}-{number}",
        question=replace(seen.question, workload=_with_lengths(seen.question.workload, longer)),
        peak_vram_gib=noisy(seen.peak_vram_gib),
        step_time_s=noisy(seen.step_time_s),
        runtime_s=noisy(seen.runtime_s),
    )


def _with_lengths(workload: Workload, longer: float) -> Workload:
    if isinstance(workload, TrainingWorkload):
        return replace(workload, sequence_length=workload.sequence_length * longer)
    if isinstance(workload, InferenceWorkload):
        prefix = min(workload.cached_prefix_length, workload.input_length * longer)
        return replace(workload, input_length=workload.input_length * longer, cached_prefix_length=prefix)
    return workload


def _site(observations: Sequence[Observation]) -> None:
    base = load_bundle()
    seen = [Seen(one, one.source, _LONG_AGO, UUID(int=number)) for number, one in enumerate(observations)]

    def learn(these: Sequence[Seen]) -> Lesson:
        taught = [one.observation for one in these]
        return learn_site(base, taught, seed=SEED, created="2026-01-01", git_revision="bench")

    lesson = learn(seen)
    judge(base, lesson, newest(seen, lesson.quarantined), seen, known=None, learn=learn)


def _full(observations: Sequence[Observation]) -> None:
    train(observations, seed=SEED, created="2026-01-01", git_revision="bench", base=None)


_WAYS: Mapping[str, Callable[[Sequence[Observation]], None]] = {"site": _site, "full": _full}


def _measured(way: str, folder: Path, rows: int) -> dict[str, float]:
    observations = drawn(read_telemetry(folder, load_models(), load_gpu_types()).observations, rows, SEED)
    began, worked = time.perf_counter(), time.process_time()
    _WAYS[way](observations)
    return {
        "s": round(time.perf_counter() - began, 1),
        "cpu_s": round(time.process_time() - worked, 1),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    sys.exit(main())
