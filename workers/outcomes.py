"""Name the outcome of an attempt from what its backend reports."""

from __future__ import annotations

from scheduler.domain.attempt import AttemptResult
from scheduler.domain.runtime_limit import RuntimeLimit
from scheduler.domain.states import Outcome
from workers.backends.base import Phase, Report
from workers.supervision.processes import signal_name
from workers.supervision.stopped import OutOfMemory, Stopped


def result_of(
    report: Report, *, cancel_requested: bool, has_device_memory: bool, limit: RuntimeLimit | None = None
) -> AttemptResult:
    """The result of an attempt that has ended, or of which nothing more will be heard."""
    outcome, reason = _outcome(report, cancel_requested=cancel_requested, has_device_memory=has_device_memory)
    if outcome is Outcome.TIMEOUT and report.stopped is Stopped.TIMEOUT and limit is not None:
        reason = "; ".join(filter(None, (limit.words, report.failure)))
    return AttemptResult(
        outcome=outcome,
        reason=reason,
        exit_code=report.exit_code,
        runtime_s=report.runtime_s,
        used_s=report.used_s,
        peak_vram_gib=report.peak_vram_gib,
        vram_metric=report.vram_metric,
        peak_allocated_gib=report.peak_allocated_gib,
        peak_rss_gib=report.peak_rss_gib,
        meter=report.meter,
        machine_gone=report.machine_gone,
        simulated=report.simulated,
        command_ran=report.command_ran,
    )


def _outcome(report: Report, *, cancel_requested: bool, has_device_memory: bool) -> tuple[Outcome, str | None]:
    if report.phase is not Phase.ENDED:
        return Outcome.LOST, report.failure or "the process that watched the command is gone"
    if report.stopped is not None and report.stopped is not Stopped.OUT_OF_MEMORY:
        return _stopped_outcome(report, report.stopped, cancel_requested=cancel_requested)
    if report.out_of_memory is OutOfMemory.GPU:
        return Outcome.OUT_OF_MEMORY, report.failure or f"CUDA out of memory, {_ending(report)}"
    if report.out_of_memory is OutOfMemory.HOST:
        limit = report.failure if report.stopped is Stopped.OUT_OF_MEMORY else None
        reason = limit or f"the host's memory ran out, {_ending(report)}"
        # a card with more memory comes with no more memory of the host: trying again would only cost
        return (Outcome.FAILED if has_device_memory else Outcome.OUT_OF_MEMORY), reason
    if report.exit_code == 0:
        return Outcome.COMPLETED, report.failure  # what it left could not be kept
    return Outcome.FAILED, report.failure or _ending(report)


def _stopped_outcome(report: Report, why: Stopped, *, cancel_requested: bool) -> tuple[Outcome, str | None]:
    if why in (Stopped.TIMEOUT, Stopped.CLUSTER_LIMIT):
        return Outcome.TIMEOUT, report.failure
    if why is Stopped.OPERATOR:
        return Outcome.CANCELLED, report.failure
    if why is Stopped.ASKED:
        if cancel_requested:
            return Outcome.CANCELLED, None
        return Outcome.LOST, "it was taken for lost before it could start"
    if report.failure:
        return Outcome.LOST, report.failure
    return Outcome.PREEMPTED, "the provider took its machine" if report.machine_gone else "its host is going down"


def _ending(report: Report) -> str:
    if report.signal is not None:
        return f"ended by {signal_name(report.signal)}"
    return f"exit code {report.exit_code}"
