"""`make bench-fleet`: a day of ten million requests, every way to serve it, and the search for the best.

The day comes in a wave, 116 requests a second on average and 250 at its peak, of Llama 3.1 8B at the shipped prices.
Beside it one simulation of that day, compiled, and the same lines as plain Python on 100,000 requests. The last line
is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from time import perf_counter, process_time

import numpy as np

from predictor.model import load_default_predictor
from scheduler.economics.fleet_simulation import Elastic, Floats, simulate
from scheduler.economics.fleet_spec import parse_fleet_spec
from scheduler.services.fleet import compare_fleets_on
from scheduler.services.knowledge import know
from scheduler.services.seed import shipped_offers

REQUESTS = 10_000_000
BY_PYTHON = 100_000
DAY_S = 86_400
ASKED = {
    "model": "meta-llama/Llama-3.1-8B-Instruct", "precision": "fp8", "input_length": 1000, "output_length": 200,
    "max_ttft_p95_s": 5,
}  # fmt: skip
RATES = np.array([0.0, *(10.0 * n / (n + 20.0) for n in range(1, 65))])
"""Of one simulation by itself: 64 sequences, 7.6 requests a second when full."""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--requests", type=int, default=REQUESTS)
    asked.add_argument("--one-run", type=int, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.one_run:
        print(requests_per_s(given.one_run))
        return 0
    requests_per_s(1000)  # compiles, where no earlier process has left the code
    spec = parse_fleet_spec(ASKED | {"mean_rps": given.requests / DAY_S, "peak_rps": given.requests / DAY_S * 2.16})
    knowledge = know(load_default_predictor())
    begun, worked = perf_counter(), process_time()
    report = compare_fleets_on(shipped_offers(), knowledge, spec)
    took, worked = perf_counter() - begun, process_time() - worked
    for way in report.comparison.outcomes:
        print(
            f"{way.way:14} ${way.cost_micros / 1e6:10,.2f}  {way.dedicated:4} kept  idle {way.idle_s}  "
            f"{way.cold_starts:6,} starts  ttft p95 {way.ttft_s.p95 if way.ttft_s else float('nan'):.2f} s"
        )
    print("by replicas kept:", [(one.dedicated, round(one.cost_micros / 1e6, 2)) for one in report.comparison.curve])
    compiled = requests_per_s(given.requests)
    plain = float(_other_process(BY_PYTHON))
    print(
        json.dumps(
            {
                "requests": len(report.traffic), "all_ways_s": round(took, 1), "all_ways_cpu_s": round(worked, 1),
                "simulated_requests_per_s": round(compiled), "plain_python_requests_per_s": round(plain),
                "ratio": round(compiled / plain, 1),
            }
        )
    )  # fmt: skip
    return 0


def requests_per_s(count: int) -> float:
    """One simulation of the day's load, thinned to so many requests by being shorter."""
    chance = np.random.default_rng(3)
    arrival_s: Floats = np.cumsum(chance.exponential(DAY_S / REQUESTS, count))
    work = chance.lognormal(-0.25, np.sqrt(0.5), count)
    begun = perf_counter()
    simulate(arrival_s, work, RATES, dedicated=12, elastic=Elastic(most=60, cold_s=60.0, idle_s=60.0))
    return count / (perf_counter() - begun)


def _other_process(count: int) -> str:
    """Requests a second of the loop as plain Python."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fleet", "--one-run", str(count)],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())
