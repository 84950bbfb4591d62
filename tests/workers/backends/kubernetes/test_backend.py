"""The life of an attempt as a Job, seen through the real client: every end has its name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from scheduler.domain.machines import Meter
from scheduler.domain.states import Outcome
from tests.support.fake_cluster import FakeCluster
from tests.workers.backends.kubernetes.conftest import outcome, start
from tests.workers.backends.kubernetes.test_manifest import make_gpu_work
from workers.backends.base import Phase, StartFailed
from workers.backends.kubernetes.backend import Kubernetes


def test_it_comes_runs_and_completes(backend: Kubernetes, cluster: FakeCluster) -> None:
    work, job, handle = start(backend)
    assert backend.poll(handle).phase is Phase.STARTING
    cluster.waiting(job, "ContainerCreating")
    assert backend.poll(handle).phase is Phase.STARTING
    cluster.running(job)
    assert backend.poll(handle).phase is Phase.RUNNING
    cluster.ahead = timedelta(seconds=90)
    cluster.ends(job, 0, message='{"peak_allocated_gib": 40.5, "peak_reserved_gib": 44}')
    report = backend.poll(handle)
    assert outcome(report) == (Outcome.COMPLETED, None)
    assert report.runtime_s == 90.0
    assert report.meter == Meter(from_s=0.0, to_s=90.0)
    assert (report.peak_allocated_gib, report.peak_vram_gib, report.vram_metric) == (40.5, 44.0, "reserved")
    assert report.machine_gone
    cluster.ahead += timedelta(seconds=60)
    assert work.machine is not None
    assert backend.release(work.machine.key).metered_s == 90.0, "the meter does not go on"


@pytest.mark.parametrize("said", ['{"peak_allocated_gib": 68, "peak_reserved_gib": 71}', '{"peak_allocated_gib": 68}'])
def test_what_an_engine_that_grabs_the_card_says_it_holds_is_no_need(
    backend: Kubernetes, cluster: FakeCluster, said: str
) -> None:
    serving = {"type": "inference", "model": "meta-llama/Llama-3.1-8B", "num_requests": 10, "engine": "vllm"}
    _, job, handle = start(backend, workload=serving)
    cluster.running(job)
    cluster.ends(job, 0, message=said)
    assert backend.poll(handle).vram_metric == "preallocated"


def test_a_failing_command_has_its_exit_code(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    cluster.prints(job, b"Traceback\n", b"ValueError: no\n")
    cluster.ends(job, 3)
    assert outcome(backend.poll(handle)) == (Outcome.FAILED, "exit code 3")


def test_a_container_killed_for_its_memory_ran_out_of_the_hosts(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    cluster.ends(job, 137, reason="OOMKilled")
    assert outcome(backend.poll(handle)) == (Outcome.FAILED, "the host's memory ran out, exit code 137")


def test_known_last_lines_say_that_the_cards_memory_ran_out(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    cluster.prints(job, b"step 1\n", b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n")
    cluster.ends(job, 1)
    assert outcome(backend.poll(handle))[0] is Outcome.OUT_OF_MEMORY


def test_a_success_is_one_whatever_it_printed(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    cluster.prints(job, b"caught: CUDA out of memory\n")
    cluster.ends(job, 0)
    assert outcome(backend.poll(handle)) == (Outcome.COMPLETED, None)


def test_a_program_that_is_not_in_the_image_is_named(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.waiting(job, "ContainerCreating")
    cluster.ends(job, 128, reason="StartError", message='exec: "pyhton": executable file not found in $PATH')
    kind, reason = outcome(backend.poll(handle))
    assert kind is Outcome.FAILED
    assert reason is not None
    assert "could not be started" in reason
    assert "pyhton" in reason


def test_it_waits_for_a_node_and_then_runs(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.unschedulable(job, "0/4 nodes are available: 4 Insufficient nvidia.com/gpu.")
    cluster.ahead = timedelta(minutes=20)
    assert backend.poll(handle).phase is Phase.STARTING
    cluster.running(job)
    assert backend.poll(handle).phase is Phase.RUNNING


def test_one_for_which_no_node_is_found_is_given_up_with_the_clusters_words(
    backend: Kubernetes, cluster: FakeCluster
) -> None:
    _, job, handle = start(backend)
    cluster.unschedulable(job, "0/4 nodes are available: 4 Insufficient nvidia.com/gpu.")
    cluster.ahead = timedelta(minutes=31)
    backend.poll(handle)
    cluster.ahead += timedelta(seconds=5)
    report = backend.poll(handle)
    kind, reason = outcome(report)
    assert kind is Outcome.LOST, "it is placed again"
    assert reason is not None
    assert "Insufficient nvidia.com/gpu" in reason
    assert report.meter == Meter(from_s=0.0, to_s=0.0), "nothing ran, nothing is paid"


@pytest.mark.parametrize(("reason", "minutes"), [("InvalidImageName", 0), ("ImagePullBackOff", 11)])
def test_an_image_that_cannot_be_had_fails_the_job(
    backend: Kubernetes, cluster: FakeCluster, reason: str, minutes: int
) -> None:
    _, job, handle = start(backend)
    cluster.waiting(job, reason, "Back-off pulling image ghcr.io/acme/train:1")
    cluster.ahead = timedelta(minutes=minutes)
    backend.poll(handle)
    cluster.ahead += timedelta(seconds=5)
    kind, said = outcome(backend.poll(handle))
    assert kind is Outcome.FAILED
    assert said is not None
    assert "pulling image" in said


def test_a_registry_may_be_down_for_a_while(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.waiting(job, "ErrImagePull", "503 from registry")
    cluster.ahead = timedelta(minutes=5)
    backend.poll(handle)
    cluster.running(job)
    assert backend.poll(handle).phase is Phase.RUNNING


@pytest.mark.parametrize("reason", ["Evicted", "Preempting", "Shutdown"])
def test_a_pod_put_out_by_its_node_was_preempted(backend: Kubernetes, cluster: FakeCluster, reason: str) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    backend.poll(handle)
    cluster.ahead = timedelta(seconds=30)
    cluster.evicted(job, reason, "The node had condition: [DiskPressure]")
    report = backend.poll(handle)
    assert outcome(report) == (Outcome.PREEMPTED, "the provider took its machine")


def test_one_evicted_for_what_it_used_up_itself_has_failed(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    cluster.evicted(job, "Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi")
    assert outcome(backend.poll(handle))[0] is Outcome.FAILED


def test_a_preempted_pod_leaves_nothing_and_its_job_remembers(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    assert backend.poll(handle).phase is Phase.RUNNING
    cluster.ahead = timedelta(seconds=40)
    cluster.preempted(job)
    report = backend.poll(handle)
    assert outcome(report)[0] is Outcome.PREEMPTED
    assert report.meter == Meter(from_s=0.0, to_s=40.0), "from the noted beginning to the end that the Job says"


def test_a_node_that_takes_no_such_pod_is_not_the_jobs_fault(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.pod_of(job)["status"] |= {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no devices"}
    kind, reason = outcome(backend.poll(handle))
    assert kind is Outcome.LOST
    assert reason == "its node did not take the pod: no devices"


def test_its_time_is_up_when_the_limit_of_the_command_is_reached(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend, max_runtime_s=60)
    cluster.ahead = timedelta(minutes=5)  # pulling the image takes none of it
    cluster.running(job)
    assert backend.poll(handle).phase is Phase.RUNNING
    cluster.ahead += timedelta(seconds=61)
    assert backend.poll(handle).phase is Phase.RUNNING, "it has been told"
    cluster.ahead += timedelta(seconds=2)
    assert backend.poll(handle).phase is Phase.RUNNING, "its grace is not over"
    cluster.ends(job, 143)
    report = backend.poll(handle)
    assert outcome(report)[0] is Outcome.TIMEOUT
    assert report.meter == Meter(from_s=0.0, to_s=63.0)


def test_the_nodes_own_limit_is_a_timeout_too(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend, max_runtime_s=60)
    cluster.running(job)
    (pod,) = cluster.pods_of(job)
    cluster.ends(job, 143)
    pod["status"] |= {"phase": "Failed", "reason": "DeadlineExceeded"}
    assert outcome(backend.poll(handle))[0] is Outcome.TIMEOUT


def test_a_job_that_somebody_deleted_has_vanished(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    cluster.delete_job(job)
    assert backend.poll(handle).phase is Phase.ABSENT, "which a running attempt takes for vanished"


def test_a_pod_that_somebody_deleted_has_vanished(backend: Kubernetes, cluster: FakeCluster) -> None:
    _, job, handle = start(backend)
    cluster.running(job)
    cluster.delete_pod(cluster.pod_of(job)["metadata"]["name"], grace_s=0)
    report = backend.poll(handle)
    assert report.phase is Phase.VANISHED
    assert outcome(report)[0] is Outcome.LOST


def test_without_an_image_nothing_is_created(backend: Kubernetes, cluster: FakeCluster) -> None:
    work = make_gpu_work()
    run = work.spec.run
    assert run is not None
    spec = work.spec.model_copy(update={"run": run.model_copy(update={"image": None})})
    with pytest.raises(StartFailed, match=r"no run\.image"):
        backend.start(replace(work, spec=spec))
    assert cluster.jobs == {}
