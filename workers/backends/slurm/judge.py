"""What became of an attempt, from Slurm's word on its job and the last word of the supervisor inside it."""

from __future__ import annotations

import re
from dataclasses import replace
from signal import SIGKILL
from typing import Any

from scheduler.domain.machines import Meter
from workers.backends.base import Phase, Report
from workers.backends.slurm.words import JobEnd
from workers.backends.supervised import report_of
from workers.supervision.status import RunState, Status
from workers.supervision.stopped import OutOfMemory, Stopped

_TOO_LONG = frozenset({"TIMEOUT", "DEADLINE"})
_CANCELLED = frozenset({"CANCELLED", "REVOKED"})
_NODE_IS_GONE = frozenset({"NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL"})
_SUPERVISED = frozenset({"COMPLETED", "FAILED"})
"""The job ended as its batch process did, which has said more in its own last word."""
_MEMORY_LIMIT = re.compile(r"xceeded (?:job )?memory limit|oom[-_]kill event")
"""slurmstepd where it, or the kernel for it, has killed a job above the memory that it asked for."""
_LINE_CHARACTERS = 200
_SLURMS_OWN_SIGNAL = 125


def awaits_word(end: JobEnd, status: Status | None) -> bool:
    """Whether a supervisor must have written a last word that cannot be seen yet from here."""
    was_killed = end.signal != 0
    return end.state in _SUPERVISED and not was_killed and (status is None or status.state is not RunState.ENDED)


def judge_end(end: JobEnd, status: Status | None, *, asked: bool, said: str) -> Report:
    """The report of a job that is over. `asked`: we wanted it to end. `said`: the end of the job's own log.

    The machine's meter is Slurm's elapsed time, and the machine went with the job.
    """
    known = _known(end, status)
    if status is not None and status.state is RunState.ENDED and status.stopped is None and status.exit_code == 0:
        return known  # a success is a success, whatever came over its job a moment later
    if end.state in _SUPERVISED:
        return _as_supervised(known, end, status, said)
    return replace(known, **_cause(end, known, asked=asked))


def _cause(end: JobEnd, known: Report, *, asked: bool) -> dict[str, Any]:
    """What Slurm's state says that the supervisor cannot know."""
    if end.state in _TOO_LONG:
        return {"stopped": Stopped.CLUSTER_LIMIT, "failure": "the time limit of its job in Slurm"}
    if end.state == "PREEMPTED":
        return {"stopped": Stopped.HOST, "failure": None}
    if end.state in _CANCELLED:
        somebody = {"stopped": Stopped.OPERATOR, "failure": "somebody cancelled its job in Slurm"}
        return {"stopped": Stopped.ASKED} if asked else somebody
    if end.state == "OUT_OF_MEMORY":
        return {"stopped": None, "out_of_memory": known.out_of_memory or OutOfMemory.HOST}
    where = f"the node {end.node}" if end.node else "its node"
    words = f"Slurm lost {where}" if end.state in _NODE_IS_GONE else "its job in Slurm did not end by itself"
    return {"phase": Phase.VANISHED, "failure": f"{words} ({end.state})"}


def judge_forgotten(status: Status | None) -> Report:
    """Of a job that Slurm no longer knows there is the supervisor's word, or none."""
    if status is None or status.state is not RunState.ENDED:
        words = "Slurm no longer knows its job, and its supervisor has left no last word"
        return replace(_blank(), phase=Phase.VANISHED, failure=words)
    return replace(report_of(status, Phase.ENDED), meter=Meter(from_s=0.0, to_s=status.held_s), machine_gone=True)


def never_started(status: Status | None) -> Report:
    """Forbidden before it began: it never held anything."""
    report = _blank() if status is None else report_of(status, Phase.ENDED)
    stopped = report.stopped or Stopped.ASKED
    return replace(report, stopped=stopped, meter=Meter(from_s=0.0, to_s=0.0), machine_gone=True)


def _as_supervised(known: Report, end: JobEnd, status: Status | None, said: str) -> Report:
    if status is not None and status.state is RunState.ENDED:
        return known
    if _MEMORY_LIMIT.search(said):
        return replace(known, out_of_memory=OutOfMemory.HOST)
    if status is not None:
        return replace(known, phase=Phase.VANISHED)
    last_line = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")[:_LINE_CHARACTERS]
    why = f"exit code {_exit_code(end)}" + (f": {last_line}" if last_line else "")
    words = f"no supervisor came up on {end.node or 'its node'} ({why}); does PYTHIA_SLURM_PYTHON run there?"
    return replace(known, stopped=Stopped.HOST, failure=words)


def _known(end: JobEnd, status: Status | None) -> Report:
    """What was measured, by whomever."""
    report = _blank() if status is None else report_of(status, Phase.ENDED)
    seen = [peak for peak in (report.peak_rss_gib, end.max_rss_gib) if peak is not None]
    return replace(
        report,
        exit_code=_exit_code(end) if report.exit_code is None else report.exit_code,
        signal=_signal(end) if report.exit_code is None else report.signal,
        used_s=end.elapsed_s,
        peak_rss_gib=max(seen, default=None),
        meter=Meter(from_s=0.0, to_s=end.elapsed_s),
        machine_gone=True,
    )


def _blank() -> Report:
    return Report(phase=Phase.ENDED, simulated=False)


def _signal(end: JobEnd) -> int | None:
    # 125 stands for the kernel's kill in want of memory
    return int(SIGKILL) if end.signal == _SLURMS_OWN_SIGNAL else end.signal or None


def _exit_code(end: JobEnd) -> int:
    """As shells count."""
    return end.exit_code if (signal := _signal(end)) is None else 128 + signal
