"""`make bench-dispatch`: how soon a job starts, how many a second end, and what ten thousand running ones take.

Prints a line per figure and ends with one JSON object. Every part has an installation of its own: an embedded
PostgreSQL, the API, a relay and a worker with two processes. The embedded broker is measured always, Redis and RabbitMQ
where PYTHIA_TEST_REDIS_URL and PYTHIA_TEST_AMQP_URL name them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.dispatch.figures import Throughput, connections, polling, start_latency, throughput
from benchmarks.dispatch.rig import BROKERS
from tests.support.scratch import scratch_directory

PARTS = ("start", "jobs", "local", "polling", "connections")
T = TypeVar("T")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=200, help="jobs whose start is timed, one at a time, per broker")
    parser.add_argument("--jobs", type=int, default=2000, help="jobs on the simulated backend")
    parser.add_argument("--local", type=int, default=400, help="jobs that are processes of this host")
    parser.add_argument("--running", type=int, default=10_000, help="running jobs that are looked at")
    parser.add_argument("--seconds", type=float, default=60, help="of looking at them")
    parser.add_argument("--only", default=",".join(PARTS), help=f"comma-separated parts of {', '.join(PARTS)}")
    asked = parser.parse_args()
    parts = asked.only.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"unknown parts {', '.join(unknown)}; there are {', '.join(PARTS)}")
    fast = "redis" if "redis" in BROKERS else "embedded"
    figures: dict[str, object] = {"cores": os.cpu_count(), "broker": fast}
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for broker in BROKERS if "start" in parts else ():
        waits = _in_scratch(lambda at, broker=broker: start_latency(at, broker, asked.starts))  # type: ignore[misc]
        p50, p95 = waits["p50"], waits["p95"]
        print(f"Submission to the command's start, {broker}: p50 {p50:.0f} ms, p95 {p95:.0f} ms", flush=True)
        ending = "" if broker == fast else f"_{broker}"
        figures |= {f"start_p50_ms{ending}": round(p50, 1), f"start_p95_ms{ending}": round(p95, 1)}
    if "jobs" in parts:
        done = _in_scratch(lambda at: throughput(at, fast, asked.jobs, "acme"))
        print(f"Simulated jobs, submitted to ended, {fast}: {_told(done)}", flush=True)
        figures |= {"jobs_per_s": round(done.jobs_per_s, 1), "job_cpu_ms": round(sum(done.cpu_ms.values()), 1)}
    if "local" in parts:
        done = _in_scratch(lambda at: throughput(at, fast, asked.local, "local"))
        print(f"Processes of this host, submitted to ended, {fast}: {_told(done)}", flush=True)
        figures["local_processes_per_s"] = round(done.jobs_per_s, 1)
    if "polling" in parts:
        looked = _in_scratch(lambda at: polling(at, fast, asked.running, asked.seconds))
        cores, gib, rate = looked["cores"], looked["gib"], looked["looks_per_s"]
        print(f"{asked.running:,} running jobs: {cores:.2f} cores and {gib:.2f} GiB for {rate:.0f} looks/s; "
              f"PostgreSQL {looked['database_cores']:.2f} cores", flush=True)  # fmt: skip
        figures |= {f"polling_{name}": round(value, 3) for name, value in looked.items()}
    if "connections" in parts:
        most = _in_scratch(lambda at: connections(at, fast, min(1000, asked.running), 15))
        print(f"PostgreSQL connections, four API processes and four workers under load: {most} at most", flush=True)
        figures["connections"] = most
    print(json.dumps(figures))
    return 0


def _told(done: Throughput) -> str:
    parts = ", ".join(f"{name} {ms:.1f}" for name, ms in done.cpu_ms.items())
    return f"{done.jobs_per_s:.1f}/s, processor ms a job: {parts}"


def _in_scratch(measure: Callable[[Path], T]) -> T:
    with scratch_directory("bench") as directory:
        return measure(directory.resolve())


if __name__ == "__main__":
    sys.exit(main())
