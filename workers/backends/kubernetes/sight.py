"""Tell from a Job and its pod how an attempt is doing, and what should be done about it.

The cluster's objects are all there is to go by: a container's state while its pod is there, the Job's conditions once
it is gone, and the notes that we left on the Job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from lightkube.models.batch_v1 import JobCondition
from lightkube.models.core_v1 import ContainerStateTerminated, PodCondition, PodStatus
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from workers.backends.base import Phase, Report
from workers.backends.kubernetes.names import (
    BEGAN,
    CONTAINER,
    FETCH,
    KEEP,
    LIMIT,
    OVER,
    PREALLOCATES,
    STOPPED,
    WHY,
    Why,
    note,
)
from workers.backends.kubernetes.outputs import is_sending, lost_outputs, state_of, unfetched
from workers.backends.kubernetes.seen import Seen, finished, forbidden
from workers.backends.words import line
from workers.supervision.report_file import JobReport, parse_report
from workers.supervision.stopped import OutOfMemory, Stopped

IMAGE_PATIENCE_S = 600.0
"""The kubelet tries again and again to pull an image: a registry may be down, but a name may also be wrong."""
_HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"})
_UNPULLED = frozenset({"ErrImagePull", "ImagePullBackOff", "CreateContainerError", "RegistryUnavailable"})
_NEVER_BEGAN = frozenset({"StartError", "ContainerCannotRun"})
_DISPLACED = frozenset({"Evicted", "Preempting", "NodeLost", "NodeShutdown", "Shutdown", "Terminated"})
"""Reasons of a failed pod whose node could not keep it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is to be seen of an attempt."""

    report: Report
    noted: Mapping[str, str] = field(default_factory=dict)
    """What is to be noted on the Job."""
    end: tuple[Why, str] | None = None
    """It is to be ended, for this reason."""
    output_tells: bool = False
    """The command ended by itself and failed: its last lines may say that memory ran out."""


def look(job: Job, pods: Sequence[Pod], *, now: datetime, pending_s: float) -> Sight:
    """What a Job and its pods show at a time."""
    status = pods[-1].status if pods else None
    state = state_of(status, CONTAINER)
    seen = Seen(job, status, state)
    why = note(job, STOPPED)
    if why is not None:
        return Sight(report=_ended_by_us(seen, Why(why), alive=any(map(_lives, pods))))
    over = _over(seen)
    if over is not None:
        return over
    if job.spec is not None and job.spec.suspend:
        return _suspended(seen)
    if state is not None and state.running is not None:
        return _running(seen, now)
    return _waiting(seen, pods, now=now, pending_s=pending_s)


def _over(seen: Seen) -> Sight | None:
    """How it ended without our doing: by the container's word, the pod's, or the Job's, whichever is left."""
    if seen.state is not None and seen.state.terminated is not None:
        if is_sending(seen.status):
            return _sending(seen)
        return _terminated(seen, seen.status, seen.state.terminated)
    if seen.status is not None and seen.status.phase == "Failed":
        return Sight(report=_failed_pod(seen, seen.status))
    condition = finished(seen.job)
    return None if condition is None else Sight(report=_finished_job(seen, condition))


def _sending(seen: Seen) -> Sight:
    """The command has ended, and its outputs are on their way; what is billed ends with the command."""
    began, ended = seen.began, seen.ended
    noted = {BEGAN: began, OVER: ended}
    fresh = {
        name: when.isoformat() for name, when in noted.items() if when is not None and note(seen.job, name) is None
    }
    return Sight(report=seen.going_on(Phase.RUNNING), noted=fresh)


def _terminated(seen: Seen, status: PodStatus | None, end: ContainerStateTerminated) -> Sight:
    """The container has ended: by itself, unless its pod says that its place was taken or its time was up."""
    said = _said(status)
    if end.reason == "OOMKilled":
        return Sight(report=seen.over(exit_code=end.exitCode, out_of_memory=OutOfMemory.HOST))
    if end.exitCode != 0 and status is not None:
        if status.reason == "DeadlineExceeded":
            return Sight(report=seen.over(exit_code=end.exitCode, stopped=Stopped.TIMEOUT))
        if _taken(status):
            return Sight(report=seen.over(exit_code=end.exitCode, **_taken_words(said)))
    if end.reason in _NEVER_BEGAN:
        failure = f"the command could not be started: {_short(end.message)}"
        return Sight(report=seen.over(exit_code=end.exitCode, failure=failure))
    job_said = parse_report((end.message or "").encode())
    lost = lost_outputs(status, all_expected=end.exitCode == 0) if seen.keeps else None
    how = None if lost is None or end.exitCode == 0 else f"exit code {end.exitCode}"
    report = seen.over(
        exit_code=end.exitCode,
        failure="; ".join(filter(None, (how, lost))) or None,
        signal=end.exitCode - 128 if 128 < end.exitCode <= 128 + 31 else None,
        peak_allocated_gib=job_said.peak_allocated_gib,
        peak_vram_gib=job_said.peak_reserved_gib,
        vram_metric=_metric(seen.job, job_said),
    )
    return Sight(report=report, output_tells=end.exitCode != 0)


def _metric(job: Job, said: JobReport) -> str | None:
    """What the job's own word on its memory is worth."""
    if note(job, PREALLOCATES):
        return "preallocated"
    return None if said.peak_reserved_gib is None else "reserved"


