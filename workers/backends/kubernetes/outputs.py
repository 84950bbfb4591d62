"""Tell from a pod how it stands with the job's files, beside its command, and how long it may still take for them.

Deviations from a supervisor of our own, who knows why a command ended before it sends anything, are few: what a
container left is sent whatever its exit code, also where memory ran out; and the grace of a pod, which is long so that
outputs can be sent, would be the command's as well, so we cut it short where the command makes use of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lightkube.models.core_v1 import ContainerState, ContainerStateTerminated, PodSpec, PodStatus
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from workers.backends.kubernetes.names import CONTAINER, FETCH, KEEP, STOPPED, Why, note
from workers.backends.kubernetes.staged import GRACE_S

ASKED_GRACE_S = 10
"""Of a pod whose job was cancelled: less than it rests before it would send outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfetched:
    """An input that could not be brought in."""

    sentence: str
    may_pass: bool


def state_of(status: PodStatus | None, name: str) -> ContainerState | None:
    """Of one of our containers, whatever else a cluster has put into the pod."""
    if status is None:
        return None
    for container in (*(status.initContainerStatuses or ()), *(status.containerStatuses or ())):
        if container.name == name:
            state: ContainerState | None = container.state
            return state
    return None


def keeps(pod: PodSpec | None) -> bool:
    """Whether a pod sends outputs."""
    return any(container.name == KEEP for container in (pod and pod.initContainers) or ())


def unfetched(status: PodStatus | None) -> Unfetched | None:
    """Why its files did not come, where that ended the pod."""
    state = state_of(status, FETCH)
    if state is None or state.terminated is None or state.terminated.exitCode == 0:
        return None
    said = _said(state.terminated)
    if said is None or not said.get("failure"):
        return Unfetched(sentence=f"inputs: {_ended(state.terminated)}", may_pass=True)
    return Unfetched(sentence=f"inputs: {said['failure']}", may_pass=bool(said.get("may_pass")))


def is_sending(status: PodStatus | None) -> bool:
    """Whether the outputs of a command that has ended are still being sent."""
    if status is None or status.phase in ("Succeeded", "Failed"):
        return False
    state = state_of(status, KEEP)
    return state is not None and state.terminated is None


def lost_outputs(status: PodStatus | None, *, all_expected: bool) -> str | None:
    """Why not all outputs were kept; None where they were."""
    state = state_of(status, KEEP)
    if state is None:
        return "whether its outputs were kept, nobody has seen: its pod is gone"
    end = state.terminated
    said, problem = None if end is None else _said(end), None
    if end is None or said is None:
        problem = "the container that moves files was not there" if end is None else _ended(end)
    elif all_expected and said.get("missing"):
        problem = f"{said['missing']}: the command left no such file"
    elif said.get("failure"):
        problem = str(said["failure"])
    return None if problem is None else f"not all outputs were kept ({problem}); they are gone with its pod"


def hurry(job: Job | None, pods: Sequence[Pod], *, now: datetime) -> Iterator[tuple[Pod, int]]:
    """Pods that are to be deleted, with the grace that they shall have: of one that is ended for good, whose outputs
    nobody wants, less than it has; of one that ends for another reason, none once its command has had its own."""
    why = None if job is None else note(job, STOPPED)
    for pod in pods:
        if pod.metadata is None or pod.metadata.deletionTimestamp is None or not keeps(pod.spec):
            continue
        has_s = pod.metadata.deletionGracePeriodSeconds or 0
        if why not in (None, Why.TIMEOUT):
            if has_s > (least := ASKED_GRACE_S if why == Why.ASKED else GRACE_S):
                yield pod, least
            continue
        state = state_of(pod.status, CONTAINER)
        told_at = pod.metadata.deletionTimestamp - timedelta(seconds=has_s)
        if state is not None and state.running is not None and now - told_at >= timedelta(seconds=GRACE_S):
            yield pod, 0


def _said(end: ContainerStateTerminated) -> dict[str, Any] | None:
    """The last word of a container of ours."""
    try:
        said = json.loads(end.message or "")
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _ended(end: ContainerStateTerminated) -> str:
    how = "its memory ran out" if end.reason == "OOMKilled" else f"exit code {end.exitCode}"
    return f"the container that moves files ended before it was done: {how}"
