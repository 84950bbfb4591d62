"""What there is to go by of an attempt: its Job, its pod's status, what we noted. Kubernetes keeps whole seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lightkube.models.batch_v1 import JobCondition
from lightkube.models.core_v1 import ContainerState, PodStatus
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from scheduler.domain.machines import Meter
from workers.backends.base import Phase, Report
from workers.backends.kubernetes.handed_over import spec_of
from workers.backends.kubernetes.names import BEGAN, CONTAINER, FORBIDDEN, OVER, ROLE, note
from workers.backends.kubernetes.outputs import keeps, state_of


def forbidden(job: Job) -> bool:
    """Whether a Job only holds its name."""
    return ((job.metadata and job.metadata.labels) or {}).get(ROLE) == FORBIDDEN


def finished(job: Job) -> JobCondition | None:
    """The condition that says that a Job is over, and how."""
    for condition in (job.status and job.status.conditions) or ():
        if condition.type in ("Complete", "Failed") and condition.status == "True":
            return condition
    return None


def suspended_at(job: Job) -> datetime | None:
    """When a queue took a Job's place back."""
    for condition in (job.status and job.status.conditions) or ():
        if condition.type == "Suspended" and condition.status == "True":
            return condition.lastTransitionTime
    return None


@dataclass(frozen=True, slots=True)
class Seen:
    """What every verdict is made of."""

    job: Job
    status: PodStatus | None
    state: ContainerState | None

    @property
    def keeps(self) -> bool:
        """Whether it has outputs to send."""
        return keeps(spec_of(self.job))

    @property
    def began(self) -> datetime | None:
        """When the container began, by its own word or by what we noted of it."""
        state = self.state
        inner = state and (state.terminated or state.running)
        if inner and inner.startedAt is not None:
            return inner.startedAt
        noted = note(self.job, BEGAN)
        return None if noted is None else datetime.fromisoformat(noted)

    @property
    def ended(self) -> datetime | None:
        """When it ended: the container's word, else the Job's."""
        if self.state is not None and self.state.terminated is not None and self.state.terminated.finishedAt:
            return self.state.terminated.finishedAt
        noted = note(self.job, OVER)
        if noted is not None:
            return datetime.fromisoformat(noted)
        over = finished(self.job)
        return over.lastTransitionTime if over is not None else None

    def going_on(self, phase: Phase) -> Report:
        """A report of something that is not over."""
        return Report(phase=phase, simulated=False)

    def over(self, **known: Any) -> Report:
        """A report of the end, with its time on the meter: from the container's beginning to its end."""
        began, ended = self.began, self.ended
        used_s = 0.0 if began is None or ended is None else max(0.0, (ended - began).total_seconds())
        return Report(
            phase=Phase.ENDED,
            simulated=False,
            runtime_s=None if began is None else used_s,
            used_s=used_s,
            meter=Meter(from_s=0.0, to_s=used_s),
            machine_gone=True,  # nothing else is ever started on it
            **known,
        )


def used_s(job: Job, pods: Sequence[Pod], *, now: datetime) -> float | None:
    """Seconds on the meter, until the end or until now; None where the container never began."""
    status = pods[-1].status if pods else None
    seen = Seen(job, status, state_of(status, CONTAINER))
    return None if seen.began is None else max(0.0, ((seen.ended or now) - seen.began).total_seconds())
