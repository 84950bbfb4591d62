"""How fast jobs are dispatched, and what it takes: each figure on an installation of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import sqlalchemy as sa

from benchmarks.dispatch.rig import Rig, free_port, running_rig
from scheduler.domain.offers import Offer
from tests.support.offers import make_offer

PLENTY = 1_000_000
QUIET: dict[str, Any] = {"retrain_interval_s": 0.0, "simulation_commands": False, "time_scale": 0.0}
SERVICES: dict[str, tuple[str, ...]] = {
    "api": ("scheduler.main", "api"),
    "relay": ("scheduler.main", "relay"),
    "worker": ("workers", "--concurrency", "2"),
}
BATCH = 500


def offers() -> list[Offer]:
    """This host's CPU slots, and one cloud with more GPUs than anybody needs."""
    here: dict[str, Any] = {"provider": "local", "backend": "local", "region": "here"}
    return [
        make_offer("CPU", 0.0, node_gpus=64, sold_gpus=(1, 2), capacity_gpus=64, **here),
        make_offer("H100-SXM", 3.0, capacity_gpus=PLENTY),
    ]


def spec(provider: str, command: list[str], *, runtime_s: float = 1.0) -> dict[str, Any]:
    """A job that asks for no memory, at a provider."""
    return {
        "name": "bench",
        "workload": {"type": "custom", "kind": f"bench-{provider}", "runtime_s": runtime_s},
        "run": {"command": command},
        "constraints": {"providers": [provider], "gpu_count": 1},
        "simulation": {"runtime_s": runtime_s},
    }


@contextmanager
def installed(directory: Path, broker: str, services: dict[str, tuple[str, ...]], **changes: Any) -> Iterator[Rig]:
    """An installation that answers and whose workers listen."""
    with running_rig(directory, broker, offers(), **(QUIET | changes)) as rig:
        rig.start(services)
        if not rig.until(rig.answers, within_s=90):
            raise RuntimeError(f"the API does not answer; its log is in {directory / 'logs'}")
        with client(rig) as http:  # the first job waits for the worker, and warms everything
            for _ in range(3):
                submit(http, [spec("local", ["true"]), spec("acme", ["true"])])
        all_ended(rig, within_s=90)
        yield rig


@contextmanager
def client(rig: Rig, port: int | None = None) -> Iterator[httpx.Client]:
    """One connection that stays open."""
    url = rig.url if port is None else f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {rig.api_key}"}, timeout=120) as http:
        yield http


def submit(http: httpx.Client, specs: list[dict[str, Any]]) -> None:
    """Submit a few at once; each is taken, or this fails."""
    answer = http.post("/v1/jobs:batch", json=specs)
    answer.raise_for_status()
    if answer.json()["refused"]:
        raise RuntimeError(f"a job was refused: {answer.text[:500]}")


def all_ended(rig: Rig, *, within_s: float) -> None:
    """Wait until no job is open."""
    if not rig.until(lambda: not rig.scalar("SELECT count(*) FROM jobs WHERE ended_at IS NULL"), within_s=within_s,
                     rest_s=0.05):  # fmt: skip
        raise RuntimeError(f"jobs did not end within {within_s:g} s; the logs are in {rig.directory / 'logs'}")


