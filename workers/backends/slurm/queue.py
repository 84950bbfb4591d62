"""What the cluster knows of our jobs: those it holds in one question for all of them, one that is over by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from workers.backends.base import ProviderUnavailable
from workers.backends.slurm.commands import Commands, Refused
from workers.backends.slurm.words import (
    ACCOUNT_FORMAT,
    QUEUE_FORMAT,
    JobEnd,
    QueuedJob,
    SlurmJob,
    read_account,
    read_job,
    read_queue,
)

_KEPT_S = 1.0
"""A thousand running jobs are looked at some hundred times a second; the controller is asked once."""
_SILENCE_KEPT_S = 5.0
"""It takes seconds to see that a controller does not answer: not every look shall wait so long for the same."""
_NO_ACCOUNTING = "accounting storage is disabled"
_SEARCHED = "now-7days"


@dataclass(slots=True)
class Queue:
    """The controller's word, and that of the accounting where there is one."""

    commands: Commands
    clock: Callable[[], float] = time.monotonic
    _jobs: Mapping[str, QueuedJob] = field(default_factory=dict, init=False)
    _asked_at: float = field(default=float("-inf"), init=False)
    _silence: str | None = field(default=None, init=False)
    _has_accounting: bool = field(default=True, init=False)
    """Until the contrary is said."""

    def jobs(self, *, fresh: bool = False) -> Mapping[str, QueuedJob]:
        """Our jobs as the controller has them, those that ended a few minutes ago included."""
        if fresh or self.clock() - self._asked_at >= (_KEPT_S if self._silence is None else _SILENCE_KEPT_S):
            self._ask()
        if self._silence is not None:
            raise ProviderUnavailable(self._silence)
        return self._jobs

    def find(self, job: SlurmJob, *, fresh: bool = False) -> QueuedJob | None:
        """A job that was submitted at any time before this call, as it was a moment ago, or as it is now."""
        for now in (True,) if fresh else (False, True):
            found = self.jobs(fresh=now).get(job.number)
            if found is not None and found.name == job.name:
                return found
        return None

    def named(self, name: str) -> str | None:
        """The number of the job, or of the job array, of a name; None where no such was ever submitted."""
        found = [number for number, job in self.jobs(fresh=True).items() if job.name == name]
        if not found:
            said = self._account("--allocations", f"--name={name}", f"--starttime={_SEARCHED}", "--format=JobID")
            found = said.split()
        # of two that meant the same, the first runs and the second finds its work taken
        return min((number.partition("_")[0] for number in found), key=int, default=None)

    def end_of(self, job: SlurmJob, *, with_memory: bool) -> JobEnd | None:
        """How a job ended; None where nobody remembers it.

        The accounting may lag behind, so it is asked only for what the controller does not know: how much memory was
        used, and jobs that it has forgotten, which it does after some minutes.
        """
        said = self._controller(job)
        if said is not None and not with_memory:
            return said
        words = (f"--jobs={job.number}", f"--name={job.name}", f"--starttime={_SEARCHED}", f"--format={ACCOUNT_FORMAT}")
        try:
            accounted = read_account(self._account(*words))
        except ProviderUnavailable:
            if said is None:
                raise
            return said
        if said is None:
            return accounted
        if accounted is None:
            return replace(said, accounted=not self._has_accounting)
        return replace(said, max_rss_gib=accounted.max_rss_gib)

    def _controller(self, job: SlurmJob) -> JobEnd | None:
        try:
            said = read_job(self.commands.query("scontrol", "--oneliner", "show", "job", job.number))
        except Refused:  # forgotten
            return None
        return said if said is not None and said.name == job.name else None

    def _account(self, *words: str) -> str:
        try:
            return self.commands.query("sacct", "--noheader", "--parsable2", *words)
        except Refused as error:
            if _NO_ACCOUNTING in str(error).casefold():
                self._has_accounting = False
                return ""
            raise ProviderUnavailable(f"sacct: {error}") from None

    def _ask(self) -> None:
        words = ("squeue", "--me", "--noheader", "--array", "--states=all", f"--format={QUEUE_FORMAT}")
        try:
            self._jobs, self._silence = read_queue(self.commands.query(*words)), None
        except Refused as error:
            self._silence = f"squeue: {error}"
        except ProviderUnavailable as error:
            self._silence = str(error)
        self._asked_at = self.clock()
