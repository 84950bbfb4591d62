"""Run attempts as Jobs of a Kubernetes cluster; the cluster's objects are the only memory.

A machine and the attempt on it are one thing here: its Job. A Job that shall not go on is not deleted, which would
make room for a late start under the same name, but told so in one step: a note that we ended it, and a time limit that
is over. Its controller ends the pod with the pod's own grace, which we cut short where it is long for sending outputs,
and the note says how the outcome is to be named. The Job stays until its retention is over. Only one that a queue has
suspended cannot be ended so: it is replaced by one that does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from uuid import UUID

import structlog
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from scheduler.domain.attempt import AttemptWork, LogChunk
from scheduler.domain.machines import Machine
from scheduler.settings import Settings
from workers.backends.base import (
    Handle,
    MachinePhase,
    MachineReport,
    Phase,
    ProviderUnavailable,
    Report,
    StartFailed,
)
from workers.backends.handed_over import HandedOver
from workers.backends.kubernetes.cards import Card, load_cards
from workers.backends.kubernetes.cluster import Cluster, connect
from workers.backends.kubernetes.ending import end, noted
from workers.backends.kubernetes.handed_over import attempt_of, has_secret, owned_by, secret_of, spec_of, values_in
from workers.backends.kubernetes.manifest import CLEARED_S, job_of
from workers.backends.kubernetes.names import (
    KEY,
    MACHINE,
    STOPPED,
    Why,
    job_name,
    machine_label,
    note,
)
from workers.backends.kubernetes.outputs import ASKED_GRACE_S, hurry, keeps
from workers.backends.kubernetes.printed import STREAM, Hide, Printed, nothing_hidden
from workers.backends.kubernetes.seen import finished, forbidden, used_s
from workers.backends.kubernetes.sight import Sight, look
from workers.backends.supervised import nothing
from workers.supervision.oom import OutputWatch, judge
from workers.supervision.redaction import Redactor

log = structlog.get_logger(__name__)

_LAST_LINES = 2000
"""Read of a command that failed, to find out whether memory ran out; the last 64 KiB of them count."""
_FORBIDDEN_KEPT = timedelta(days=1)
"""A Job that does nothing should be gone long before; one that a queue holds back would stay for ever."""
_REMEMBERED = 10_000


@dataclass(kw_only=True)
class Kubernetes:
    """One namespace of one cluster. The connection is made by the process that first needs it."""

    settings: Settings
    clock: Callable[[], datetime]
    hand_over: Callable[[AttemptWork], HandedOver] = nothing
    """What an attempt is given beside its command."""
    simulated: bool = False
    host_bound: bool = False
    hands_over: bool = True
    _pod_of: dict[str, tuple[str, bool]] = field(default_factory=dict, init=False)
    """Pods by attempt, and whether they have secrets, as last seen: saves a question, and is asked again where it is
    not known."""

    @cached_property
    def _cluster(self) -> Cluster:
        return connect(self.settings)

    @cached_property
    def _cards(self) -> dict[str, Card]:
        return load_cards(self.settings.kubernetes_gpus)

    @cached_property
    def _printed(self) -> Printed:
        return Printed(self.settings.log_cap_bytes)

    @property
    def account(self) -> str:
        """The same for every worker that reaches the cluster, whatever its address is from there."""
        return f"kubernetes:{self.settings.kubernetes_cluster}/{self.settings.kubernetes_namespace}"

    def provision(self, machine: Machine) -> MachineReport:
        """There is nothing to order: the Job is the machine."""
        return MachineReport(key=machine.key, phase=MachinePhase.READY, metered_s=None)

    def start(self, work: AttemptWork) -> Handle:
        """Create the Job, and before it the Secret that it needs; the cluster makes sure that there is one of each."""
        name = job_name(work.attempt_id)
        asked = self.settings
        card = self._cards.get(work.gpu_type)
        job = job_of(work, card, queue=asked.kubernetes_queue, staging_image=asked.kubernetes_staging_image)
        with_secret = has_secret(spec_of(job))
        if with_secret:
            self._cluster.create_secret(secret_of(work, self.hand_over(work)))
        there = self._cluster.create(job) or self._cluster.job(name)
        if there is not None and forbidden(there):
            if with_secret:
                self._cluster.delete_secret(name)
            raise StartFailed("it was stopped before it could start")
        if with_secret and there is not None:
            self._cluster.change_secret(name, owned_by(there))
        return self.locate(work.attempt_id)

    def locate(self, attempt_id: UUID) -> Handle:
        """A Job is named after its attempt."""
        return {"attempt": str(attempt_id)}

    def poll(self, handle: Handle) -> Report:
        """What the cluster says, after what that calls for has been done."""
        job, pods = self._see(handle)
        if job is None:
            return Report(phase=Phase.ABSENT, simulated=False)
        sight = self._look(job, pods)
        if sight.noted:
            self._cluster.change(_job_name(handle), noted(sight.noted))
        for pod, grace_s in hurry(job, pods, now=self.clock()):
            self._cluster.kill([pod], grace_s=grace_s)
        if sight.end is not None:
            why, sentence = sight.end
            self._end(handle, job, pods, why, sentence)
        if sight.output_tells and pods:
            return self._explained(sight.report, _name(pods[-1]))
        return sight.report

    def stop(self, handle: Handle, *, hard: bool) -> None:
        """End what runs, with grace or without; what was never started never will be."""
        job, pods = self._see(handle)
        if job is not None and self._look(job, pods).report.phase in (Phase.ENDED, Phase.VANISHED):
            return
        if job is None or note(job, STOPPED) is None:
            self._end(handle, job, pods, Why.ASKED, "")
        if job is None:
            self._cluster.delete_secret(_job_name(handle))  # a start that broke off may have made it
        if hard:
            self._cluster.kill(pods)
        else:  # the others' own grace is what it should be
            self._cluster.kill([pod for pod in pods if keeps(pod.spec)], grace_s=ASKED_GRACE_S)

    def release(self, key: str) -> MachineReport:
        """End whatever runs under a machine's key, and say for how long it did."""
        metered_s: float | None = None
        for job in self._cluster.jobs({MACHINE: machine_label(key)}):
            attempt_id = _attempt_of(job)
            if attempt_id is None or note(job, KEY) != key:
                continue
            handle = self.locate(attempt_id)
            self.stop(handle, hard=True)
            stopped, pods = self._see(handle)  # its beginning stands there now, if it had one
            metered_s = used_s(stopped or job, pods, now=self.clock())
        return MachineReport(key=key, phase=MachinePhase.GONE, metered_s=metered_s)

    def list(self) -> Sequence[MachineReport]:
        """Every Job that is not over, whoever made it."""
        reports = []
        for job in self._cluster.jobs():
            key = note(job, KEY)
            if key is None or forbidden(job) or finished(job) is not None:
                continue
            metered_s = used_s(job, (), now=self.clock())
            phase = MachinePhase.COMING if metered_s is None else MachinePhase.READY
            reports.append(MachineReport(key=key, phase=phase, metered_s=metered_s))
        return reports

    def collect(self, handle: Handle, since: Mapping[str, int], *, ended: bool) -> Sequence[LogChunk]:
        """What the container printed; nothing where its pod is gone."""
        attempt = handle["attempt"]
        known = self._pod_of.get(attempt)
        if known is None:
            self._see(handle)
            known = self._pod_of.get(attempt)
        if known is None:
            return []
        pod, with_secret = known
        ask = partial(self._cluster.printed, pod)
        hide: Hide = partial(self._hidden, _job_name(handle)) if with_secret else nothing_hidden
        return self._printed.collect(attempt, ask, since.get(STREAM, 0), ended=ended, hide=hide)

    def _hidden(self, name: str) -> Redactor | None:
        """What keeps an attempt's secrets out of its output. The cluster has the values that the command has, whatever
        became of them at home; no worker remembers them."""
        secret = self._cluster.secret(name)
        return None if secret is None else Redactor(values_in(secret))

    def clear(self, handle: Handle) -> None:
        """Delete an ended attempt's Secret, and let the cluster remove its Job soon; until then a late start finds its
        name taken."""
        job, pods = self._see(handle)
        self._pod_of.pop(handle["attempt"], None)
        self._printed.forget(handle["attempt"])
        if job is None:
            self._cluster.kill(pods)  # somebody deleted it, and what sends outputs has a long grace
        elif not forbidden(job):
            if self._look(job, pods).report.phase in (Phase.STARTING, Phase.RUNNING):
                self.stop(handle, hard=True)
            self._cluster.change(_job_name(handle), {"spec": {"ttlSecondsAfterFinished": CLEARED_S}})
            if not has_secret(spec_of(job)):
                return
        self._cluster.delete_secret(_job_name(handle))

    def tidy(self, has_ended: Callable[[UUID], bool]) -> None:
        """Clear what ended attempts have left, and what only holds a name and was not removed."""
        with suppress(ProviderUnavailable):  # what is not tidied now is tidied by the next sweep
            for job in self._cluster.jobs():
                self._tidy(job, has_ended)
            for secret in self._cluster.secrets():
                self._tidy_secret(secret, has_ended)

    def _tidy_secret(self, secret: ObjectMeta, has_ended: Callable[[UUID], bool]) -> None:
        """A worker that died may have left the Secret of an attempt that has ended, or one without its owner."""
        attempt_id = attempt_of(secret.labels, secret.name)
        if attempt_id is None:
            return
        name = job_name(attempt_id)
        if has_ended(attempt_id):
            self._cluster.delete_secret(name)
        elif not secret.ownerReferences and (job := self._cluster.job(name)) is not None:
            self._cluster.change_secret(name, owned_by(job))

    def _tidy(self, job: Job, has_ended: Callable[[UUID], bool]) -> None:
        attempt_id = _attempt_of(job)
        if attempt_id is None:
            return
        if forbidden(job):
            made = None if job.metadata is None else job.metadata.creationTimestamp
            if made is not None and self.clock() - made > _FORBIDDEN_KEPT:
                self._cluster.delete_job(job_name(attempt_id))
            return
        kept_s = job.spec and job.spec.ttlSecondsAfterFinished
        if finished(job) is not None and kept_s != CLEARED_S and has_ended(attempt_id):
            self.clear(self.locate(attempt_id))

    def _see(self, handle: Handle) -> tuple[Job | None, Sequence[Pod]]:
        """An attempt's Job and its pods, in this order: a pod has ended before its Job says so."""
        attempt = handle["attempt"]
        job = self._cluster.job(_job_name(handle))
        pods = self._cluster.pods(attempt)
        if pods:
            if len(self._pod_of) >= _REMEMBERED:  # those that other processes cleared, above all
                self._pod_of.clear()
            self._pod_of[attempt] = _name(pods[-1]), has_secret(pods[-1].spec)
        return job, pods

    def _look(self, job: Job, pods: Sequence[Pod]) -> Sight:
        return look(job, pods, now=self.clock(), pending_s=self.settings.kubernetes_pending_s)

    def _end(self, handle: Handle, job: Job | None, pods: Sequence[Pod], why: Why, sentence: str) -> None:
        end(self._cluster, UUID(handle["attempt"]), job, pods, why=why, sentence=sentence, now=self.clock())

    def _explained(self, report: Report, pod: str) -> Report:
        """With the reason that the last lines of a failed command give, where memory ran out."""
        watch = OutputWatch()
        watch.feed(self._cluster.printed(pod, tailLines=_LAST_LINES))
        assert report.exit_code is not None  # noqa: S101 - it has ended by itself
        memory = judge(report.exit_code, [watch.verdict()], {}, {})
        # one that goes again has no outputs to speak of
        return replace(report, out_of_memory=memory, failure=report.failure if memory is None else None)


def _job_name(handle: Handle) -> str:
    return job_name(UUID(handle["attempt"]))


def _attempt_of(job: Job) -> UUID | None:
    return None if job.metadata is None else attempt_of(job.metadata.labels, job.metadata.name)


def _name(pod: Pod) -> str:
    return (pod.metadata and pod.metadata.name) or ""
