"""The table of legal moves: every job can end, and nothing that ended moves again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.settlement import settle
from scheduler.domain.states import (
    ATTEMPT_MOVES,
    FINAL_JOB_STATES,
    JOB_MOVES,
    RETRIED,
    AttemptState,
    JobState,
    Outcome,
    can_move,
    states_before,
)

LIVE = (JobState.PLACED, JobState.STARTING, JobState.RUNNING, JobState.CANCELLING)


@given(st.lists(st.sampled_from(JobState), max_size=30))
def test_a_walk_of_legal_moves_never_leaves_a_final_state(wishes: list[JobState]) -> None:
    state = JobState.QUEUED
    for wanted in wishes:
        if not can_move(state, wanted):
            continue
        assert state not in FINAL_JOB_STATES
        state = wanted


def test_every_state_has_a_row_and_every_job_can_end() -> None:
    assert set(JOB_MOVES) == set(JobState)
    for state in set(JobState) - FINAL_JOB_STATES:
        reached, frontier = set[JobState](), {state}
        while frontier:
            reached |= frontier
            frontier = set().union(*(JOB_MOVES[one] for one in frontier)) - reached
        assert reached & FINAL_JOB_STATES


def test_an_attempt_only_goes_forward() -> None:
    order = list(AttemptState)
    for state in AttemptState:
        assert all(order.index(wanted) > order.index(state) for wanted in ATTEMPT_MOVES[state])
    assert set(states_before(AttemptState.ENDED)) == set(AttemptState) - {AttemptState.ENDED}


@given(
    outcome=st.sampled_from(Outcome),
    cancel_requested=st.booleans(),
    attempts_made=st.integers(1, 5),
    max_attempts=st.integers(1, 5),
    spent=st.integers(0, 10**7),
    budget=st.one_of(st.none(), st.integers(1, 10**7)),
)
def test_every_outcome_moves_the_job_somewhere_legal(
    outcome: Outcome, cancel_requested: bool, attempts_made: int, max_attempts: int, spent: int, budget: int | None
) -> None:
    settled = settle(
        outcome, None, cancel_requested=cancel_requested, attempts_made=attempts_made, max_attempts=max_attempts,
        spent_micros=spent, max_cost_micros=budget,
    )  # fmt: skip
    # a placed job whose attempt ran must have gone through starting; what was never started can be cancelled
    states = [JobState.CANCELLING] if cancel_requested else [JobState.STARTING, JobState.RUNNING]
    assert all(can_move(state, settled.job_state) for state in states)
    if settled.job_state is JobState.QUEUED:
        assert outcome in RETRIED
        assert not cancel_requested
        assert attempts_made < max_attempts
        assert budget is None or spent < budget
    assert (settled.reason is None) == (settled.job_state is JobState.COMPLETED)


@pytest.mark.parametrize("outcome", sorted(RETRIED))
def test_memory_preemption_and_loss_are_tried_again(outcome: Outcome) -> None:
    settled = settle(
        outcome, None, cancel_requested=False, attempts_made=1, max_attempts=3, spent_micros=0, max_cost_micros=None
    )
    assert settled.job_state is JobState.QUEUED


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMEOUT])
def test_a_failing_command_and_a_timeout_are_not(outcome: Outcome) -> None:
    settled = settle(
        outcome, "why", cancel_requested=False, attempts_made=1, max_attempts=3, spent_micros=0, max_cost_micros=None
    )
    assert settled.job_state is JobState.FAILED
    assert settled.reason is not None
    assert settled.reason.endswith("why")
