"""`make chaos`: 2,000 jobs while processes are killed 300 times, the broker loses everything, PostgreSQL crashes.

Workers, relays, the API and the placer are killed at random, on each broker that is reachable (the embedded one always;
Redis and RabbitMQ where PYTHIA_TEST_REDIS_URL and PYTHIA_TEST_AMQP_URL name them). PostgreSQL is an embedded one of its
own. Prints the seed first, and ends with one JSON object per broker; exits 1 if anything is not as it must be.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.dispatch.chaos import Plan, chaos
from benchmarks.dispatch.rig import BROKERS
from tests.support.scratch import scratch_directory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--flushes", type=int, default=10, help="how often the broker loses everything")
    parser.add_argument("--restarts", type=int, default=5, help="how often PostgreSQL crashes")
    parser.add_argument("--between", type=float, default=1.5, help="seconds between two things that go wrong")
    parser.add_argument("--patience", type=float, default=900, help="seconds for what is open at the end")
    parser.add_argument("--broker", choices=(*BROKERS, "all"), default="all")
    parser.add_argument("--seed", type=int, help="of jobs, faults and of what is killed when")
    parser.add_argument("--keep", type=Path, help="a new folder that databases and logs are left in")
    asked = parser.parse_args()
    seed = secrets.randbelow(10**9) if asked.seed is None else asked.seed
    plan = Plan(
        jobs=asked.jobs, kills=asked.kills, flushes=asked.flushes, db_restarts=asked.restarts, between_s=asked.between,
        patience_s=asked.patience,
    )  # fmt: skip
    print(f"seed {seed}", flush=True)
    clean = True
    for broker in BROKERS if asked.broker == "all" else (asked.broker,):
        with ExitStack() as stack:
            directory = stack.enter_context(scratch_directory("chaos")) if asked.keep is None else asked.keep / broker
            clean &= _run(directory.resolve(), broker, plan, seed)
    return 0 if clean else 1


def _run(directory: Path, broker: str, plan: Plan, seed: int) -> bool:
    happened = chaos(directory, broker, plan, seed)
    found = happened.audit
    print(f"{broker}: killed {happened.kills}", flush=True)
    print(f"{broker}: jobs {happened.states}; attempts {happened.outcomes}")
    for name, count in found.leaks.items():
        print(f"{broker}: {count} {name}")
    figures = {
        "jobs": found.jobs, "broker": broker, "kills": sum(happened.kills.values()), "flushes": happened.flushes,
        "db_restarts": happened.db_restarts, "lost": found.lost, "doubled": found.doubled, "leaked": found.leaked,
        "oversold": found.oversold, "ledger_difference_micros": found.ledger_difference_micros, "seed": seed,
        "seconds": round(happened.seconds, 1), "drained_s": round(happened.drained_s, 1),
    }  # fmt: skip
    print(json.dumps(figures), flush=True)
    return found.clean and found.jobs == plan.jobs


if __name__ == "__main__":
    sys.exit(main())
