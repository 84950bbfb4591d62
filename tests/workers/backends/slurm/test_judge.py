"""Slurm's states become our outcomes, with what the supervisor inside the job has seen."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.domain.runtime_limit import RuntimeLimit
from scheduler.domain.states import Outcome
from workers.backends.base import Phase, Report
from workers.backends.slurm.judge import awaits_word, judge_end, judge_forgotten, never_started
from workers.backends.slurm.words import JobEnd
from workers.outcomes import result_of
from workers.supervision.status import RunState, Status
from workers.supervision.stopped import OutOfMemory, Stopped


def end(state: str, **given: Any) -> JobEnd:
    return JobEnd(
        **{
            "name": "a",
            "state": state,
            "exit_code": 0,
            "signal": 0,
            "elapsed_s": 60.0,
            "ended_at": 1.0,
            "node": "n1",
            **given,
        }
    )


def word(state: RunState = RunState.ENDED, **given: Any) -> Status:
    return Status(state=state, supervisor=None, heartbeat_at=0.0, **given)


def outcome(report: Report, *, has_device_memory: bool = True) -> Outcome:
    return result_of(report, cancel_requested=False, has_device_memory=has_device_memory).outcome


RUNNING = word(RunState.RUNNING, runtime_s=58.0, peak_vram_gib=40.0, vram_metric="driver", peak_rss_gib=2.0)


@pytest.mark.parametrize(
    ("slurm", "status", "wanted"),
    [
        (end("COMPLETED"), word(exit_code=0), Outcome.COMPLETED),
        (end("FAILED", exit_code=1), word(exit_code=1), Outcome.FAILED),
        (end("FAILED", exit_code=1), word(exit_code=1, out_of_memory=OutOfMemory.GPU), Outcome.OUT_OF_MEMORY),
        (end("FAILED", exit_code=1), word(exit_code=143, stopped=Stopped.TIMEOUT), Outcome.TIMEOUT),
        (end("FAILED", exit_code=127), None, Outcome.LOST),
        (end("FAILED", signal=9), RUNNING, Outcome.LOST),
        (end("TIMEOUT"), RUNNING, Outcome.TIMEOUT),
        # the batch system's SIGTERM reached the supervisor, which took it for its host's end
        (end("TIMEOUT"), word(exit_code=143, stopped=Stopped.HOST), Outcome.TIMEOUT),
        (end("DEADLINE"), None, Outcome.TIMEOUT),
        (end("PREEMPTED"), RUNNING, Outcome.PREEMPTED),
        (end("PREEMPTED"), word(exit_code=143, stopped=Stopped.HOST), Outcome.PREEMPTED),
        (end("NODE_FAIL"), RUNNING, Outcome.LOST),
        (end("BOOT_FAIL"), None, Outcome.LOST),
        (end("CANCELLED"), RUNNING, Outcome.CANCELLED),
        (end("OUT_OF_MEMORY", exit_code=0, signal=125), RUNNING, Outcome.FAILED),
        (end("OUT_OF_MEMORY"), word(exit_code=1, out_of_memory=OutOfMemory.GPU), Outcome.OUT_OF_MEMORY),
        # the kernel killed one process of several, and the command went on to its end
        (end("OUT_OF_MEMORY"), word(exit_code=0), Outcome.COMPLETED),
        (end("NODE_FAIL"), word(exit_code=0), Outcome.COMPLETED),
        (end("SOMETHING_NEW"), RUNNING, Outcome.LOST),
    ],
)  # fmt: skip
def test_each_state_has_its_outcome(slurm: JobEnd, status: Status | None, wanted: Outcome) -> None:
    report = judge_end(slurm, status, asked=False, said="")
    assert outcome(report) is wanted
    assert report.meter is not None
    assert report.meter.to_s == 60
    assert report.machine_gone


def test_memory_of_the_host_is_what_a_job_on_the_cpu_ran_out_of() -> None:
    assert outcome(judge_end(end("OUT_OF_MEMORY"), None, asked=False, said=""), has_device_memory=False) is (
        Outcome.OUT_OF_MEMORY
    )


@pytest.mark.parametrize(
    "said",
    [
        "slurmstepd: error: Exceeded job memory limit",
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.batch cgroup.\nmore",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.",
    ],
)
def test_a_supervisor_that_was_killed_for_memory_is_known_by_what_slurm_said(said: str) -> None:
    report = judge_end(end("FAILED", signal=9, max_rss_gib=3.0), RUNNING, asked=False, said=said)
    assert report.out_of_memory is OutOfMemory.HOST
    assert (report.exit_code, report.signal, report.peak_rss_gib, report.peak_vram_gib) == (137, 9, 3.0, 40.0)


def test_a_cancellation_that_we_asked_for_is_ours() -> None:
    asked = judge_end(end("CANCELLED"), RUNNING, asked=True, said="")
    assert result_of(asked, cancel_requested=True, has_device_memory=True).outcome is Outcome.CANCELLED
    by_others = judge_end(end("CANCELLED"), RUNNING, asked=False, said="")
    assert by_others.failure == "somebody cancelled its job in Slurm"


def test_slurms_own_time_limit_is_not_taken_for_the_users() -> None:
    limit = RuntimeLimit(seconds=3600, words="max_runtime_s")
    report = judge_end(end("TIMEOUT"), RUNNING, asked=False, said="")
    result = result_of(report, cancel_requested=False, has_device_memory=True, limit=limit)
    assert result.reason == "the time limit of its job in Slurm"


def test_a_last_word_is_waited_for_where_there_must_be_one() -> None:
    assert awaits_word(end("COMPLETED"), RUNNING)
    assert awaits_word(end("FAILED", exit_code=127), None)
    assert not awaits_word(end("FAILED", signal=9), RUNNING)
    assert not awaits_word(end("NODE_FAIL"), RUNNING)
    assert not awaits_word(end("COMPLETED"), word(exit_code=0))


def test_what_slurm_has_forgotten_is_as_its_supervisor_said() -> None:
    told = judge_forgotten(word(exit_code=0, held_s=12.5))
    assert outcome(told) is Outcome.COMPLETED
    assert told.meter is not None
    assert told.meter.to_s == 12.5
    assert judge_forgotten(RUNNING).phase is Phase.VANISHED
    assert judge_forgotten(None).phase is Phase.VANISHED


def test_what_never_started_costs_nothing() -> None:
    report = never_started(None)
    assert report.meter is not None
    assert report.meter.to_s == 0
    assert report.stopped is Stopped.ASKED