def _failed_pod(seen: Seen, status: PodStatus) -> Report:
    """The kubelet refused the pod or put it out, and no container's end tells more."""
    said = _said(status)
    if status.reason == "DeadlineExceeded":
        return seen.over(stopped=Stopped.TIMEOUT)
    if _taken(status):
        return seen.over(**_taken_words(said))
    if (problem := unfetched(status)) is not None:
        if problem.may_pass:  # no fault of the job: it goes again while attempts last
            return seen.over(stopped=Stopped.HOST, failure=problem.sentence)
        return seen.over(exit_code=1, failure=problem.sentence)
    return seen.over(stopped=Stopped.HOST, failure=f"its node did not take the pod: {said}")


def _finished_job(seen: Seen, over: JobCondition) -> Report:
    """Nothing is left of the pod: the Job says how it ended."""
    if over.type == "Complete":
        return seen.over(exit_code=0)
    match over.reason:
        case "DeadlineExceeded":
            return seen.over(stopped=Stopped.TIMEOUT)
        case "PodFailurePolicy":  # our only rule is about pods that are taken away
            return seen.over(stopped=Stopped.HOST)
    return replace(seen.over(), phase=Phase.VANISHED, failure="its pod was deleted, and nobody can say how it ended")


def _suspended(seen: Seen) -> Sight:
    """Kueue keeps it waiting, or has taken its place away again; then it must not begin a second time."""
    if seen.began is None:
        return Sight(report=seen.going_on(Phase.STARTING))
    return Sight(report=seen.going_on(Phase.RUNNING), end=(Why.TAKEN, ""))


def _running(seen: Seen, now: datetime) -> Sight:
    began = seen.began
    if began is None:  # the kubelet says so a moment later
        return Sight(report=seen.going_on(Phase.RUNNING))
    noted = {BEGAN: began.isoformat()} if note(seen.job, BEGAN) is None else {}
    limit = note(seen.job, LIMIT)
    late = limit is not None and (now - began).total_seconds() >= float(limit)
    return Sight(report=seen.going_on(Phase.RUNNING), noted=noted, end=(Why.TIMEOUT, "") if late else None)


def _waiting(seen: Seen, pods: Sequence[Pod], *, now: datetime, pending_s: float) -> Sight:
    """No container yet: it has no node, or its image is being pulled; neither may take for ever."""
    report = seen.going_on(Phase.STARTING)
    made = pods[-1].metadata.creationTimestamp if pods and pods[-1].metadata else None
    waited_s = 0.0 if made is None else (now - made).total_seconds()
    for name in (FETCH, KEEP, CONTAINER):
        state = state_of(seen.status, name)
        held_up = None if state is None else state.waiting
        if held_up is None:
            continue
        hopeless = held_up.reason in _HOPELESS or (held_up.reason in _UNPULLED and waited_s >= IMAGE_PATIENCE_S)
        if name == CONTAINER and hopeless:
            return Sight(report=report, end=(Why.FAILED, f"its container cannot begin: {_short(held_up.message)}"))
        if name != CONTAINER and (hopeless or held_up.reason == "CrashLoopBackOff"):  # the command waits for it
            words = f"the container that moves its files cannot begin: {_short(held_up.message)}"
            return Sight(report=report, end=(Why.LOST, words))
    homeless = _condition(seen.status, "PodScheduled")
    if homeless is not None and homeless.status == "False" and waited_s >= pending_s:
        return Sight(report=report, end=(Why.LOST, f"no node took it in {waited_s:.0f} s: {_short(homeless.message)}"))
    return Sight(report=report)


def _ended_by_us(seen: Seen, why: Why, *, alive: bool) -> Report:
    """We have said that it shall end; it has once nothing of it runs, and the Job will make no pod any more."""
    if alive or not (forbidden(seen.job) or finished(seen.job)):
        return seen.going_on(Phase.STARTING if seen.began is None else Phase.RUNNING)
    sentence = note(seen.job, WHY) or None
    match why:
        case Why.ASKED:
            return seen.over(stopped=Stopped.ASKED)
        case Why.TIMEOUT:
            lost = lost_outputs(seen.status, all_expected=False) if seen.keeps else None
            return seen.over(stopped=Stopped.TIMEOUT, failure=lost)
        case Why.TAKEN:
            return seen.over(stopped=Stopped.HOST, failure=sentence)
        case Why.LOST:
            return seen.over(stopped=Stopped.HOST, failure=sentence or "it did not begin")
        case Why.FAILED:
            return seen.over(failure=sentence or "it could not begin")


def _lives(pod: Pod) -> bool:
    """Whether something of a pod may still run; one that never came to a node has nothing that could."""
    status = pod.status
    if status is None or status.phase in ("Succeeded", "Failed"):
        return False
    state = state_of(status, CONTAINER)
    return state is None or state.terminated is None or is_sending(status)


def _condition(status: PodStatus | None, kind: str) -> PodCondition | None:
    for condition in (status and status.conditions) or ():
        if condition.type == kind:
            return condition
    return None


def _taken(status: PodStatus) -> bool:
    """Whether the pod's place was taken from it, by somebody more important or by the end of its node."""
    disrupted = _condition(status, "DisruptionTarget")
    return status.reason in _DISPLACED or (disrupted is not None and disrupted.status == "True")


def _taken_words(said: str) -> dict[str, Any]:
    """An eviction for what the job itself used up is its own failure: it would happen again anywhere."""
    if "exceed" in said:
        return {"failure": f"it was evicted: {said}"}
    return {"stopped": Stopped.HOST}


def _said(status: PodStatus | None) -> str:
    return _short(None if status is None else status.message or status.reason)


def _short(text: str | None) -> str:
    """The cluster's words, where it says any."""
    return line(text or "the cluster does not say why")
