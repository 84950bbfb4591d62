"""The name of an end, for every way of ending."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.runtime_limit import RuntimeLimit
from scheduler.domain.states import Outcome
from workers.backends.base import Phase, Report
from workers.outcomes import result_of
from workers.supervision.stopped import OutOfMemory, Stopped


def report(**facts: Any) -> Report:
    return Report(**{"phase": Phase.ENDED, "simulated": False, **facts})


@pytest.mark.parametrize(
    ("facts", "cancel_requested", "outcome", "reason"),
    [
        ({"exit_code": 0}, False, Outcome.COMPLETED, None),
        ({"exit_code": 0}, True, Outcome.COMPLETED, None),
        ({"exit_code": 2}, False, Outcome.FAILED, "exit code 2"),
        ({"exit_code": 2}, True, Outcome.FAILED, "exit code 2"),
        ({"exit_code": 134, "signal": 6}, False, Outcome.FAILED, "ended by SIGABRT"),
        ({"exit_code": 127, "failure": "no such program"}, False, Outcome.FAILED, "no such program"),
        ({"exit_code": 143, "signal": 15, "stopped": Stopped.ASKED}, True, Outcome.CANCELLED, None),
        ({"exit_code": 0, "stopped": Stopped.ASKED}, True, Outcome.CANCELLED, None),
        ({"stopped": Stopped.ASKED}, False, Outcome.LOST, "it was taken for lost before it could start"),
        ({"exit_code": 143, "stopped": Stopped.TIMEOUT}, False, Outcome.TIMEOUT, None),
        ({"stopped": Stopped.CLUSTER_LIMIT, "failure": "Slurm's limit"}, False, Outcome.TIMEOUT, "Slurm's limit"),
        ({"stopped": Stopped.OPERATOR, "failure": "by an admin"}, False, Outcome.CANCELLED, "by an admin"),
        ({"exit_code": 143, "stopped": Stopped.HOST}, False, Outcome.PREEMPTED, "its host is going down"),
        ({"stopped": Stopped.HOST, "failure": "no GPU is free"}, False, Outcome.LOST, "no GPU is free"),
        (
            {"exit_code": 1, "out_of_memory": OutOfMemory.GPU}, False,
            Outcome.OUT_OF_MEMORY, "CUDA out of memory, exit code 1",
        ),
        (
            {"exit_code": 137, "signal": 9, "out_of_memory": OutOfMemory.HOST}, False,
            Outcome.FAILED, "the host's memory ran out, ended by SIGKILL",
        ),
        ({"phase": Phase.VANISHED}, False, Outcome.LOST, "the process that watched the command is gone"),
        ({"phase": Phase.VANISHED, "exit_code": 0}, True, Outcome.LOST, "the process that watched the command is gone"),
    ],
)  # fmt: skip
def test_every_end_has_its_name(
    facts: dict[str, Any], cancel_requested: bool, outcome: Outcome, reason: str | None
) -> None:
    result = result_of(report(**facts), cancel_requested=cancel_requested, has_device_memory=True)
    assert (result.outcome, result.reason) == (outcome, reason)


def test_outputs_that_were_not_kept_are_said_and_change_no_outcome() -> None:
    lost = "not all outputs were kept"
    done = result_of(report(exit_code=0, failure=lost), cancel_requested=False, has_device_memory=True)
    assert (done.outcome, done.reason) == (Outcome.COMPLETED, lost)
    late = report(exit_code=143, stopped=Stopped.TIMEOUT, failure=lost)
    limit = RuntimeLimit(seconds=5.0, words="it ran longer than 5 s")
    over = result_of(late, cancel_requested=False, has_device_memory=True, limit=limit)
    assert (over.outcome, over.reason) == (Outcome.TIMEOUT, "it ran longer than 5 s; not all outputs were kept")


def test_without_device_memory_the_hosts_memory_is_what_ran_out() -> None:
    facts = report(exit_code=137, signal=9, out_of_memory=OutOfMemory.HOST)
    assert result_of(facts, cancel_requested=False, has_device_memory=False).outcome is Outcome.OUT_OF_MEMORY


@given(
    facts=st.fixed_dictionaries(
        {
            "phase": st.sampled_from([Phase.ENDED, Phase.VANISHED]),
            "exit_code": st.sampled_from([0, 1, 137]) | st.none(),
            "stopped": st.none() | st.sampled_from(Stopped),
            "out_of_memory": st.none() | st.sampled_from(OutOfMemory),
            "failure": st.none() | st.just("why"),
            "simulated": st.booleans(),
        }
    ),
    cancel=st.booleans(),
    device=st.booleans(),
)
def test_only_a_command_that_ended_well_by_itself_is_completed(
    facts: dict[str, Any], cancel: bool, device: bool
) -> None:
    result = result_of(Report(**facts), cancel_requested=cancel, has_device_memory=device)
    by_itself = facts["phase"] is Phase.ENDED and facts["stopped"] is None and facts["out_of_memory"] is None
    if result.outcome is Outcome.COMPLETED:
        assert facts["exit_code"] == 0
        assert facts["stopped"] in (None, Stopped.OUT_OF_MEMORY)
    if by_itself and facts["exit_code"] == 0:
        assert result.outcome is Outcome.COMPLETED
    assert result.simulated == facts["simulated"]
