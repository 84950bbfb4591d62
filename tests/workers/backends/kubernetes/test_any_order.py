"""Two workers, a cluster and a bad network in any order: nothing runs twice or after a stop, and no secret is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fake_cluster import FakeCluster
from tests.support.fake_cluster_server import serving
from tests.support.fake_objects import statuses
from tests.workers.backends.kubernetes.conftest import make_settings
from tests.workers.backends.kubernetes.test_manifest import make_gpu_work
from tests.workers.backends.kubernetes.test_staged import hand_over, make_files_work
from workers.backends.base import Phase, ProviderUnavailable, StartFailed
from workers.backends.kubernetes.backend import Kubernetes
from workers.backends.kubernetes.names import BEGAN, job_name

WORKERS = ["start", "poll", "stop", "stop hard", "release", "collect", "tidy"]
CLUSTER = ["run", "end", "fail", "evict", "preempt", "admit", "take back", "wait", "fetch", "no files", "sent"]
TROUBLES = [("GET", 500), ("POST", "forgets to answer"), ("PATCH", "hangs up"), ("DELETE", 503), ("POST", "hangs up")]
STEPS = st.lists(
    st.sampled_from([*WORKERS, *CLUSTER]) | st.sampled_from(TROUBLES).map(lambda one: ("trouble", one)), max_size=14
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, queue=st.sampled_from([None, "gpus"]), files=st.booleans())
def test_a_container_never_runs_twice_and_never_after_a_stop(
    steps: list[Any], queue: str | None, files: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.backends.kubernetes.patience._FIRST_REST_S", 0.0)
    cluster = FakeCluster()
    with serving(cluster) as server:
        made = make_settings(server, tmp_path, kubernetes_queue=queue, kubernetes_staging_image="acme/pythia:1")
        given = replace(hand_over(make_files_work()), secrets={"TOKEN": "of the house"})
        workers = [Kubernetes(settings=made, clock=cluster.now, hand_over=lambda _: given) for _ in range(2)]
        work = (make_files_work if files else make_gpu_work)(secrets={"TOKEN": "house"})
        for number, step in enumerate(steps):
            if isinstance(step, tuple):
                server.troubles += [step[1]] * 4
            elif step in WORKERS:
                with suppress(ProviderUnavailable, StartFailed):
                    _act(workers[number % 2], step, work)
            else:
                _happen(cluster, step, job_name(work.attempt_id))
        server.troubles.clear()
        workers[0].stop(workers[0].locate(work.attempt_id), hard=True)
        before = len(cluster.begun)
        with suppress(StartFailed):
            workers[1].start(work)
        for _ in range(3):
            cluster.ahead += timedelta(seconds=5)
            _happen(cluster, "admit", job_name(work.attempt_id))
            _happen(cluster, "run", job_name(work.attempt_id))
        report = workers[1].poll(workers[1].locate(work.attempt_id))
        workers[1].clear(workers[1].locate(work.attempt_id))
        workers[1].tidy(lambda _: True)
    assert cluster.secrets.there == {}
    assert len(cluster.begun) == before, "nothing begins after a stop"
    assert len(cluster.begun) <= 1
    assert cluster.waited_in_vain == [], "what begins finds its Secret"
    assert report.phase in (Phase.ENDED, Phase.VANISHED)
    assert report.meter is not None
    assert report.meter.to_s >= 0


def _act(backend: Kubernetes, step: str, work: Any) -> None:
    handle = backend.locate(work.attempt_id)
    assert work.machine is not None
    does: dict[str, Callable[[], object]] = {
        "start": lambda: backend.start(work),
        "poll": lambda: backend.poll(handle),
        "stop": lambda: backend.stop(handle, hard=False),
        "stop hard": lambda: backend.stop(handle, hard=True),
        "release": lambda: backend.release(work.machine.key),
        "collect": lambda: backend.collect(handle, {}, ended=False),
        "tidy": lambda: backend.tidy(lambda _: False),
    }
    does[step]()


def state(pod: dict[str, Any], name: str) -> dict[str, Any]:
    """Of one container of a pod."""
    return next((dict(one["state"]) for one in statuses(pod) if one["name"] == name), {})


def note(job: dict[str, Any]) -> bool:
    """Whether a worker has written down that it ran."""
    return BEGAN in (job["metadata"].get("annotations") or {})


def _happen(cluster: FakeCluster, step: str, job: str) -> None:
    """What the cluster does, where it could."""
    with cluster.lock:
        cluster.control()
        there = cluster.jobs.get(job)
        pods = cluster.pods_of(job)
        running = [pod for pod in pods if "running" in state(pod, "main")]
        coming = [pod for pod in pods if "running" in state(pod, "fetch")]
        pending = [pod for pod in pods if pod["status"]["phase"] == "Pending"]
        match step:
            case "fetch" if pending and len(pending[0]["spec"].get("initContainers", ())) == 2:
                cluster.preparing(job)
            case "no files" if coming:
                cluster.prepared(job, 1, json.dumps({"failure": "s3://acme/a: no", "may_pass": False}))
            case "sent" if pods and not running and "running" in state(pods[0], "keep"):
                cluster.sidecar_ends(job, 0, json.dumps({"failure": None, "missing": None}))
            case "run" if pending and "deletionTimestamp" not in pending[0]["metadata"]:
                cluster.running(job)
            case "end" | "fail" if running:
                cluster.ends(job, 0 if step == "end" else 1)
            case "evict" if running:
                cluster.evicted(job, "Evicted", "The node was low on resource: memory.")
            case "preempt" if running:
                cluster.preempted(job)
            case "admit" if there is not None and "suspend" in there["spec"]:
                cluster.kueue(job, admits=True)
            # one that is taken back before anybody saw it run may be let run again, as docs/kubernetes.md says
            case "take back" if there is not None and "suspend" in there["spec"] and (not running or note(there)):
                cluster.kueue(job, admits=False)
            case "wait":
                cluster.ahead += timedelta(seconds=3)
        cluster.control()
