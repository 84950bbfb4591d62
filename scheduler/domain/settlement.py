"""What an ended attempt means for its job, and what its use of a machine costs."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.domain.money import billed_seconds, cost_micros, format_usd
from scheduler.domain.states import RETRIED, JobState, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a provider charges for one use."""

    billed_s: int
    cost_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Where a job goes when one of its attempts has ended."""

    job_state: JobState
    reason: str | None


def bill(used_s: float, *, gpu_count: int, micros_per_gpu_hour: int, billing_increment_s: int, minimum_s: int) -> Bill:
    """Close the billing of one use at the price that was frozen when it was placed."""
    seconds = billed_seconds(used_s, increment_s=billing_increment_s, minimum_s=minimum_s)
    return Bill(billed_s=seconds, cost_micros=cost_micros(micros_per_gpu_hour, gpu_count, seconds))


def settle(
    outcome: Outcome,
    reason: str | None,
    *,
    cancel_requested: bool,
    attempts_made: int,
    max_attempts: int,
    spent_micros: int,
    max_cost_micros: int | None,
) -> Settlement:
    """Decide what becomes of the job. `spent_micros` includes the attempt that has just ended."""
    if outcome is Outcome.COMPLETED:
        return Settlement(job_state=JobState.COMPLETED, reason=None)
    why = _WORDS[outcome] + (f": {reason}" if reason else "")
    if cancel_requested and outcome is not Outcome.FAILED:
        return Settlement(job_state=JobState.CANCELLED, reason="cancelled by its user")
    if outcome not in RETRIED:
        return Settlement(job_state=JobState.FAILED, reason=why)
    if attempts_made >= max_attempts:
        return Settlement(job_state=JobState.FAILED, reason=f"{why}; attempt {attempts_made} of {max_attempts}")
    if max_cost_micros is not None and spent_micros >= max_cost_micros:
        spent, budget = format_usd(spent_micros), format_usd(max_cost_micros)
        return Settlement(job_state=JobState.FAILED, reason=f"{why}; ${spent} of the budget of ${budget} is spent")
    return Settlement(job_state=JobState.QUEUED, reason=f"{why}; to be placed again")


_WORDS: dict[Outcome, str] = {
    Outcome.FAILED: "the command failed",
    Outcome.OUT_OF_MEMORY: "ran out of memory",
    Outcome.TIMEOUT: "ran longer than it may",
    Outcome.CANCELLED: "was stopped, though its user did not ask for it",
    Outcome.PREEMPTED: "its machine was taken away by the provider",
    Outcome.LOST: "was lost with its machine or its worker",
}
