"""A minute of chaos: everything is killed at random while jobs run; nothing is lost, doubled, left open or misbilled.

`make chaos` does the same for longer, on every broker. A failure prints the seed; with it the same jobs meet the same
faults, and the same processes are killed in the same order (`make chaos ARGS="--seed N"`).
"""

from __future__ import annotations

import secrets

from benchmarks.dispatch.chaos import Plan, chaos
from tests.support.scratch import scratch_directory

PLAN = Plan(jobs=60, kills=14, flushes=2, db_restarts=1, between_s=1.5, patience_s=240)


def test_a_minute_of_chaos_leaves_every_job_ended_once_and_every_second_billed_once() -> None:
    seed = secrets.randbelow(10**9)
    with scratch_directory("chaos") as directory:
        happened = chaos(directory, "embedded", PLAN, seed)
    assert happened.audit.clean, f"seed {seed}: {happened.audit}"
    assert happened.audit.jobs == PLAN.jobs, f"seed {seed}"
    assert sum(happened.states.values()) == PLAN.jobs, f"seed {seed}"
