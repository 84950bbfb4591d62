"""What is stopped ends with grace or without, never begins again, and leaves nothing; by us or by a queue."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from scheduler.domain.machines import Meter
from scheduler.domain.states import Outcome
from tests.support.fake_cluster import FakeCluster
from tests.workers.backends.kubernetes.conftest import outcome, start
from tests.workers.backends.kubernetes.test_manifest import make_gpu_work
from workers.backends.base import Phase, StartFailed
from workers.backends.kubernetes.backend import Kubernetes


def test_a_running_job_is_stopped_with_grace(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    backend.poll(handle)
    cluster.ahead = timedelta(seconds=20)
    backend.stop(handle, hard=False)
    cluster.ahead += timedelta(seconds=2)
    assert backend.poll(handle).phase is Phase.RUNNING
    assert "deletionTimestamp" in cluster.pod_of(job)["metadata"], "the kubelet has been told, and gives it its grace"
    cluster.ends(job, 0)
    report = backend.poll(handle)
    assert outcome(report, cancelled=True) == (Outcome.CANCELLED, None)
    assert report.meter == Meter(from_s=0.0, to_s=22.0)


def test_a_hard_stop_leaves_no_pod(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    backend.stop(handle, hard=True)
    assert cluster.pods == {}
    cluster.ahead = timedelta(seconds=2)
    assert outcome(backend.poll(handle), cancelled=True)[0] is Outcome.CANCELLED
    assert cluster.pods == {}, "and no other comes"


def test_one_that_waits_for_a_node_is_stopped(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.unschedulable(job, "0/4 nodes are available")
    backend.stop(handle, hard=False)
    cluster.ahead = timedelta(seconds=2)
    report = backend.poll(handle)
    assert outcome(report, cancelled=True)[0] is Outcome.CANCELLED
    assert report.meter == Meter(from_s=0.0, to_s=0.0)


def test_what_was_stopped_before_it_started_never_starts(backend: Kubernetes, cluster: FakeCluster) -> None:
    work = make_gpu_work()
    handle = backend.locate(work.attempt_id)
    backend.stop(handle, hard=True)
    assert outcome(backend.poll(handle), cancelled=True)[0] is Outcome.CANCELLED
    with pytest.raises(StartFailed, match="stopped before it could start"):
        backend.start(work)
    cluster.control()
    assert cluster.pods == {}
    assert cluster.created == []


def test_what_holds_a_name_only_is_removed_by_the_cluster(backend: Kubernetes, cluster: FakeCluster) -> None:
    backend.stop(backend.locate(uuid.uuid4()), hard=True)
    for _ in range(3):
        cluster.ahead += timedelta(seconds=4000)
        cluster.control()
    assert cluster.jobs == {}


def test_stopping_what_has_ended_changes_nothing(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    cluster.ends(job, 0)
    backend.stop(handle, hard=True)
    assert outcome(backend.poll(handle), cancelled=True) == (Outcome.COMPLETED, None)


# Kueue


@pytest.fixture
def queued(backend: Kubernetes) -> Kubernetes:
    return Kubernetes(settings=backend.settings.model_copy(update={"kubernetes_queue": "gpus"}), clock=backend.clock)


def test_a_job_begins_when_its_queue_admits_it(queued: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(queued)
    cluster.ahead = timedelta(days=2)  # a queue may be long
    assert queued.poll(handle).phase is Phase.STARTING
    assert cluster.pods == {}
    cluster.kueue(job, admits=True)
    cluster.running(job)
    assert queued.poll(handle).phase is Phase.RUNNING


def test_one_that_waits_in_a_queue_is_stopped_and_cannot_be_admitted(queued: Kubernetes, cluster: FakeCluster) -> None:
    work, _, handle = start(queued)
    queued.stop(handle, hard=False)
    assert outcome(queued.poll(handle), cancelled=True)[0] is Outcome.CANCELLED
    with pytest.raises(StartFailed):
        queued.start(work)
    cluster.control()
    assert cluster.pods == {}
    assert len(cluster.created) == 1


def test_one_that_its_queue_takes_back_was_preempted_and_does_not_begin_again(
    queued: Kubernetes, cluster: FakeCluster
) -> None:
    _, job, handle = start(queued)
    cluster.kueue(job, admits=True)
    cluster.running(job)
    assert queued.poll(handle).phase is Phase.RUNNING
    cluster.ahead = timedelta(seconds=50)
    cluster.kueue(job, admits=False)
    cluster.ends(job, 143)
    queued.poll(handle)
    cluster.ahead += timedelta(seconds=2)
    report = queued.poll(handle)
    assert outcome(report)[0] is Outcome.PREEMPTED
    assert report.meter == Meter(from_s=0.0, to_s=50.0)
    assert cluster.pods == {}


# what is left


def test_what_ended_attempts_left_is_removed_after_a_while(backend: Kubernetes, cluster: FakeCluster) -> None:
    work, job, handle = start(backend)
    cluster.running(job)
    cluster.ends(job, 0)
    cluster.control()
    backend.tidy(lambda _: False)
    assert cluster.jobs[job]["spec"]["ttlSecondsAfterFinished"] == 7 * 86_400, "nobody has heard of its end yet"
    backend.tidy(lambda attempt_id: attempt_id == work.attempt_id)
    assert cluster.jobs[job]["spec"]["ttlSecondsAfterFinished"] == 3600
    assert backend.start(work) == handle, "a late start finds its name taken"
    cluster.ahead = timedelta(hours=2)
    cluster.control()
    assert cluster.jobs == {}
    assert cluster.created == [job]


def test_clearing_what_still_runs_ends_it(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    backend.clear(handle)
    assert cluster.pods == {}
