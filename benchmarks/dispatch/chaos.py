"""Kill everything at random while jobs run, and count what went wrong."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.dispatch.audit import WATCH, Audit, audit
from benchmarks.dispatch.load import CAPACITY, Client, cloud, drawn_specs
from benchmarks.dispatch.rig import Rig, running_rig
from scheduler.settings import Faults

SERVICES: dict[str, tuple[str, ...]] = {
    "api": ("scheduler.main", "api"),
    "relay-1": ("scheduler.main", "relay"),
    "relay-2": ("scheduler.main", "relay"),
    "worker-1": ("workers", "--queues", "dispatch,poll", "--concurrency", "2", "--name", "one@%h"),
    "worker-2": ("workers", "--queues", "dispatch,poll", "--concurrency", "2", "--name", "two@%h"),
    # who sweeps, reconciles machines and decides again for jobs that wait: the placer
    "placer": ("workers", "--queues", "maintenance", "--concurrency", "1", "--name", "placer@%h"),
}
FAULTS = Faults(error_share=0.02, refusal_share=0.01, preemptions_per_hour=0.5, vanishings_per_hour=0.1,
                quota_gpus=CAPACITY)  # fmt: skip
IMPATIENT: dict[str, Any] = {
    "time_scale": 1e-3, "lease_s": 8.0, "sweep_interval_s": 3.0, "placer_interval_s": 0.5, "retrain_interval_s": 0.0,
    "simulation_faults": FAULTS, "simulation_commands": False,
}  # fmt: skip
"""A virtual second takes a millisecond, and what is left by the dead is taken up soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of what goes wrong, and how fast."""

    jobs: int = 2000
    kills: int = 300
    flushes: int = 10
    db_restarts: int = 5
    between_s: float = 1.5
    """Seconds between two things that go wrong."""
    patience_s: float = 900.0
    """For what is still open when nothing goes wrong any more."""


@dataclass(slots=True, kw_only=True)
class Happened:
    """What was done, and what was found."""

    audit: Audit
    kills: dict[str, int] = field(default_factory=dict)
    flushes: int = 0
    db_restarts: int = 0
    seconds: float = 0.0
    drained_s: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)


def chaos(directory: Path, broker: str, plan: Plan, seed: int) -> Happened:
    """Run it, on a broker by name, in a directory that is empty."""
    with running_rig(directory, broker, cloud(), **IMPATIENT, simulation_seed=seed) as rig:
        with rig.connected() as connection:
            connection.exec_driver_sql(WATCH)
        rig.start(SERVICES)
        if not rig.until(rig.answers, within_s=90):
            raise RuntimeError(f"the API does not answer; its log is in {directory / 'logs'}")
        pause_s = plan.between_s * (plan.kills + plan.flushes + plan.db_restarts) / plan.jobs
        ran = directory / "ran"
        ran.mkdir()
        specs = list(islice(drawn_specs(seed, ran), plan.jobs))
        client = Client(rig=rig, specs=specs, seed=seed, pause_s=pause_s * 0.7)
        submitting = threading.Thread(target=client.run, daemon=True)
        began = time.monotonic()
        submitting.start()
        happened = Happened(audit=Audit(jobs=0, lost=0, doubled=0, leaked=0, oversold=0, ledger_difference_micros=0,
                                        leaks={}))  # fmt: skip
        _go_wrong(rig, plan, random.Random(seed), happened)  # noqa: S311 - drawn again from the same seed
        calm = time.monotonic()
        _let_it_end(rig, submitting, plan)
        client.stopping.set()
        submitting.join(30)
        happened.seconds, happened.drained_s = time.monotonic() - began, time.monotonic() - calm
        rig.stop()
        happened.audit = audit(rig, client.taken, ran)
        happened.outcomes = _counts(rig, "SELECT outcome, count(*) FROM attempts GROUP BY outcome ORDER BY 1")
        happened.states = _counts(rig, "SELECT state, count(*) FROM jobs GROUP BY state ORDER BY 1")
        return happened


def _go_wrong(rig: Rig, plan: Plan, dice: random.Random, happened: Happened) -> None:
    events = ["kill"] * plan.kills + ["flush"] * plan.flushes + ["restart"] * plan.db_restarts
    dice.shuffle(events)
    for event in events:
        time.sleep(plan.between_s * dice.uniform(0.5, 1.5))
        match event:
            case "kill":
                name = dice.choice(list(rig.children))
                rig.kill(name)
                happened.kills[name] = happened.kills.get(name, 0) + 1
            case "flush":
                if not rig.until(rig.flush_broker, within_s=90):
                    raise RuntimeError("the broker could not be emptied")
                happened.flushes += 1
            case "restart":
                rig.restart_postgres()
                happened.db_restarts += 1
        rig.revive()


def _let_it_end(rig: Rig, submitting: threading.Thread, plan: Plan) -> None:
    """Nothing goes wrong any more: whatever is open comes to its end, or does not."""
    open_jobs = "SELECT count(*) FROM jobs WHERE ended_at IS NULL"
    rented = "SELECT count(*) FROM machines WHERE state <> 'gone'"

    def over() -> bool:
        rig.revive()
        return not submitting.is_alive() and not rig.scalar(open_jobs) and not rig.scalar(rented)

    rig.until(over, within_s=plan.patience_s, rest_s=0.5)


def _counts(rig: Rig, query: str) -> dict[str, int]:
    with rig.connected() as connection:
        return {str(name): int(count) for name, count in connection.exec_driver_sql(query)}
