"""What is asked of the cluster, how often, and who is believed; Slurm itself is a table of answers here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from workers.backends.base import ProviderUnavailable
from workers.backends.slurm.commands import Refused
from workers.backends.slurm.queue import Queue
from workers.backends.slurm.words import SlurmJob

_ENDED = "JobName={name} JobState=COMPLETED ExitCode=0:0 RunTime=00:00:05 EndTime=100 BatchHost=n1"


@dataclass
class Answers:
    """Programs and what they say; an exception is raised."""

    said: dict[str, str | Exception]
    asked: list[str] = field(default_factory=list)

    def query(self, *words: str) -> str:
        self.asked.append(words[0])
        answer = self.said[words[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def queue_of(**said: str | Exception) -> tuple[Queue, Answers, list[float]]:
    now, answers = [0.0], Answers(said=said)
    return Queue(cast("Any", answers), clock=lambda: now[0]), answers, now


JOB = SlurmJob(number="7", name="pythia-a")


def test_many_looks_within_a_second_ask_once() -> None:
    queue, answers, now = queue_of(squeue="7|pythia-a|RUNNING|0:05")
    for _ in range(100):
        assert queue.find(JOB) is not None
    assert len(answers.asked) == 1
    now[0] = 1.5
    queue.find(JOB)
    assert len(answers.asked) == 2


def test_a_silent_controller_is_not_waited_for_by_every_look() -> None:
    queue, answers, now = queue_of(squeue=ProviderUnavailable("squeue: no answer"))
    for _ in range(3):
        with pytest.raises(ProviderUnavailable, match="no answer"):
            queue.jobs()
    assert len(answers.asked) == 1
    answers.said["squeue"] = ""
    now[0] = 6.0
    assert queue.jobs() == {}


def test_a_number_that_was_given_twice_is_not_the_same_job() -> None:
    """A controller killed before it saved its state numbers the next job as it did the last one."""
    queue, answers, _ = queue_of(
        squeue="7|pythia-other|RUNNING|0:05", scontrol=_ENDED.format(name="pythia-other"), sacct=""
    )
    assert queue.find(JOB) is None
    assert queue.end_of(JOB, with_memory=False) is None
    answers.said["scontrol"] = _ENDED.format(name="pythia-a")
    assert queue.end_of(JOB, with_memory=False) is not None


def test_the_controllers_word_does_without_the_accounting() -> None:
    queue, _, _ = queue_of(scontrol=_ENDED.format(name="pythia-a"), sacct=ProviderUnavailable("sacct: refused"))
    end = queue.end_of(JOB, with_memory=True)
    assert end is not None
    assert end.elapsed_s == 5


def test_nobody_is_gone_for_good_while_the_accounting_is_silent() -> None:
    queue, _, _ = queue_of(
        squeue="", scontrol=Refused("Invalid job id specified"), sacct=ProviderUnavailable("sacct: refused")
    )
    with pytest.raises(ProviderUnavailable):
        queue.end_of(JOB, with_memory=False)
    with pytest.raises(ProviderUnavailable):
        queue.named("pythia-a")


def test_a_cluster_without_accounting_is_asked_no_more_than_it_knows() -> None:
    queue, _, _ = queue_of(
        squeue="", scontrol=_ENDED.format(name="pythia-a"), sacct=Refused("Slurm accounting storage is disabled")
    )
    end = queue.end_of(JOB, with_memory=True)
    assert end is not None
    assert end.accounted
    assert queue.named("pythia-b") is None


def test_memory_that_the_accounting_has_not_heard_of_yet_is_said_to_be_on_its_way() -> None:
    queue, answers, _ = queue_of(scontrol=_ENDED.format(name="pythia-a"), sacct="")
    end = queue.end_of(JOB, with_memory=True)
    assert end is not None
    assert not end.accounted
    answers.said["sacct"] = "pythia-a|COMPLETED|0:0|5|100||n1\nbatch|COMPLETED|0:0|5|100|1.00G|n1\n"
    end = queue.end_of(JOB, with_memory=True)
    assert end is not None
    assert (end.accounted, end.max_rss_gib) == (True, 1.0)


def test_the_first_of_two_jobs_of_a_name_is_meant() -> None:
    queue, _, _ = queue_of(squeue="12_0|pythia-a|PENDING|0:00\n9_0|pythia-a|RUNNING|0:03")
    assert queue.named("pythia-a") == "9"
