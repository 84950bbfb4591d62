"""When the API server has a bad day no Job is made twice and none is lost, and what was wrong is one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_cluster import FakeCluster
from tests.support.fake_cluster_server import FakeServer
from tests.workers.backends.kubernetes.conftest import start
from workers.backends.base import Phase, ProviderUnavailable, StartFailed
from workers.backends.kubernetes.backend import Kubernetes


def test_a_second_start_makes_no_second_job(backend: Kubernetes, cluster: FakeCluster) -> None:
    work, job, handle = start(backend)
    cluster.running(job)
    assert backend.start(work) == handle
    assert cluster.created == [job]
    assert backend.poll(handle).phase is Phase.RUNNING


@pytest.mark.parametrize("trouble", [500, 503, 429, "hangs up", "forgets to answer"])
def test_a_start_that_had_no_answer_makes_one_job(
    backend: Kubernetes, server: FakeServer, cluster: FakeCluster, trouble: int | str
) -> None:
    server.troubles.append(("POST", trouble))
    _, job, handle = start(backend)
    assert cluster.created == [job]
    assert backend.poll(handle).phase is Phase.STARTING


def test_a_server_that_is_down_is_said_to_be_and_nothing_is_lost(
    backend: Kubernetes, server: FakeServer, cluster: FakeCluster
) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    server.down = True
    for call in (lambda: backend.poll(handle), lambda: backend.stop(handle, hard=False), backend.list):
        with pytest.raises(ProviderUnavailable, match="cannot be reached"):
            call()
    backend.tidy(lambda _: True)  # a sweep has more to do than this
    server.down = False
    assert backend.poll(handle).phase is Phase.RUNNING


def test_a_server_that_answers_errors_for_long_is_unavailable(backend: Kubernetes, server: FakeServer) -> None:
    _, _, handle = start(backend)
    server.troubles += [("GET", 500)] * 3
    with pytest.raises(ProviderUnavailable, match="the cluster answered 500: the server said 500"):
        backend.poll(handle)
    assert backend.poll(handle).phase is Phase.STARTING


def test_who_may_not_ask_is_told_what_the_server_says(backend: Kubernetes, server: FakeServer) -> None:
    server.troubles.append(("POST", 403))
    with pytest.raises(ProviderUnavailable, match="the cluster answered 403"):
        start(backend)


def test_what_the_server_finds_invalid_is_refused_for_good(backend: Kubernetes, server: FakeServer) -> None:
    server.troubles.append(("POST", 422))
    with pytest.raises(StartFailed, match="does not take the Job"):
        start(backend)


def test_a_list_that_the_server_forgot_in_the_middle_is_read_anew(
    backend: Kubernetes, server: FakeServer, cluster: FakeCluster
) -> None:
    work, _, _ = start(backend)
    server.troubles.append(("GET", 410))
    assert work.machine is not None
    assert [report.key for report in backend.list()] == [work.machine.key]


def test_a_configuration_that_is_not_there_is_one_sentence(backend: Kubernetes, tmp_path: Any) -> None:
    settings = backend.settings.model_copy(update={"kubernetes_config": tmp_path / "none"})
    lost = Kubernetes(settings=settings, clock=backend.clock)
    with pytest.raises(ProviderUnavailable, match="the configuration of the cluster cannot be used"):
        lost.list()


def test_a_proxy_needs_no_user(server: FakeServer, backend: Kubernetes) -> None:
    path = backend.settings.kubernetes_config
    assert path is not None
    path.write_text(server.kubeconfig().replace("    user: u\n", ""))
    with pytest.raises(ProviderUnavailable, match="the cluster answered 401"):
        backend.list()
