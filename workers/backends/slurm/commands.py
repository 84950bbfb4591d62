"""Call Slurm's own programs: argument lists, a deadline for each, and what their failures mean.

They are spoken to in an environment of our own: what a worker was started with may hold secrets, which `sbatch` would
hand on to jobs, and SBATCH_ or SQUEUE_ variables, which would change what they do.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.backends.base import ProviderUnavailable
from workers.supervision.command import KEPT_VARIABLES

_QUERY_S = 15.0
"""Less than a look's lease, so that whoever waits for a silent controller has let go before the next one comes."""
_SUBMIT_S = 60.0
"""`sbatch` itself tries again while the controller is busy."""
_PASSING = (
    "unable to contact", "timed out", "connect failure", "connection refused", "temporarily", "standby", "munge",
    "authentication error", "zero bytes", "unexpected message", "configuration source", "send/recv", "communication",
    "transport endpoint", "job count",
)  # fmt: skip
"""In the words of a failure that says nothing of what was asked: the same call may succeed later."""


class Refused(Exception):
    """Slurm has understood and said no; the message is its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Slurm's programs as this process's user may call them."""

    environment: Mapping[str, str]

    def query(self, *words: str) -> str:
        """What a program that changes nothing prints; Refused where Slurm knows nothing of what was asked for."""
        return self._call(words, timeout_s=_QUERY_S)

    def submit(self, words: Sequence[str], *, held_open: int) -> str:
        """What `sbatch` prints. It holds on to a file of ours for as long as it runs, though we may not live to see its
        end: a lock on that file then says that a submission is still under way."""
        return self._call(words, timeout_s=_SUBMIT_S, pass_fds=(held_open,))

    def cancel(self, *words: str) -> None:
        """`scancel`; a job that is over already needs no cancelling."""
        try:
            self._call(("scancel", *words), timeout_s=_QUERY_S)
        except Refused as error:
            if "already" not in str(error).casefold() and "invalid job id" not in str(error).casefold():
                raise ProviderUnavailable(f"scancel: {error}") from None

    def _call(self, words: Sequence[str], *, timeout_s: float, pass_fds: Sequence[int] = ()) -> str:
        program = words[0]
        try:
            done = subprocess.run(
                list(words),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                pass_fds=pass_fds,
                check=False,
            )
        except FileNotFoundError:
            raise ProviderUnavailable(f"{program} was not found: install Slurm's commands on this worker") from None
        except subprocess.TimeoutExpired:
            raise ProviderUnavailable(f"{program} had no answer within {timeout_s:.0f} s") from None
        except OSError as error:
            raise ProviderUnavailable(f"{program} could not be called: {error.strerror}") from None
        if done.returncode == 0:
            return done.stdout.decode(errors="replace")
        said = _reason(done.stderr.decode(errors="replace")) or f"exit code {done.returncode}"
        if any(words in said.casefold() for words in _PASSING):
            raise ProviderUnavailable(f"{program}: {said}")
        raise Refused(said)


def environment_for_commands() -> dict[str, str]:
    """A few of the worker's variables, with moments as Unix time."""
    kept = (*KEPT_VARIABLES, "SLURM_CONF")
    return {
        "PATH": os.defpath,
        **{name: os.environ[name] for name in kept if name in os.environ},
        "SLURM_TIME_FORMAT": "%s",
    }


def _reason(said: str) -> str:
    """The last line, without the program's name and without what every refusal begins with."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        return ""
    for prefix in ("error:", "fatal:", "Batch job submission failed:"):
        lines[-1] = lines[-1].rpartition(prefix)[2].strip()
    return lines[-1]
