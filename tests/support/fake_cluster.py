"""A Kubernetes cluster without nodes: its objects, and what its controllers do with Jobs and pods.

Written after the documented behaviour of batch/v1 since Kubernetes 1.31: a Job is `Failed` only once its pods are gone,
a pod that is deleted takes its status with it, a suspended Job has no pods and no time limit. Every object that is
created or changed is checked against the published schema. Tests play scheduler, kubelet and Kueue; or `Kubelet` runs
the commands on this host.

Time stands still until a test moves it, so that no verdict depends on how fast the machine is. Where commands really
run, or a whole installation looks on, it needs their clock.
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.support.fake_objects import (
    Object,
    as_stamp,
    command,
    command_status,
    condition,
    over,
    set_state,
    statuses,
)
from tests.support.fake_secrets import FakeSecrets, Refused, merged
from tests.support.kubernetes_schema import complaint

START = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@dataclass
class FakeCluster:
    """One namespace. Times of objects are whole seconds, as Kubernetes keeps them."""

    namespace: str = "ml"
    clock: Callable[[], datetime] = lambda: START
    ahead: timedelta = timedelta()
    """Beyond the clock."""
    jobs: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)
    nodes: list[Object] = field(default_factory=list)
    logs: dict[str, list[tuple[datetime, int, bytes]]] = field(default_factory=dict)
    """Lines of each pod: their time, nanoseconds beyond its microseconds, and their bytes."""
    created: list[str] = field(default_factory=list)
    """Names of all Jobs with a command that were ever made."""
    begun: list[str] = field(default_factory=list)
    """Names of the Jobs of which a container ever ran, once for each."""
    waited_in_vain: list[str] = field(default_factory=list)
    """Names of the Jobs whose container was to begin and did not find what it needs."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    secrets: FakeSecrets = field(init=False)
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1000))

    def __post_init__(self) -> None:
        self.secrets = FakeSecrets(self._versions)

    def now(self) -> datetime:
        return self.clock() + self.ahead

    # what the API server does

    def create_job(self, body: Object) -> Object:
        name = body["metadata"].get("name", "")
        _check(body)
        if name in self.jobs:
            raise Refused(409, "AlreadyExists", f'jobs.batch "{name}" already exists')
        job = copy.deepcopy(body)
        job["metadata"] |= {
            "namespace": self.namespace, "uid": f"uid-{next(self._versions)}", "creationTimestamp": self._stamp(),
            "generation": 1,
        }  # fmt: skip
        job["status"] = {}
        self._touch(job)
        self.jobs[name] = job
        if body["spec"].get("parallelism") != 0:
            self.created.append(name)
        return job

    def patch_job(self, name: str, change: Object) -> Object:
        job = self.job(name)
        changed = merged(copy.deepcopy(job), change)
        _check({key: value for key, value in changed.items() if key != "status"})
        if changed["spec"]["template"] != job["spec"]["template"]:
            raise Refused(422, "Invalid", "spec.template: field is immutable")
        self.jobs[name] = changed
        self._touch(changed)
        return changed

    def job(self, name: str) -> Object:
        if name not in self.jobs:
            raise Refused(404, "NotFound", f'jobs.batch "{name}" not found')
        return self.jobs[name]

    def delete_job(self, name: str) -> None:
        self.job(name)
        for pod in self.pods_of(name):
            self.delete_pod(pod["metadata"]["name"], grace_s=None)
        del self.jobs[name]

    def delete_pod(self, name: str, *, grace_s: int | None) -> None:
        pod = self.pods.get(name)
        if pod is None:
            raise Refused(404, "NotFound", f'pods "{name}" not found')
        if grace_s == 0 or not any("running" in one["state"] for one in statuses(pod)):
            self._remove(pod)
            return
        if grace_s is None:
            grace_s = pod["spec"].get("terminationGracePeriodSeconds", 30)
        metadata = pod["metadata"]
        if grace_s < metadata.get("deletionGracePeriodSeconds", grace_s + 1):  # it is never made longer
            until = self.now() + timedelta(seconds=grace_s)
            metadata |= {"deletionTimestamp": as_stamp(until), "deletionGracePeriodSeconds": grace_s}
        self._touch(pod)

    # what controllers do

    def control(self) -> None:
        """Let the Job controller see to every Job, and the garbage collector to what is left of others."""
        for name, job in list(self.jobs.items()):
            self._control(name, job)
        self.secrets.collect_garbage({job["metadata"]["uid"] for job in self.jobs.values()})

    def _control(self, name: str, job: Object) -> None:
        spec, status, pods = job["spec"], job["status"], self.pods_of(name)
        if over(job):
            ttl = spec.get("ttlSecondsAfterFinished")
            if ttl is not None and self._age_s(over(job)["lastTransitionTime"]) >= ttl:  # type: ignore[index]
                self.delete_job(name)
            return
        if spec.get("suspend"):
            status.pop("startTime", None)
            status.setdefault("conditions", [
                {"type": "Suspended", "status": "True", "reason": "JobSuspended", "lastTransitionTime": self._stamp()}
            ])  # fmt: skip
            for pod in pods:
                self.delete_pod(pod["metadata"]["name"], grace_s=None)
            return
        status.pop("conditions", None)  # a real one says Suspended=False
        status.setdefault("startTime", self._stamp())
        done = [pod for pod in pods if pod["status"]["phase"] in ("Succeeded", "Failed")]
        limit = spec.get("activeDeadlineSeconds")
        if done:
            self._finish(job, done[0])
        elif "target" in status or (limit is not None and self._age_s(status["startTime"]) >= limit):
            target = status.setdefault("target", "DeadlineExceeded")
            for pod in pods:
                self.delete_pod(pod["metadata"]["name"], grace_s=None)
            if not self.pods_of(name):
                self._conclude(job, "Failed", target)
        elif not pods and spec.get("parallelism", 1) > 0:
            self._make_pod(name, job)
        self._touch(job)

    def _make_pod(self, name: str, job: Object) -> None:
        template = copy.deepcopy(job["spec"]["template"])
        pod_name = f"{name}-{next(self._versions):05d}"
        labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": name}
        self.pods[pod_name] = {
            "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
            "metadata": {"name": pod_name, "namespace": self.namespace, "labels": labels,
                         "creationTimestamp": self._stamp()},
            "status": {"phase": "Pending", "conditions": []},
        }  # fmt: skip
        self._touch(self.pods[pod_name])

    def _finish(self, job: Object, pod: Object) -> None:
        if pod["status"]["phase"] == "Succeeded":
            self._conclude(job, "Complete", "CompletionsReached")
        elif condition(pod, "DisruptionTarget"):
            self._conclude(job, "Failed", "PodFailurePolicy")
        else:
            self._conclude(job, "Failed", "BackoffLimitExceeded")

    def _conclude(self, job: Object, kind: str, reason: str) -> None:
        job["status"].pop("target", None)
        condition = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": self._stamp()}
        job["status"]["conditions"] = [condition]

    def _remove(self, pod: Object) -> None:
        """A pod goes; its Job counts how it ended before it is gone."""
        name = pod["metadata"]["labels"]["batch.kubernetes.io/job-name"]
        self.pods.pop(pod["metadata"]["name"], None)
        job = self.jobs.get(name)
        if job is None or over(job) or job["spec"].get("suspend") or "target" in job["status"]:
            return
        pod["status"]["phase"] = "Failed"
        self._finish(job, pod)

    # what tests do in the place of scheduler, kubelet and Kueue

    def pod_of(self, job: str) -> Object:
        self.control()
        (pod,) = self.pods_of(job)
        return pod

    def pods_of(self, job: str) -> list[Object]:
        return [pod for pod in self.pods.values() if pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == job]

    def unschedulable(self, job: str, message: str) -> None:
        self._mark(self.pod_of(job), "PodScheduled", "False", reason="Unschedulable", message=message)

    def waiting(self, job: str, reason: str, message: str = "") -> None:
        pod = self.pod_of(job)
        self._mark(pod, "PodScheduled", "True")
        set_state(pod, {"waiting": {"reason": reason, "message": message}})

    def running(self, job: str) -> None:
        """The kubelet starts the container; what it reads from Secrets must be there, and what comes before it is."""
        pod = self.pod_of(job)
        if not self._finds_its_secrets(job, pod):
            return
        for container in pod["spec"].get("initContainers", ()):
            if container.get("restartPolicy") == "Always":
                set_state(pod, {"running": {"startedAt": self._stamp()}}, container["name"])
            elif not any(one["name"] == container["name"] and "terminated" in one["state"] for one in statuses(pod)):
                self.prepared(job, 0)
        self.begun.append(job)
        self._mark(pod, "PodScheduled", "True")
        pod["status"] |= {"phase": "Running", "startTime": self._stamp()}
        set_state(pod, {"running": {"startedAt": self._stamp()}})
        self._touch(pod)

    def _finds_its_secrets(self, job: str, pod: Object) -> bool:
        volumes = [one["secret"]["secretName"] for one in pod["spec"].get("volumes", ()) if "secret" in one]
        variables = [one["valueFrom"]["secretKeyRef"] for one in command(pod)["env"] if "valueFrom" in one]
        missing = {name for name in volumes if name not in self.secrets.there}
        unset = {one["name"] for one in variables if self.read(one) is None}
        for name in missing | unset:
            self.waited_in_vain.append(job)
            reason = "ContainerCreating" if name in missing else "CreateContainerConfigError"
            self.waiting(job, reason, f'secret "{name}" not found')
            return False
        return True

    def preparing(self, job: str) -> None:
        """The container that runs before the command has begun."""
        pod = self.pod_of(job)
        self._mark(pod, "PodScheduled", "True")
        set_state(pod, {"running": {"startedAt": self._stamp()}}, pod["spec"]["initContainers"][0]["name"])
        set_state(pod, {"waiting": {"reason": "PodInitializing"}})

    def prepared(self, job: str, exit_code: int, message: str | None = None) -> None:
        """The container that runs before the command is over; where it failed, so has the pod."""
        (pod,) = self.pods_of(job)
        name = pod["spec"]["initContainers"][0]["name"]
        self._terminate(pod, name, exit_code, None, message)
        if exit_code != 0:
            pod["status"]["phase"] = "Failed"
            if "deletionTimestamp" in pod["metadata"]:
                self._remove(pod)

    def ends(self, job: str, exit_code: int, *, reason: str | None = None, message: str | None = None) -> None:
        """The command's process is over. Its pod is so once a sidecar is as well; one that was being deleted is gone
        with that."""
        (pod,) = self.pods_of(job)
        self._terminate(pod, command(pod)["name"], exit_code, reason, message)
        if not any("running" in one["state"] for one in statuses(pod)):
            self._ended(pod)

    def sidecar_ends(self, job: str, exit_code: int, message: str | None = None) -> None:
        """What a sidecar's exit code is makes no difference to its pod."""
        (pod,) = self.pods_of(job)
        self._terminate(pod, pod["spec"]["initContainers"][-1]["name"], exit_code, None, message)
        self._ended(pod)

    def _terminate(self, pod: Object, name: str, exit_code: int, reason: str | None, message: str | None) -> None:
        before: Object = next((one["state"] for one in statuses(pod) if one["name"] == name), {})
        end = {
            "exitCode": exit_code, "startedAt": before.get("running", {}).get("startedAt", self._stamp()),
            "finishedAt": self._stamp(), "reason": reason or ("Completed" if exit_code == 0 else "Error"),
        }  # fmt: skip
        set_state(pod, {"terminated": end if message is None else {**end, "message": message}}, name)
        self._touch(pod)

    def _ended(self, pod: Object) -> None:
        if "deletionTimestamp" in pod["metadata"]:
            self._remove(pod)
            return
        exit_code = command_status(pod)["state"]["terminated"]["exitCode"]
        pod["status"]["phase"] = "Succeeded" if exit_code == 0 else "Failed"
        self._touch(pod)

    def read(self, reference: Object) -> str | None:
        """What a `secretKeyRef` stands for."""
        return self.secrets.value(reference["name"], reference["key"])

    def evicted(self, job: str, reason: str, message: str) -> None:
        """The kubelet puts a pod out: its status stays."""
        (pod,) = self.pods_of(job)
        self._mark(pod, "DisruptionTarget", "True", reason="TerminationByKubelet")
        pod["status"] |= {"phase": "Failed", "reason": reason, "message": message}

    def preempted(self, job: str) -> None:
        """The scheduler deletes a pod for a more important one: nothing of it stays."""
        (pod,) = self.pods_of(job)
        self._mark(pod, "DisruptionTarget", "True", reason="PreemptionByScheduler")
        self._remove(pod)

    def kueue(self, job: str, *, admits: bool) -> None:
        self.jobs[job]["spec"]["suspend"] = not admits
        self.control()

    def prints(self, job: str, *lines: bytes, at: datetime | None = None) -> None:
        (pod,) = self.pods_of(job)
        for line in lines:
            self.logs.setdefault(pod["metadata"]["name"], []).append((at or self.now(), 789, line))

    def _mark(self, pod: Object, kind: str, status: str, **more: str) -> None:
        conditions = [one for one in pod["status"].get("conditions", []) if one["type"] != kind]
        pod["status"]["conditions"] = [*conditions, {"type": kind, "status": status, **more}]
        self._touch(pod)

    def _touch(self, thing: Object) -> None:
        thing["metadata"]["resourceVersion"] = str(next(self._versions))

    def _stamp(self) -> str:
        return as_stamp(self.now())

    def _age_s(self, stamp: str) -> float:
        return (self.now() - datetime.fromisoformat(stamp)).total_seconds()


def _check(body: Object) -> None:
    wrong = complaint(body)
    if wrong is not None:
        raise Refused(422, "Invalid", f"Job is invalid: {wrong}")
