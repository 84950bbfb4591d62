"""The machine of an attempt is its Job: listed while it lives, metered by its container, gone with it."""

from __future__ import annotations

import uuid
from datetime import timedelta

from tests.support.fake_cluster import FakeCluster
from tests.support.fake_cluster_server import FakeServer
from tests.workers.backends.kubernetes.conftest import start
from tests.workers.works import make_machine
from workers.backends.base import MachinePhase
from workers.backends.kubernetes.backend import Kubernetes


def test_every_live_job_is_listed_whoever_made_it(
    backend: Kubernetes, server: FakeServer, cluster: FakeCluster
) -> None:
    ours, job, handle = start(backend)
    other = Kubernetes(settings=backend.settings, clock=backend.clock)
    theirs, _, _ = start(other)
    cluster.running(job)
    backend.poll(handle)
    over, done, _ = start(backend)
    cluster.running(done)
    cluster.ends(done, 0)
    backend.stop(backend.locate(uuid.uuid4()), hard=True)
    assert ours.machine is not None
    assert theirs.machine is not None
    found = {report.key: report.phase for report in backend.list()}
    assert found == {ours.machine.key: MachinePhase.READY, theirs.machine.key: MachinePhase.COMING}
    assert over.machine is not None


def test_a_machine_is_ready_at_once_and_costs_nothing_before_its_job(backend: Kubernetes, server: FakeServer) -> None:
    machine = make_machine()
    report = backend.provision(machine)
    assert (report.phase, report.metered_s) == (MachinePhase.READY, None)
    assert server.requests == []


def test_a_released_machine_is_no_more(backend: Kubernetes, cluster: FakeCluster) -> None:
    work, job, handle = start(backend)
    cluster.running(job)
    backend.poll(handle)
    cluster.ahead = timedelta(seconds=30)
    assert work.machine is not None
    word = backend.release(work.machine.key)
    assert (word.phase, word.metered_s) == (MachinePhase.GONE, 30.0)
    cluster.ahead += timedelta(seconds=2)
    cluster.control()
    assert cluster.pods == {}
    assert backend.list() == []
    assert backend.release("pythia-never-heard-of").metered_s is None


def test_a_machine_that_ran_unseen_is_metered_when_it_is_released(backend: Kubernetes, cluster: FakeCluster) -> None:
    work, job, _ = start(backend)
    cluster.running(job)
    cluster.ahead = timedelta(seconds=30)
    assert work.machine is not None
    assert backend.release(work.machine.key).metered_s == 30.0


def test_workers_that_reach_the_cluster_in_different_ways_have_one_account(backend: Kubernetes) -> None:
    inside = backend.settings.model_copy(update={"kubernetes_config": None})
    assert Kubernetes(settings=inside, clock=backend.clock).account == backend.account == "kubernetes:default/ml"
    elsewhere = backend.settings.model_copy(update={"kubernetes_cluster": "west"})
    assert Kubernetes(settings=elsewhere, clock=backend.clock).account != backend.account