def start_latency(directory: Path, broker: str, jobs: int) -> dict[str, float]:
    """Milliseconds from before the submission to the command's first act, one job at a time, on this very host."""
    with installed(directory, broker, SERVICES) as rig, client(rig) as http:
        submitted: dict[str, int] = {}
        for _ in range(jobs):
            at_ns = time.time_ns()
            answer = http.post("/v1/jobs", json=spec("local", ["date", "+%s%N"]))
            answer.raise_for_status()
            submitted[answer.json()["id"]] = at_ns
            all_ended(rig, within_s=60)
        with rig.connected() as connection:
            began = connection.execute(
                sa.text("SELECT a.job_id, l.text FROM attempt_logs l JOIN attempts a ON a.id = l.attempt_id")
            ).all()
        waits = [(int(text) - submitted[str(job)]) / 1e6 for job, text in began if str(job) in submitted]
    if len(waits) != jobs:
        raise RuntimeError(f"{len(waits)} of {jobs} jobs printed when they began")
    return {"p50": float(np.percentile(waits, 50)), "p95": float(np.percentile(waits, 95))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Jobs a second, and what each took of processors, which a busy machine changes less."""

    jobs_per_s: float
    cpu_ms: dict[str, float]


def throughput(directory: Path, broker: str, jobs: int, provider: str) -> Throughput:
    """From the first submission to the last end, whoever does what."""
    with installed(directory, broker, SERVICES) as rig, client(rig) as http:
        before, began = _cpu_by_part(rig), time.monotonic()
        for first in range(0, jobs, BATCH):
            submit(http, [spec(provider, ["true"]) for _ in range(min(BATCH, jobs - first))])
        all_ended(rig, within_s=600)
        took_s, after = time.monotonic() - began, _cpu_by_part(rig)
        other = "SELECT count(*) FROM jobs WHERE state <> 'completed'"
        if rig.scalar(other):
            raise RuntimeError(f"{rig.scalar(other)} jobs did not complete")
    return Throughput(
        jobs_per_s=jobs / took_s, cpu_ms={name: 1000 * (after[name] - used) / jobs for name, used in before.items()}
    )


def polling(directory: Path, broker: str, jobs: int, seconds: float) -> dict[str, float]:
    """Processor and memory that relay and workers take to look at so many running jobs, an hour after their start."""
    services = SERVICES | {"worker-2": ("workers", "--queues", "dispatch", "--concurrency", "1", "--name", "two@%h")}
    with installed(directory, broker, services, time_scale=1.0) as rig, client(rig) as http:
        for first in range(0, jobs, BATCH):
            submit(http, [spec("acme", ["true"], runtime_s=1e7) for _ in range(min(BATCH, jobs - first))])
        running = "SELECT count(*) FROM attempts WHERE state = 'running'"
        if not rig.until(lambda: rig.scalar(running) == jobs, within_s=1200, rest_s=1.0):
            raise RuntimeError(f"only {rig.scalar(running)} of {jobs} jobs run")
        rig.until(lambda: _age(rig), within_s=60)
        time.sleep(20)
        before, looks = _cpu_s(rig, ("relay", "worker", "worker-2")), _looks(rig)
        database = _cpu_of(psutil.Process(_pid(rig.postgres.server)))
        time.sleep(seconds)
        used = _cpu_s(rig, ("relay", "worker", "worker-2")) - before
        database = _cpu_of(psutil.Process(_pid(rig.postgres.server))) - database
        oldest = float(
            rig.scalar("SELECT extract(epoch FROM now() - min(seen_at)) FROM attempts WHERE state = 'running'")
        )
        return {
            "jobs": jobs, "cores": used / seconds, "database_cores": database / seconds,
            "gib": _rss_gib(rig, ("relay", "worker", "worker-2")), "oldest_look_s": oldest,
            "looks_per_s": (_looks(rig) - looks) / seconds,
        }  # fmt: skip


def _age(rig: Rig) -> bool:
    """Let all that runs have run for an hour, and look at it at a moment of its own. Who looks meanwhile holds some of
    the rows, so PostgreSQL may have to undo this; whether it did not."""
    with rig.connected() as connection:
        connection.execute(
            sa.text("""UPDATE attempts SET claimed_at = claimed_at - interval '1 hour',
                       next_poll_at = now() + random() * interval '15 seconds' WHERE state = 'running'""")
        )
    return True


def connections(directory: Path, broker: str, jobs: int, seconds: float) -> int:
    """The most PostgreSQL connections at once: so many running jobs, four API processes, four workers, all asked."""
    names = ("api", "api-2", "api-3", "api-4")
    ports = {name: free_port() for name in names[1:]}
    services = dict.fromkeys(names, SERVICES["api"]) | {"relay": SERVICES["relay"]}
    services |= {f"worker-{n}": ("workers", "--concurrency", "2", "--name", f"{n}@%h") for n in range(1, 5)}
    with running_rig(directory, broker, offers(), **(QUIET | {"time_scale": 1.0})) as rig:
        rig.start(services, ports)
        for port in (None, *ports.values()):
            if not rig.until(lambda port=port: rig.answers(port), within_s=120):  # type: ignore[misc]
                raise RuntimeError(f"an API does not answer; its log is in {directory / 'logs'}")
        with client(rig) as http:
            for first in range(0, jobs, BATCH):
                submit(http, [spec("acme", ["true"], runtime_s=1e7) for _ in range(min(BATCH, jobs - first))])
        running = "SELECT count(*) FROM attempts WHERE state = 'running'"
        if not rig.until(lambda: rig.scalar(running) >= jobs, within_s=600):
            raise RuntimeError(f"only {rig.scalar(running)} of {jobs} jobs run")
        stopping = threading.Event()
        asking = [
            threading.Thread(target=_ask, args=(rig, port, stopping), daemon=True)
            for port in (None, *ports.values())
            for _ in range(8)
        ]
        for thread in asking:
            thread.start()
        most = 0
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # but for the one that asks
            most = max(
                most, int(rig.scalar("SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"))
            )
            time.sleep(0.2)
        given_up = sum(not thread.is_alive() for thread in asking)
        stopping.set()
        if given_up:
            raise RuntimeError(f"{given_up} of {len(asking)} clients gave up; the logs are in {directory / 'logs'}")
        return most


def _cpu_by_part(rig: Rig) -> dict[str, float]:
    parts = {name: _cpu_of(psutil.Process(_pid(child))) for name, child in rig.children.items()}
    return parts | {"postgres": _cpu_of(psutil.Process(_pid(rig.postgres.server)))}


def _ask(rig: Rig, port: int | None, stopping: threading.Event) -> None:
    with suppress(httpx.HTTPError), client(rig, port) as http:  # the API may be stopped before we are
        while not stopping.is_set():
            http.get("/v1/jobs?limit=50").raise_for_status()
            http.post("/v1/plans", json=spec("acme", ["true"])).raise_for_status()


def _looks(rig: Rig) -> int:
    return int(rig.scalar("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'attempts'") / 3)


def _pid(child: Any) -> int:
    assert child.process is not None
    return int(child.process.pid)


def _tree(rig: Rig, names: tuple[str, ...]) -> Iterator[psutil.Process]:
    for name in names:
        process = psutil.Process(_pid(rig.children[name]))
        yield process
        yield from process.children(recursive=True)


def _cpu_s(rig: Rig, names: tuple[str, ...]) -> float:
    return sum(_times(process) for process in _tree(rig, names))


def _cpu_of(process: psutil.Process) -> float:
    return _times(process) + sum(_times(child) for child in process.children(recursive=True))


def _times(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _rss_gib(rig: Rig, names: tuple[str, ...]) -> float:
    """Memory that is nobody else's, and a share of what is: pages that a pool of processes has in common count once."""
    return sum(process.memory_full_info().pss for process in _tree(rig, names)) / 2**30
