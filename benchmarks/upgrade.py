"""`make upgrade`: bring an installation from an earlier version to this one while jobs run, and lose none.

Everything runs from the earlier version, taken from git; the schema is upgraded under it; its processes and today's
work side by side on the same queues; then the earlier ones are told to end, and one is killed. Jobs are submitted all
the while, to the earlier API and then to today's. Ends with one JSON object; exits 1 if a job was lost, ended twice, or
left something open, if an earlier process did not end when told, or if none of its attempts was left to today's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from signal import SIGTERM
from typing import Any

from benchmarks.dispatch.load import CAPACITY, Client, drawn_specs
from benchmarks.dispatch.rig import BROKERS, Rig, free_port, running_rig
from scheduler.storage.migrate import newest_revision, upgrade
from tests.support.scratch import scratch_directory

HERE = Path(__file__).resolve().parents[1]
KINDS = {"plain", "surprise", "wide", "spot"}
"""What every version could run."""
CHANGES: dict[str, Any] = {"time_scale": 5e-3, "lease_s": 8.0, "sweep_interval_s": 3.0, "placer_interval_s": 0.5,
                           "retrain_interval_s": 0.0}  # fmt: skip
INVENTORY = f"""
import sys
from scheduler.services.import_offers import put_offers
from scheduler.storage.engine import make_engine
from scheduler.storage.migrate import upgrade
from tests.support.offers import make_offer
upgrade(sys.argv[1])
put_offers(make_engine(sys.argv[1], pool_size=1), [
    make_offer(gpu, usd, region=gpu, capacity_gpus={CAPACITY}, provision_s=10.0,
               spot_micros_per_gpu_hour=round(usd * 400_000))
    for gpu, usd in (("RTX4090", 0.5), ("L40S", 1.0), ("A100-80GB-SXM", 2.0), ("H100-SXM", 3.0))])
