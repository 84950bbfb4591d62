"""The states of jobs and attempts, and the moves between them that are legal."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands, as its user sees it."""

    QUEUED = "queued"
    PLACED = "placed"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INFEASIBLE = "infeasible"


class AttemptState(StrEnum):
    """Where one try stands; an ended attempt has exactly one outcome."""

    RESERVED = "reserved"
    CLAIMED = "claimed"
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    LOST = "lost"


class DecisionKind(StrEnum):
    """What was decided for a job."""

    PLACEMENT = "placement"
    WAIT = "wait"
    REFUSAL = "refusal"


FINAL_JOB_STATES = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.INFEASIBLE})

JOB_MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.PLACED, JobState.INFEASIBLE, JobState.CANCELLED, JobState.FAILED}),
    # back to the queue when an attempt ends without having run to its end and may be tried again
    JobState.PLACED: frozenset(
        {JobState.STARTING, JobState.QUEUED, JobState.CANCELLING, JobState.CANCELLED, JobState.FAILED}
    ),
    JobState.STARTING: frozenset(
        {JobState.RUNNING, JobState.QUEUED, JobState.CANCELLING, JobState.COMPLETED, JobState.FAILED}
    ),
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.CANCELLING, JobState.COMPLETED, JobState.FAILED}),
    # a job may finish by itself while it is being stopped
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.COMPLETED, JobState.FAILED}),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.INFEASIBLE: frozenset(),
}

ATTEMPT_MOVES: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.RESERVED: frozenset({AttemptState.CLAIMED, AttemptState.ENDED}),
    AttemptState.CLAIMED: frozenset({AttemptState.STARTING, AttemptState.ENDED}),
    AttemptState.STARTING: frozenset({AttemptState.RUNNING, AttemptState.ENDED}),
    AttemptState.RUNNING: frozenset({AttemptState.ENDED}),
    AttemptState.ENDED: frozenset(),
}

RETRIED = frozenset({Outcome.OUT_OF_MEMORY, Outcome.PREEMPTED, Outcome.LOST})
"""Outcomes after which a job is placed again, while attempts and budget last; a failing command is not tried again."""


def can_move(current: JobState, wanted: JobState) -> bool:
    """Whether a job may go from one state to the other."""
    return wanted in JOB_MOVES[current]


def states_before(wanted: AttemptState) -> tuple[AttemptState, ...]:
    """The states from which an attempt may go to the wanted one."""
    return tuple(state for state, moves in ATTEMPT_MOVES.items() if wanted in moves)
