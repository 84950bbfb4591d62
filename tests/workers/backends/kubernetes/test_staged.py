"""What a pod with files is written like, and every way in which bringing them in or sending them can end."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from scheduler.domain.attempt import AttemptWork
from scheduler.domain.states import Outcome
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_objects import set_state
from tests.support.kubernetes_schema import complaint
from tests.workers.backends.kubernetes.conftest import outcome
from tests.workers.backends.kubernetes.test_manifest import CARDS, make_gpu_work
from tests.workers.workshop import Died
from workers.backends.base import JobRefused, Phase, StartFailed
from workers.backends.handed_over import HandedOver
from workers.backends.kubernetes.backend import Kubernetes
from workers.backends.kubernetes.cluster import Cluster
from workers.backends.kubernetes.handed_over import secret_of
from workers.backends.kubernetes.manifest import job_of
from workers.backends.kubernetes.names import OVER, job_name
from workers.backends.kubernetes.outputs import ASKED_GRACE_S
from workers.backends.kubernetes.staged import GRACE_S, REST_S, UPLOAD_S
from workers.handing_out import plan_of
from workers.staging.plan import Access

IMAGE = "acme/pythia:1"
FILES: dict[str, Any] = {
    "inputs": [{"from": "s3://acme/a.txt", "to": "in/"}], "outputs": [{"from": "out/**", "to": "s3://acme/run/"}],
}  # fmt: skip
ACCESS = Access(access_key_id="AKIA1", secret_access_key="hunter22")
WELL = json.dumps({"failure": None, "missing": None})
GONE = "they are gone with its pod"


def make_files_work(**changes: Any) -> AttemptWork:
    return make_gpu_work(**{**FILES, **changes})


def hand_over(work: AttemptWork) -> HandedOver:
    run = work.spec.run
    assert run is not None
    return HandedOver(access=ACCESS, plan=plan_of(run, most_bytes=1000))


def written(work: AttemptWork, image: str | None = IMAGE) -> dict[str, Any]:
    job = job_of(work, CARDS.get(work.gpu_type), queue=None, staging_image=image)
    body: dict[str, Any] = json.loads(msgspec.json.encode(job))
    return body


@pytest.fixture
def backend(backend: Kubernetes) -> Kubernetes:
    settings = backend.settings.model_copy(update={"kubernetes_staging_image": IMAGE})
    return Kubernetes(settings=settings, clock=backend.clock, hand_over=hand_over)


def start(backend: Kubernetes, **changes: Any) -> tuple[str, Any]:
    work = make_files_work(**changes)
    return job_name(work.attempt_id), backend.start(work)


def running(backend: Kubernetes, cluster: FakeCluster, **changes: Any) -> tuple[str, Any]:
    job, handle = start(backend, **changes)
    cluster.running(job)
    assert backend.poll(handle).phase is Phase.RUNNING
    return job, handle


# what is written


@pytest.mark.parametrize("version", ["1.29", "1.31", "1.34", "1.37"])
@pytest.mark.parametrize("run", [{}, {"inputs": []}, {"outputs": []}, {"working_dir": "/srv/$(HOME)"}])
def test_a_job_with_files_is_one_by_the_published_schema(version: str, run: dict[str, Any]) -> None:
    work = make_files_work(max_runtime_s=60, **run)
    assert complaint(written(work), version) is None
    assert complaint(json.loads(msgspec.json.encode(secret_of(work, hand_over(work)))), version) is None


def test_files_lie_in_the_working_directory_and_what_moves_them_is_hidden_from_the_command() -> None:
    work = make_files_work()
    pod = written(work)["spec"]["template"]["spec"]
    (main,) = pod["containers"]
    fetch, keep = pod["initContainers"]
    assert main["workingDir"] == "/pythia/work"
    assert {"name": "files", "mountPath": "/pythia/work"} in main["volumeMounts"]
    for container in (fetch, keep):
        assert {"name": "files", "mountPath": "/pythia/work"} in container["volumeMounts"]
        assert container["image"] == IMAGE
        assert container["securityContext"]["capabilities"] == {"add": ["DAC_OVERRIDE"], "drop": ["ALL"]}
    assert "told" not in {one["name"] for one in main["volumeMounts"]}
    assert "shareProcessNamespace" not in pod
    (told,) = [one for one in pod["volumes"] if one["name"] == "told"]
    assert told["secret"]["secretName"] == job_name(work.attempt_id)
    assert [item["key"] for item in told["secret"]["items"]] == ["staging.json"]
    assert "hunter22" not in json.dumps(written(work))


def test_outputs_are_sent_by_a_sidecar_that_listens_first_and_has_long() -> None:
    pod = written(make_files_work(max_runtime_s=600))["spec"]["template"]["spec"]
    fetch, keep = pod["initContainers"]
    assert "restartPolicy" not in fetch
    assert keep["restartPolicy"] == "Always"
    assert keep["startupProbe"]["exec"]["command"][-1] in keep["command"]
    assert pod["terminationGracePeriodSeconds"] == UPLOAD_S
    assert pod["activeDeadlineSeconds"] == 600 + 1800 + 2 * UPLOAD_S


def test_a_cancelled_job_has_no_time_to_send_any() -> None:
    assert ASKED_GRACE_S + 2 < REST_S, "a kubelet gives two seconds at least"


def test_a_job_with_inputs_only_ends_as_others_do() -> None:
    pod = written(make_files_work(outputs=[]))["spec"]["template"]["spec"]
    assert [one["name"] for one in pod["initContainers"]] == ["fetch"]
    assert pod["terminationGracePeriodSeconds"] == GRACE_S


def test_a_job_without_files_is_written_as_ever() -> None:
    work = make_gpu_work(working_dir="relative", secrets={"A": "b"})
    assert written(work) == written(work, image=None)


@pytest.mark.parametrize("where", ["relative", "/", "/.", "/a:b"])
def test_files_that_can_lie_nowhere_refuse_the_job(where: str) -> None:
    with pytest.raises(JobRefused, match=r"run\.working_dir is"):
        written(make_files_work(working_dir=where))


def test_without_an_image_files_are_refused_and_not_left_out() -> None:
    with pytest.raises(StartFailed, match=r"cannot have run\.inputs"):
        written(make_files_work(), image=None)


def test_a_list_of_files_that_no_secret_holds_refuses_the_job(backend: Kubernetes, cluster: FakeCluster) -> None:
    many = [{"from": f"s3://acme/{number}{'x' * 900}", "to": f"{number}/{'y' * 900}"} for number in range(600)]
    with pytest.raises(JobRefused, match="bytes, and a Secret of a cluster holds 1 MiB"):
        start(backend, inputs=many)
    assert cluster.jobs == {}


# bringing in


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ({"failure": "s3://acme/a.txt: no", "may_pass": False}, (Outcome.FAILED, "inputs: s3://acme/a.txt: no")),
        ({"failure": "s3://acme/a.txt: busy", "may_pass": True}, (Outcome.LOST, "inputs: s3://acme/a.txt: busy")),
        (
            None,
            (Outcome.LOST, "inputs: the container that moves files ended before it was done: exit code 137"),
        ),
    ],
)
def test_inputs_that_did_not_come_end_the_attempt(
    backend: Kubernetes, cluster: FakeCluster, word: dict[str, Any] | None, expected: tuple[Outcome, str]
) -> None:
    job, handle = start(backend)
    cluster.preparing(job)
    assert backend.poll(handle).phase is Phase.STARTING
    cluster.prepared(job, 1 if word else 137, json.dumps(word) if word else None)
    report = backend.poll(handle)
    assert outcome(report) == expected
    assert report.meter is not None
    assert report.meter.to_s == 0.0


@pytest.mark.parametrize(
    ("name", "reason", "minutes"), [("fetch", "ImagePullBackOff", 11), ("keep", "CrashLoopBackOff", 0)]
)
def test_an_image_of_ours_that_does_not_work_is_no_fault_of_the_job(
    backend: Kubernetes, cluster: FakeCluster, name: str, reason: str, minutes: int
) -> None:
    job, handle = start(backend)
    cluster.preparing(job)
    cluster.prepared(job, 0)
    state = {"waiting": {"reason": reason, "message": "no such image"}}
    set_state(cluster.pods_of(job)[0], state, name)
    cluster.ahead = timedelta(minutes=minutes)
    backend.poll(handle)
    cluster.ahead += timedelta(seconds=5)
    kind, said = outcome(backend.poll(handle))
    assert kind is Outcome.LOST
    assert said == "the container that moves its files cannot begin: no such image"


# sending


def test_it_goes_on_until_its_outputs_are_sent_and_pays_for_its_command(
    backend: Kubernetes, cluster: FakeCluster
) -> None:
    job, handle = running(backend, cluster)
    cluster.ahead = timedelta(seconds=100)
    cluster.ends(job, 0)
    cluster.ahead = timedelta(seconds=300)
    assert backend.poll(handle).phase is Phase.RUNNING
    assert OVER in cluster.jobs[job]["metadata"]["annotations"]
    (one,) = backend.list()
    assert one.metered_s == 100.0, "the meter stands still"
    cluster.sidecar_ends(job, 0, WELL)
    report = backend.poll(handle)
    assert outcome(report) == (Outcome.COMPLETED, None)
    assert report.used_s == 100.0


@pytest.mark.parametrize(
    ("code", "word", "expected"),
    [
        (0, {"failure": "x: busy"}, (Outcome.COMPLETED, f"not all outputs were kept (x: busy); {GONE}")),
        (3, {"failure": "x: busy"}, (Outcome.FAILED, f"exit code 3; not all outputs were kept (x: busy); {GONE}")),
        (3, {"failure": None, "missing": "out/**"}, (Outcome.FAILED, "exit code 3")),
        (
            0,
            None,
            (
                Outcome.COMPLETED,
                "not all outputs were kept (the container that moves files ended before it was done: exit code 137); "
                + GONE,
            ),
        ),
    ],
)
def test_outputs_that_were_not_sent_do_not_change_what_became_of_it(
    backend: Kubernetes, cluster: FakeCluster, code: int, word: Any, expected: tuple[Outcome, str]
) -> None:
    job, handle = running(backend, cluster)
    cluster.ends(job, code)
    cluster.sidecar_ends(job, 137 if word is None else 1, None if word is None else json.dumps(word))
    assert outcome(backend.poll(handle)) == expected


def test_of_one_that_ran_out_of_memory_nobody_misses_outputs(backend: Kubernetes, cluster: FakeCluster) -> None:
    job, handle = running(backend, cluster)
    cluster.prints(job, b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n")
    cluster.ends(job, 1)
    cluster.sidecar_ends(job, 1, json.dumps({"failure": "x: no"}))
    kind, reason = outcome(backend.poll(handle))
    assert kind is Outcome.OUT_OF_MEMORY
    assert reason == "CUDA out of memory, exit code 1"


@pytest.mark.parametrize("happens", ["preempted", "deleted"])
def test_a_pod_that_goes_while_it_sends_is_tried_again_and_paid_until_its_commands_end(
    backend: Kubernetes, cluster: FakeCluster, happens: str
) -> None:
    job, handle = running(backend, cluster)
    cluster.ahead = timedelta(seconds=100)
    cluster.ends(job, 0)
    assert backend.poll(handle).phase is Phase.RUNNING
    cluster.ahead = timedelta(seconds=400)
    if happens == "preempted":
        cluster.preempted(job)
    else:
        cluster.delete_pod(cluster.pod_of(job)["metadata"]["name"], grace_s=0)
    report = backend.poll(handle)
    assert outcome(report)[0] is (Outcome.PREEMPTED if happens == "preempted" else Outcome.LOST)
    assert report.used_s == 100.0


def test_what_was_not_there_to_send_them_is_said(backend: Kubernetes, cluster: FakeCluster) -> None:
    job, handle = running(backend, cluster)
    (pod,) = cluster.pods_of(job)
    set_state(pod, {"waiting": {"reason": "CrashLoopBackOff"}}, "keep")
    cluster.ends(job, 0)
    kind, reason = outcome(backend.poll(handle))
    assert kind is Outcome.COMPLETED
    assert reason == f"not all outputs were kept (the container that moves files was not there); {GONE}"


# ending it


def grace_of(cluster: FakeCluster, job: str) -> Any:
    (pod,) = cluster.pods_of(job)
    return pod["metadata"].get("deletionGracePeriodSeconds")


def test_a_cancelled_job_has_less_grace_than_sending_waits(backend: Kubernetes, cluster: FakeCluster) -> None:
    job, handle = running(backend, cluster)
    backend.stop(handle, hard=False)
    assert grace_of(cluster, job) == ASKED_GRACE_S
    cluster.ends(job, 143)
    assert backend.poll(handle).phase is Phase.RUNNING, "what sends is there still"
    cluster.sidecar_ends(job, 137)
    cluster.ahead = timedelta(seconds=2)
    assert outcome(backend.poll(handle), cancelled=True) == (Outcome.CANCELLED, None)


def test_a_worker_that_dies_while_it_cancels_leaves_that_to_the_next(
    backend: Kubernetes, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, handle = running(backend, cluster)

    def dies(*_: Any, **__: Any) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Cluster, "kill", dies)
        with pytest.raises(Died):
            backend.stop(handle, hard=False)
    cluster.ahead = timedelta(seconds=2)
    cluster.control()
    assert grace_of(cluster, job) == UPLOAD_S, "its controller gives it what its spec says"
    backend.poll(handle)
    assert grace_of(cluster, job) == ASKED_GRACE_S


def test_at_its_time_limit_a_command_has_its_grace_and_its_outputs_their_time(
    backend: Kubernetes, cluster: FakeCluster
) -> None:
    job, handle = running(backend, cluster, max_runtime_s=60)
    cluster.ahead = timedelta(seconds=61)
    backend.poll(handle)
    cluster.ahead += timedelta(seconds=2)
    assert backend.poll(handle).phase is Phase.RUNNING
    cluster.ends(job, 143)
    cluster.ahead += timedelta(minutes=20)
    assert backend.poll(handle).phase is Phase.RUNNING, "its outputs are being sent"
    cluster.sidecar_ends(job, 0, WELL)
    kind, reason = outcome(backend.poll(handle))
    assert kind is Outcome.TIMEOUT
    assert reason == "whether its outputs were kept, nobody has seen: its pod is gone"


def test_a_command_that_is_deaf_at_its_time_limit_is_killed_with_its_pod(
    backend: Kubernetes, cluster: FakeCluster
) -> None:
    job, handle = running(backend, cluster, max_runtime_s=60)
    cluster.ahead = timedelta(seconds=61)
    backend.poll(handle)
    cluster.ahead += timedelta(seconds=2)
    backend.poll(handle)
    cluster.ahead += timedelta(seconds=GRACE_S - 5)
    backend.poll(handle)
    assert cluster.pods_of(job), "its grace is not over"
    cluster.ahead += timedelta(seconds=6)
    backend.poll(handle)
    assert cluster.pods_of(job) == []
    report = backend.poll(handle)
    assert outcome(report)[0] is Outcome.TIMEOUT
    assert report.used_s == 61 + 2 + GRACE_S + 1


def test_a_drained_node_does_not_wait_for_a_deaf_command_as_long_as_for_outputs(
    backend: Kubernetes, cluster: FakeCluster
) -> None:
    job, handle = running(backend, cluster)
    cluster.delete_pod(cluster.pod_of(job)["metadata"]["name"], grace_s=None)
    assert grace_of(cluster, job) == UPLOAD_S
    assert backend.poll(handle).phase is Phase.RUNNING
    cluster.ahead = timedelta(seconds=GRACE_S + 1)
    backend.poll(handle)
    assert cluster.pods_of(job) == []


def test_a_job_that_somebody_deleted_leaves_no_pod_with_a_long_grace(backend: Kubernetes, cluster: FakeCluster) -> None:
    job, handle = running(backend, cluster)
    cluster.delete_job(job)
    assert grace_of(cluster, job) == UPLOAD_S
    assert backend.poll(handle).phase is Phase.ABSENT
    backend.clear(handle)
    assert cluster.pods == {}
    assert cluster.secrets.there == {}


def test_a_job_whose_place_is_taken_while_it_sends_has_not_ended_before_its_pod(
    backend: Kubernetes, cluster: FakeCluster
) -> None:
    settings = backend.settings.model_copy(update={"kubernetes_queue": "gpus"})
    queued = Kubernetes(settings=settings, clock=backend.clock, hand_over=hand_over)
    job, handle = start(queued)
    cluster.kueue(job, admits=True)
    cluster.running(job)
    queued.poll(handle)
    cluster.ahead = timedelta(seconds=100)
    cluster.ends(job, 0)
    queued.poll(handle)
    cluster.kueue(job, admits=False)
    queued.stop(handle, hard=False)
    assert grace_of(cluster, job) == ASKED_GRACE_S
    assert queued.poll(handle).phase is Phase.RUNNING
    cluster.ahead = timedelta(seconds=300)
    cluster.sidecar_ends(job, 137)
    report = queued.poll(handle)
    assert outcome(report, cancelled=True)[0] is Outcome.CANCELLED
    assert report.used_s == 100.0


def test_a_start_that_dies_before_its_job_leaves_no_keys_behind(
    backend: Kubernetes, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = make_files_work()

    def dies(*_: Any) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Cluster, "create", dies)
        with pytest.raises(Died):
            backend.start(work)
    assert len(cluster.secrets.there) == 1
    backend.tidy(lambda _: True)
    assert cluster.secrets.there == {}
