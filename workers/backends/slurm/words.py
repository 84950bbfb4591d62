"""What Slurm's programs print, as values.

A job is numbered as `squeue` does it: `12`, or `12_3` for the fourth element of the job array 12. A controller that
came up with an old state gives a number a second time, so a job is known by its number and its name together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

OUR_PREFIX = "pythia-"
WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)
ON_A_NODE = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"})
COMPLETING = "COMPLETING"
"""Its processes are ended, and its node is not free yet."""

QUEUE_FORMAT = "%i|%j|%T|%M"
ACCOUNT_FORMAT = "JobName,State,ExitCode,ElapsedRaw,End,MaxRSS,NodeList"

_TIME = re.compile(r"^(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)$")
_SIZE = re.compile(r"^([\d.]+)([KMGT]?)$")
_KIB = {"": 1 / 1024, "K": 1.0, "M": 1024.0, "G": 1024.0**2, "T": 1024.0**3}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmJob:
    """Which job is meant."""

    number: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedJob:
    """A line of the queue."""

    number: str
    name: str
    state: str
    elapsed_s: float

    @property
    def over(self) -> bool:
        """Whether it holds nothing any more."""
        return self.state not in WAITING | ON_A_NODE | {COMPLETING}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """A job that is over, by Slurm's word. Seconds, GiB, Unix time."""

    name: str
    state: str
    exit_code: int
    signal: int
    elapsed_s: float
    """From its start on its node; 0 for one that never had one."""
    ended_at: float | None
    max_rss_gib: float | None = None
    """Of its largest process, sampled by Slurm."""
    node: str = ""
    accounted: bool = True
    """Whether the accounting, where there is one, had heard of the end."""


def read_queue(text: str) -> dict[str, QueuedJob]:
    """Our jobs among the lines of `squeue`, by number."""
    jobs = {}
    for line in text.splitlines():
        number, _, rest = line.strip().partition("|")
        name, state, elapsed = rest.rsplit("|", 2) if rest.count("|") >= 2 else ("", "", "")
        if name.startswith(OUR_PREFIX):
            jobs[number] = QueuedJob(number=number, name=name, state=state, elapsed_s=seconds(elapsed) or 0.0)
    return jobs


def read_job(text: str) -> JobEnd | None:
    """A job as `scontrol show job --oneliner` tells it; None while it is not over."""
    state = _field(text, "JobState")
    if not state or state in WAITING | ON_A_NODE | {COMPLETING}:
        return None
    exit_code, _, signal = _field(text, "ExitCode").partition(":")
    return JobEnd(
        name=_field(text, "JobName"),
        state=state,
        exit_code=_whole(exit_code),
        signal=_whole(signal),
        elapsed_s=seconds(_field(text, "RunTime")) or 0.0,
        ended_at=float(ended) if (ended := _field(text, "EndTime")).isdigit() else None,
        node=_field(text, "BatchHost"),
    )


def read_account(text: str) -> JobEnd | None:
    """A job as `sacct` tells it, its own line before those of its steps; None where it has none or is not over."""
    lines = [line.split("|") for line in text.splitlines() if line.count("|") == ACCOUNT_FORMAT.count(",")]
    if not lines:
        return None
    name, states, codes, elapsed, ended, _, node = lines[0]
    state = (states.split() or [""])[0]  # "CANCELLED by 1000"
    if not state or state in WAITING | ON_A_NODE | {COMPLETING}:
        return None
    exit_code, _, signal = codes.partition(":")
    return JobEnd(
        name=name,
        state=state,
        exit_code=_whole(exit_code),
        signal=_whole(signal),
        elapsed_s=float(_whole(elapsed)),
        ended_at=float(ended) if ended.isdigit() else None,
        max_rss_gib=max((size for line in lines if (size := _gib(line[5])) is not None), default=None),
        node=node,
    )


def seconds(text: str) -> float | None:
    """A duration such as `1-02:03:04` or `03:04`; None for none of either."""
    found = _TIME.match(text)
    if found is None:
        return None
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + rest)


def _gib(text: str) -> float | None:
    found = _SIZE.match(text)
    return None if found is None else float(found[1]) * _KIB[found[2]] / 1024**2


def _field(text: str, name: str) -> str:
    found = re.search(rf"(?:^|\s){name}=(\S*)", text)
    return found[1] if found else ""


def _whole(text: str) -> int:
    return int(text) if text.isdigit() else 0
