"""How fast and how near the best the waiting jobs are assigned together: 2,000 jobs over 30 GPU types.

    python -m benchmarks.assignment

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from scheduler.domain.assignment import assign
from tests.scheduler.domain.test_assignment import large

SLACKS = (1.3, 1.05, 0.8, 0.5)
"""GPUs that there are for each that is needed."""


def assignments(*, jobs: int, types: int, seeds: int, seconds: float) -> dict[str, object]:
    """Assign queues of so many jobs, drawn with each seed at each slack; print a line for each, give the figures."""
    took: list[float] = []
    gaps: list[float] = []
    saved: list[float] = []
    for seed in range(seeds):
        for slack in SLACKS:
            problem, greedy = large(seed=seed, slack=slack, jobs=jobs, types=types)
            before = int(problem.cost[greedy].sum())
            began = time.perf_counter()
            solved = assign(problem, greedy, seconds=seconds)
            took.append(time.perf_counter() - began)
            gaps.append(solved.gap)
            saved.append(1 - solved.cost_micros / before)
            print(
                f"seed {seed}, {slack:g} GPUs for each needed: {len(greedy)} jobs of {len(problem.job)} options, "
                f"{took[-1]:.2f} s, gap {solved.gap:.3%}, {saved[-1]:.1%} below one by one, {solved.method}"
            )
    return {
        "waiting_jobs": jobs, "waiting_gpu_types": types, "assignments": len(took),
        "assign_max_s": round(max(took), 3), "assign_median_s": round(sorted(took)[len(took) // 2], 3),
        "assign_gap_max": round(max(gaps), 6), "assign_saved_min": round(min(saved), 4),
        "assign_saved_mean": round(sum(saved) / len(saved), 4), "dearer_than_greedy": sum(one < 0 for one in saved),
    }  # fmt: skip


def main() -> int:
    """Print a line for each case, and one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--types", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    figures = assignments(jobs=given.jobs, types=given.types, seeds=given.seeds, seconds=given.seconds)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
