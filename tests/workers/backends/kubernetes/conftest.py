"""A cluster that answers over HTTP, and the backend as a worker has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.states import Outcome
from scheduler.settings import Settings
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_cluster_server import FakeServer, serving
from tests.workers.backends.kubernetes.test_manifest import make_gpu_work
from workers.backends.base import Report
from workers.backends.kubernetes.backend import Kubernetes
from workers.backends.kubernetes.names import job_name
from workers.outcomes import result_of


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeCluster()) as made:
        yield made


@pytest.fixture
def cluster(server: FakeServer) -> FakeCluster:
    return server.cluster


def make_settings(server: FakeServer, folder: Path, **changes: Any) -> Settings:
    config = folder / "kubeconfig"
    config.write_text(server.kubeconfig())
    return Settings(kubernetes_namespace=server.cluster.namespace, kubernetes_config=config, **changes)


@pytest.fixture
def settings(server: FakeServer, tmp_path: Path) -> Settings:
    return make_settings(server, tmp_path, log_cap_bytes=2000)


@pytest.fixture
def backend(settings: Settings, cluster: FakeCluster) -> Kubernetes:
    return Kubernetes(settings=settings, clock=cluster.now)


def start(backend: Kubernetes, **changes: Any) -> tuple[AttemptWork, str, Any]:
    """An attempt that has been started: its work, the name of its Job, its handle."""
    work = make_gpu_work(**changes)
    return work, job_name(work.attempt_id), backend.start(work)


def outcome(report: Report, *, cancelled: bool = False) -> tuple[Outcome, str | None]:
    """What would be recorded of an end."""
    result = result_of(report, cancel_requested=cancelled, has_device_memory=True)
    return result.outcome, result.reason
