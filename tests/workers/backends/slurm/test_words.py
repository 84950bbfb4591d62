"""What Slurm's programs print, recorded from 22.05, read as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.backends.slurm.words import read_account, read_job, read_queue, seconds

_JOB = (
    "JobId=2 ArrayJobId=1 ArrayTaskId=0 JobName=pythia-a-array UserId=root(0) Nice=0 JobState={state} Reason=None "
    "Dependency=(null) ExitCode=3:0 RunTime={run} TimeLimit=02:00:00 StartTime=1795975900 EndTime=1795975937 "
    "NodeList=n1 BatchHost=n1 Command=/shared/job.sh env PYTHONPATH=/x JobState=FAILED"
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("0:00", 0), ("01:02", 62), ("1:00:00", 3600), ("2-03:04:05", 183845), ("INVALID", None), ("", None)],
)
def test_durations_are_read_as_slurm_writes_them(text: str, wanted: float | None) -> None:
    assert seconds(text) == wanted


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_every_duration_is_the_sum_of_its_parts(days: int, hours: int, minutes: int, rest: int) -> None:
    text = f"{days}-{hours:02}:{minutes:02}:{rest:02}"
    assert seconds(text) == ((days * 24 + hours) * 60 + minutes) * 60 + rest


def test_of_a_queue_only_our_jobs_are_read_whatever_others_are_called() -> None:
    lines = "7|my|odd|name|RUNNING|1:00\n8_3|pythia-a-array|PENDING|0:00\n9|pythia-b|COMPLETED|1-00:00:01\n\ngarbage"
    jobs = read_queue(lines)
    assert {(job.number, job.name, job.over) for job in jobs.values()} == {
        ("8_3", "pythia-a-array", False),
        ("9", "pythia-b", True),
    }
    assert jobs["9"].elapsed_s == 86401


def test_a_job_that_is_over_is_read_from_the_controller() -> None:
    end = read_job(_JOB.format(state="COMPLETED", run="00:00:37"))
    assert end is not None
    assert (end.name, end.state, end.exit_code, end.elapsed_s) == ("pythia-a-array", "COMPLETED", 3, 37)
    assert (end.ended_at, end.node) == (1795975937, "n1")


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED"])
def test_a_job_that_is_not_over_has_no_end(state: str) -> None:
    assert read_job(_JOB.format(state=state, run="00:00:37")) is None
    assert read_account(f"pythia-a|{state}|0:0|37|Unknown||n1\n") is None


def test_the_accounting_gives_the_memory_of_the_largest_step() -> None:
    end = read_account(
        "pythia-a|CANCELLED by 1000|0:15|12|1795975937||n1\nbatch|CANCELLED|0:15|12|1795975937|3260K|n1\n"
        "bash|COMPLETED|0:0|2|1795975937|1.50G|n1\n"
    )
    assert end is not None
    assert (end.state, end.signal, end.elapsed_s, end.max_rss_gib) == ("CANCELLED", 15, 12, 1.5)


def test_an_empty_answer_is_no_end() -> None:
    assert read_account("") is None
    assert read_job("") is None