"""
"""Run by the earlier version, so that the schema and the offers in it are as it made them."""
OPEN = {
    "jobs that have not ended": "SELECT count(*) FROM jobs WHERE ended_at IS NULL",
    "attempts not ended": "SELECT count(*) FROM attempts WHERE state <> 'ended'",
    "reservations open": "SELECT count(*) FROM reservations WHERE released_at IS NULL",
    "counters above zero": "SELECT count(*) FROM offers WHERE reserved_gpus <> 0",
    "machines not gone": "SELECT count(*) FROM machines WHERE state <> 'gone'",
    "machines that do not add up": "SELECT count(*) FROM machine_costs WHERE off_by <> 0",
    "jobs that spent other than their attempts": """
        SELECT count(*) FROM jobs j WHERE spent_micros <>
          (SELECT coalesce(sum(cost_micros), 0) FROM attempts a WHERE a.job_id = j.id)""",
    "attempts without one end": """
        SELECT count(*) FROM attempts a WHERE (SELECT count(*) FROM events e
          WHERE e.attempt_id = a.id AND e.kind = 'attempt_ended') <> 1""",
    "completed attempts that cost nothing": """
        SELECT count(*) FROM attempts WHERE outcome = 'completed' AND coalesce(cost_micros, 0) <= 0""",
}

PATIENCE_S = 60.0
LASTING, LASTS_S = 10, 12_000.0
"""One job in so many takes a minute of ours."""
PASSING = ("jobs that have not ended", "machines not gone")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="revision", help="a commit; by default the last one of an earlier day")
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--broker", choices=BROKERS, default="redis" if "redis" in BROKERS else "embedded")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a new folder that database and logs are left in")
    asked = parser.parse_args()
    revision = asked.revision or _git("rev-list", "-1", f"--before={datetime.now(UTC).date()}T00:00:00Z", "HEAD")
    if not revision:
        parser.error("there is no commit of an earlier day: name one with --from")
    with ExitStack() as stack:
        directory = stack.enter_context(scratch_directory("upgrade")) if asked.keep is None else asked.keep
        directory = directory.resolve()
        earlier = stack.enter_context(_checked_out(revision, directory / "earlier"))
        figures = _upgraded(directory, earlier, asked.broker, asked.jobs, asked.seed)
    print(json.dumps({"from": revision[:12], "to": newest_revision(), "broker": asked.broker, **figures}))
    return 1 if figures["lost"] or figures["left"] else 0


def _upgraded(directory: Path, earlier: Path, broker: str, jobs: int, seed: int) -> dict[str, Any]:
    drawn = islice((one for one in drawn_specs(seed, directory) if one["name"] in KINDS), jobs)
    specs = [_plain(spec, lasts=number % LASTING == 0) for number, spec in enumerate(drawn)]

    def begin(url: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(earlier)}
        subprocess.run([sys.executable, "-c", INVENTORY, url], env=environment, cwd=earlier, check=True)

    with running_rig(directory, broker, (), begin=begin, **CHANGES) as rig:
        rig.start(_services("old"), packages=earlier)
        if not rig.until(rig.answers, within_s=90):
            raise RuntimeError(f"the earlier API does not answer; its log is in {directory / 'logs'}")
        taken = _submit(rig, specs[: jobs // 3], seed)
        print(f"{len(taken)} jobs taken by the earlier version; upgrading the schema under it", flush=True)
        before, after = upgrade(rig.settings.require_database_url())
        taken += _submit(rig, specs[jobs // 3 : jobs // 2], seed + 1)
        print(f"{len(taken)} jobs taken; {before} became {after}; starting today's processes beside it", flush=True)
        port = free_port()
        rig.start(_services("new"), {"new-api": port})
        if not rig.until(lambda: rig.answers(port), within_s=90):
            raise RuntimeError(f"today's API does not answer; its log is in {directory / 'logs'}")
        rig.settings = rig.settings.model_copy(update={"port": port})
        beside = rig.scalar("SELECT now()")
        deaf: list[str] = []
        ending = threading.Thread(target=_end_the_earlier, args=(rig, deaf))
        ending.start()
        taken += _submit(rig, specs[jobs // 2 :], seed + 2)
        ending.join()
        alone = rig.scalar("SELECT now()")
        rig.until(lambda: not any(rig.scalar(OPEN[name]) for name in PASSING), within_s=300, rest_s=0.5)
        rig.stop()
        left = {name: int(rig.scalar(query)) for name, query in OPEN.items()} | {"deaf to SIGTERM": len(deaf)}
        query = f"SELECT count(*) FROM attempts WHERE claimed_at < '{beside}' AND ended_at > '{alone}'"  # noqa: S608
        taken_over = int(rig.scalar(query))
        left["handed over to nobody"] = int(not taken_over)
        stored = int(rig.scalar("SELECT count(*) FROM jobs"))
        lost = int(rig.scalar("SELECT count(*) FROM attempts WHERE outcome = 'lost'"))
        outcomes = _counts(rig)
    return {
        "jobs": len(taken), "lost": abs(stored - len(set(taken))), "left": {k: v for k, v in left.items() if v},
        "outcomes": outcomes, "attempts_lost_and_tried_again": lost, "attempts_taken_over": taken_over, "seed": seed,
    }  # fmt: skip


def _services(which: str) -> dict[str, tuple[str, ...]]:
    def worker(name: str, queues: str, processes: int) -> tuple[str, ...]:
        return "workers", "--queues", queues, "--concurrency", str(processes), "--name", f"{which}-{name}@%h"

    return {
        f"{which}-api": ("scheduler.main", "api"),
        f"{which}-relay": ("scheduler.main", "relay"),
        f"{which}-worker-1": worker("one", "dispatch,poll", 2),
        f"{which}-worker-2": worker("two", "dispatch,poll", 2),
        f"{which}-placer": worker("placer", "maintenance", 1),
    }


def _submit(rig: Rig, specs: Sequence[dict[str, Any]], seed: int) -> list[str]:
    client = Client(rig=rig, specs=specs, seed=seed, pause_s=0.05)
    given_up = threading.Timer(PATIENCE_S + len(specs), client.stopping.set)
    given_up.start()
    client.run()
    given_up.cancel()
    if len(client.taken) < len(specs):
        raise RuntimeError(f"the API does not take jobs; its log is in {rig.directory / 'logs'}")
    return client.taken


def _end_the_earlier(rig: Rig, deaf: list[str]) -> None:
    """As an operator would, one after the other; the last worker dies without a word. Notes who did not end."""
    for name in ("old-relay", "old-placer", "old-worker-1", "old-api"):
        rig.children[name].signal(SIGTERM)
        if not rig.children[name].wait(30):
            deaf.append(name)
            rig.children[name].kill()
    rig.children["old-worker-2"].kill()


def _plain(spec: dict[str, Any], *, lasts: bool) -> dict[str, Any]:
    """Without what only later versions can be told; some last until the earlier processes are gone."""
    simulation = {name: value for name, value in spec["simulation"].items() if name != "run_command"}
    if not lasts:
        return spec | {"simulation": simulation}
    workload = spec["workload"] | {"runtime_s": LASTS_S}
    return spec | {"simulation": simulation | {"runtime_s": LASTS_S}, "workload": workload}


def _counts(rig: Rig) -> dict[str, int]:
    with rig.connected() as connection:
        rows = connection.exec_driver_sql("SELECT state, count(*) FROM jobs GROUP BY state ORDER BY 1")
        return {str(name): int(count) for name, count in rows}


@contextmanager
def _checked_out(revision: str, at: Path) -> Iterator[Path]:
    _git("worktree", "add", "--quiet", "--detach", str(at), revision)
    try:
        yield at
    finally:
        _git("worktree", "remove", "--force", str(at))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
