"""Tell from a run, and from what the server wrote down of it, how an attempt is doing and what it has cost.

How it ended is the word of the job that ended first of itself: on several machines the server ends the others after it.
A machine is paid from the moment that the server had it until the job on it was over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.domain.machines import Meter
from workers.backends.base import Phase, Report
from workers.backends.dstack.said import Event, Run, Submission
from workers.backends.dstack.task import came_late, forbids
from workers.backends.words import line
from workers.supervision.stopped import Stopped

_BY_SERVER = "terminated_by_server"
_EXITED = frozenset({"done_by_runner", "container_exited_with_error"})
_JOBS_OWN = {
    "creating_container_error": "its container could not be made",
    "executor_error": "its command could not be carried out",
    "log_quota_exceeded": "it printed more than the server takes",
}
"""It would end so anywhere."""
_ENDED_THERE = (
    "terminated_by_user", "aborted_by_user", "scaled_down", "inactivity_duration_exceeded",
    "terminated_due_to_utilization_policy",
)  # fmt: skip
_CERTAIN: Mapping[str, Mapping[str, Any]] = {
    "max_duration_exceeded": {"stopped": Stopped.TIMEOUT},
    "interrupted_by_no_capacity": {"stopped": Stopped.HOST},
    **{
        reason: {"stopped": Stopped.OPERATOR, "failure": f"its run was ended in dstack: {reason.replace('_', ' ')}"}
        for reason in _ENDED_THERE
    },
}
"""Reasons that need no words of the server's."""
_WORDS = {
    "failed_to_start_due_to_no_capacity": "dstack found no machine for it",
    "instance_unreachable": "its machine could not be reached any more",
    "instance_access_revoked": "its machine was taken from the project",
    "waiting_instance_limit_exceeded": "its machine did not come",
    "waiting_runner_limit_exceeded": "its machine came and did not begin",
    "volume_error": "its volume failed",
    "ports_binding_failed": "its machine had a port taken",
    _BY_SERVER: "the dstack server ended it",
}

_RIVALS = "the dstack server had begun it more than once, and what went on was ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """When the server had the machines of a run, and when its command ran."""

    rented_at: datetime | None = None
    running_at: datetime | None = None
    ended_at: datetime | None = None
    """The end of the command."""
    gone_at: datetime | None = None
    """The end of the last job; None while one goes on."""

    def metered_s(self, now: datetime) -> float | None:
        """Seconds on the meter, until the end or until now; None where there never was a machine."""
        return None if self.rented_at is None else max(0.0, ((self.gone_at or now) - self.rented_at).total_seconds())

    @property
    def runtime_s(self) -> float | None:
        """Of the command, start-up included and the pulling of its image not."""
        ended_at = self.ended_at or self.gone_at
        if self.running_at is None or ended_at is None:
            return None
        return max(0.0, (ended_at - self.running_at).total_seconds())


def times_of(run: Run, events: Iterable[Event]) -> Times:
    """The times of a run. Where the server has forgotten its events, those that the jobs themselves carry."""
    changed = _changes(run, events)
    rented = [
        changed.get((str(one.id), "PROVISIONING"), one.submitted_at)
        for one in run.submissions
        if one.job_provisioning_data is not None
    ]
    running = [when for (_, state), when in changed.items() if state == "RUNNING"]
    ended = [when for (_, state), when in changed.items() if state == "TERMINATING"]
    gone = [one.finished_at for one in run.submissions if one.finished_at is not None]
    return Times(
        rented_at=min(rented, default=None),
        running_at=min(running, default=None),
        ended_at=max(ended, default=None),
        gone_at=max(gone, default=None) if run.is_over else None,
    )


def _changes(run: Run, events: Iterable[Event]) -> dict[tuple[str, str], datetime]:
    """When each job of a run, by the id of its submission, first came to each state."""
    ours = {str(one.id) for one in run.submissions}
    changed: dict[tuple[str, str], datetime] = {}
    for event in events:
        before, arrow, after = event.message.partition(" -> ")
        if not arrow or not before.startswith("Job status changed "):
            continue
        for target in event.targets:
            if target.type == "job" and str(target.id) in ours:
                changed.setdefault((str(target.id), after.split(".")[0].strip()), event.recorded_at)
    return changed


def going_on(run: Run) -> Report:
    """A report of a run that is not over. One that is ending may never have run, and says nothing new."""
    return Report(phase=Phase.RUNNING if run.status == "running" else Phase.STARTING, simulated=False)


def over(run: Run, times: Times, *, has_rivals: bool = False) -> tuple[Report, bool]:
    """A report of the end, and whether the last lines should be asked whether memory ran out. `has_rivals`: there was
    another run of its attempt, so that neither's end is the attempt's."""
    used_s = times.metered_s(times.gone_at or run.submitted_at) or 0.0
    ending, output_tells = (_lost(_RIVALS), False) if has_rivals else _ending(run)
    report = Report(
        phase=Phase.ENDED,
        simulated=False,
        runtime_s=times.runtime_s,
        used_s=used_s,
        meter=Meter(from_s=0.0, to_s=used_s),
        machine_gone=True,  # nothing else is ever started on it
        **ending,
    )
    return report, output_tells


def _ending(run: Run) -> tuple[Mapping[str, Any], bool]:
    if forbids(run):
        return {"stopped": Stopped.ASKED}, False
    if came_late(run):
        return _lost("a request that was held up had begun it again, and that was ended"), False
    decisive = _decisive(run)
    if decisive is None:
        return _lost(f"dstack ended it: {_spaced(run.termination_reason or run.status)}"), False
    reason = decisive.termination_reason or ("done_by_runner" if decisive.status == "done" else decisive.status)
    if reason in _EXITED:
        return _exited(decisive, reason)
    if reason in _JOBS_OWN:
        return {"failure": _with(_JOBS_OWN[reason], decisive), "exit_code": decisive.exit_status}, False
    known = _WORDS.get(reason) or f"dstack ended it: {_spaced(reason)}"
    return _CERTAIN.get(reason) or _lost(_with(known, decisive)), False


def _exited(decisive: Submission, reason: str) -> tuple[Mapping[str, Any], bool]:
    """The command ended by itself."""
    code = decisive.exit_status
    if reason == "done_by_runner":
        return {"exit_code": 0}, False
    if code is None:
        return {"failure": _with("its container ended with an error", decisive)}, False
    signal = code - 128 if 128 < code <= 128 + 31 else None
    return {"exit_code": code, "signal": signal}, code != 0


def _decisive(run: Run) -> Submission | None:
    """The job that says how its run ended: the first that the server did not end because of another."""
    failed = [one for one in run.submissions if one.termination_reason not in (None, "done_by_runner")]
    own = [one for one in failed if one.termination_reason != _BY_SERVER]
    return next(iter([*own, *failed, *run.submissions]), None)


def _lost(failure: str) -> Mapping[str, Any]:
    return {"stopped": Stopped.HOST, "failure": failure}


def _with(words: str, decisive: Submission) -> str:
    """Our words, and the server's on one line."""
    said = (decisive.termination_reason_message or "").strip()
    return f"{words}: {line(said)}" if said else words


def _spaced(reason: str) -> str:
    return reason.replace("_", " ")
