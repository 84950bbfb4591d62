"""Submit what waits in the spool: one `sbatch` for all attempts that ask for the same, as a job array.

Who may die where, with the spool's lock held throughout:

- before `members.json` is complete: nobody refers to the submission, and it is made again under another set.
- before `job.json`: the submission's name is asked for. Where Slurm has a job of that name it was submitted, else not,
  and it is submitted as it stands. `sbatch` holds the lock for as long as it runs, so that nobody asks too early.
- before the spool is emptied: whoever comes next finds `job.json`.

Were the lock worth nothing, on a file system that has none, two jobs could mean the same attempt: the first to claim it
runs it, the other ends at once (`workers.slurm_job`).
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from workers.backends.base import ProviderUnavailable
from workers.backends.slurm.commands import Refused
from workers.backends.slurm.files import (
    JOB,
    MEMBERS,
    REQUEST,
    Place,
    Request,
    Shared,
    claim,
    read_place,
    read_request,
    write_place,
)
from workers.backends.slurm.queue import Queue
from workers.supervision.files import read_json, write_json
from workers.supervision.order import STATUS
from workers.supervision.status import RunState, Status
from workers.supervision.stopped import Stopped

log = structlog.get_logger(__name__)

_LARGEST_ARRAY = 500
"""Half of what a cluster allows unless its MaxArraySize says otherwise."""
_LOCK, _SCRIPT = "lock", "job.sh"
_SCRIPT_TEXT = """#!/bin/sh
# Runs the words it is given, and nothing else: what a job does travels in files.
exec "$@"
"""
_PACKAGES = Path(__file__).resolve().parents[3]
"""Where `workers` is imported from, here and on the nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Whoever holds a spool's lock submits all of it."""

    shared: Shared
    queue: Queue
    python: Path
    """The interpreter on the cluster's nodes."""
    options: Sequence[str]
    """What the cluster's admin wants in every `sbatch`."""
    window_s: float
    """How long an attempt waits for others to share its job array with."""

    def add(self, attempt_id: str, shape: str) -> None:
        """Put an attempt into the spool."""
        spool = self.shared.spool(shape)
        spool.mkdir(parents=True, exist_ok=True)
        (spool / attempt_id).touch()

    def drop(self, attempt_id: str, shape: str) -> None:
        """Take one out that shall not be submitted any more."""
        (self.shared.spool(shape) / attempt_id).unlink(missing_ok=True)

    def submit_due(self, shape: str) -> None:
        """Submit a spool if the first of it has waited long enough and nobody else is at it."""
        spool = self.shared.spool(shape)
        spool.mkdir(parents=True, exist_ok=True)
        with _locked(spool / _LOCK) as lock:
            if lock is None:
                return
            waiting = self._waiting(spool)
            begun = {place.name for attempt_id in waiting if (place := read_place(self.shared.attempt(attempt_id)))}
            for name in sorted(begun):
                self._complete(spool, name, lock)
            fresh = [attempt_id for attempt_id in self._waiting(spool) if self._is_new(attempt_id)]
            while fresh and self._due(fresh):
                self._submit_new(spool, fresh[:_LARGEST_ARRAY], lock)
                fresh = fresh[_LARGEST_ARRAY:]

    def _waiting(self, spool: Path) -> list[str]:
        """Attempts of a spool; a file whose attempt was not asked for completely is left for whoever asks again."""
        return sorted(
            entry.name
            for entry in spool.iterdir()
            if entry.name != _LOCK and (self.shared.attempt(entry.name) / REQUEST).exists()
        )

    def _is_new(self, attempt_id: str) -> bool:
        place = read_place(self.shared.attempt(attempt_id))
        return place is None or not self.shared.members(place.name)

    def _due(self, fresh: Sequence[str]) -> bool:
        asked = min((self.shared.attempt(attempt_id) / REQUEST).stat().st_mtime for attempt_id in fresh)
        waited = time.time() - asked
        # a clock of the file server that is ahead of ours must not keep it waiting
        return waited >= self.window_s or waited < 0

    def _submit_new(self, spool: Path, attempt_ids: Sequence[str], lock: int) -> None:
        """Write down who belongs together, and submit them."""
        members = [(attempt_id, self._request(attempt_id).key) for attempt_id in attempt_ids]
        first = members[0][1]
        name = first if len(members) == 1 else f"{first}-array"
        folder = self.shared.submission(name)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MEMBERS, {"members": members}, durable=True)
        self._say_places(name, attempt_ids)
        self._submit(spool, name, attempt_ids, lock)

    def _complete(self, spool: Path, name: str, lock: int) -> None:
        """Go on where somebody died; what was submitted is found by its name."""
        attempt_ids = [attempt_id for attempt_id, _ in self.shared.members(name)]
        if not attempt_ids:
            return  # it was refused as an array
        self._say_places(name, attempt_ids)
        if read_json(self.shared.submission(name) / JOB) is None:
            job_id = self.queue.named(name)
            if job_id is None:
                self._submit(spool, name, attempt_ids, lock)
                return
            self._note(name, job_id)
        self._take_out(spool, attempt_ids)

    def _say_places(self, name: str, attempt_ids: Sequence[str]) -> None:
        for index, attempt_id in enumerate(attempt_ids):
            place = Place(name=name, index=None if len(attempt_ids) == 1 else index)
            write_place(self.shared.attempt(attempt_id), place)

    def _submit(self, spool: Path, name: str, attempt_ids: Sequence[str], lock: int) -> None:
        self.queue.jobs()  # `sbatch` waits much longer for a controller that does not answer
        try:
            said = self.queue.commands.submit(self._words(name, attempt_ids), held_open=lock)
        except Refused as error:
            self._refused(spool, name, attempt_ids, str(error), lock)
            return
        job_id = said.strip().partition(";")[0]
        if not job_id.isdigit():
            raise ProviderUnavailable(f"sbatch answered {said.strip()[:80]!r}, which is no job id")
        self._note(name, job_id)
        self._take_out(spool, attempt_ids)
        log.info("submitted to slurm", slurm_job=job_id, attempts=len(attempt_ids), first_attempt_id=attempt_ids[0])

    def _refused(self, spool: Path, name: str, attempt_ids: Sequence[str], reason: str, lock: int) -> None:
        """Of an array each attempt is asked for by itself: a cluster may refuse arrays, or only so many jobs."""
        if len(attempt_ids) > 1:
            (self.shared.submission(name) / MEMBERS).unlink()
            for attempt_id in attempt_ids:
                self._submit_new(spool, [attempt_id], lock)
            return
        (attempt_id,) = attempt_ids
        refuse(self.shared.attempt(attempt_id), f"Slurm refused the job: {reason}")
        self._take_out(spool, attempt_ids)

    def _words(self, name: str, attempt_ids: Sequence[str]) -> list[str]:
        request, folder = self._request(attempt_ids[0]), self.shared.submission(name)
        several = len(attempt_ids) > 1
        words = [
            "sbatch", "--parsable", *self.options,
            f"--job-name={name}", f"--partition={request.partition}",
            f"--nodes={request.nodes}", f"--ntasks={request.nodes}",
            "--no-requeue",  # Pythia places again itself, and elsewhere
            "--export=ALL",  # of the few variables that sbatch itself was given
            f"--chdir={folder}", f"--output={folder}/log.{'%a' if several else '0'}", "--open-mode=append",
        ]  # fmt: skip
        if several:
            words.append(f"--array=0-{len(attempt_ids) - 1}")
        if request.nodes > 1:
            words.append("--ntasks-per-node=1")
        if request.gres is not None:
            words.append(f"--gres={request.gres}")
        if request.cpus is not None:
            words.append(f"--cpus-per-task={request.cpus}")
        if request.time_limit_min is not None:
            words.append(f"--time={request.time_limit_min}")
        # -P: a file of the current directory must not be taken for a module of ours
        run = ["env", f"PYTHONPATH={_PACKAGES}", str(self.python), "-P", "-m", "workers.slurm_job", str(folder)]
        return [*words, str(self._script()), *run]

    def _script(self) -> Path:
        path = self.shared.root / _SCRIPT
        if not path.exists():
            draft = path.with_name(f".{_SCRIPT}.{os.getpid()}")
            draft.write_text(_SCRIPT_TEXT)
            draft.replace(path)
        return path

    def _request(self, attempt_id: str) -> Request:
        request = read_request(self.shared.attempt(attempt_id))
        assert request is not None  # noqa: S101 - only complete requests are taken from the spool
        return request

    def _note(self, name: str, job_id: str) -> None:
        write_json(self.shared.submission(name) / JOB, {"id": job_id}, durable=True)

    def _take_out(self, spool: Path, attempt_ids: Sequence[str]) -> None:
        for attempt_id in attempt_ids:
            (spool / attempt_id).unlink(missing_ok=True)


def refuse(folder: Path, reason: str) -> None:
    """An attempt will never start: say why, unless a job has begun it after all."""
    forbid(folder, stopped=Stopped.HOST, failure=reason)


def forbid(folder: Path, *, stopped: Stopped, failure: str | None = None) -> bool:
    """Keep an attempt from ever starting; False where a job owns it."""
    folder.mkdir(parents=True, exist_ok=True)
    if claim(folder, None) is not None:
        return False
    if not (folder / STATUS).exists():
        Status(state=RunState.ENDED, supervisor=None, heartbeat_at=time.time(), stopped=stopped, failure=failure).write(
            folder
        )
    return True


def this_python() -> Path:
    """Where the cluster's nodes see what the worker sees."""
    return Path(sys.executable)


@contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """The lock's file, held; None where another has it. Who inherits the open file holds it as well."""
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield held
    finally:
        os.close(held)
