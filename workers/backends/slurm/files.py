"""What workers, and the jobs on the cluster's nodes, tell each other through a directory that all of them see.

    attempts/ID/       an attempt as a supervisor wants it (`workers.supervision.order`), and besides
        given            where it is given secrets or files: its supervisor asks for them (`sealed`)
        asks.json        the supervisor's question, and sealed.json the answer, for the moment that it takes
        request.json     what is asked of Slurm for it
        nodes/K/         on several nodes: the command on one of them, as a supervisor there wants it (`gang`)
        submission.json  the submission that carries it, and its place in that
        owner.json       the one Slurm job that may run it, or that none may
    submissions/NAME/  what one `sbatch` submits: a job, or a job array of several attempts, named NAME in Slurm
        members.json     the attempts, in order
        job.json         the id that Slurm gave it
        log.N            what Slurm itself, or a supervisor that could not start, had to say
    machines/KEY       the attempt that a machine's key stands for, or that it was given back
    spool/SHAPE/ID     attempts that wait to be submitted, those that ask for the same together

A file that must have one writer is linked into place: unlike locks, that holds on every shared file system.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workers.backends.slurm.words import SlurmJob
from workers.supervision.files import read_json, write_json
from workers.supervision.order import STOP
from workers.supervision.watch import HARD

REQUEST, SUBMISSION, OWNER, MEMBERS, JOB = (
    "request.json", "submission.json", "owner.json", "members.json", "job.json"
)  # fmt: skip
GIVEN, ASKS, SEALED = "given", "asks.json", "sealed.json"
NODES = "nodes"
KEPT_S = 7 * 86400.0
"""How long what belongs to ended attempts is kept."""
_LOG_END_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of Slurm for one attempt."""

    key: str
    partition: str
    gres: str | None
    """Such as gpu:a100:2, on each node; None on a partition's processors alone."""
    cpus: int | None
    time_limit_min: int | None
    nodes: int = 1

    @property
    def shape(self) -> str:
        """Equal for requests that one job array can carry."""
        several = [self.nodes] if self.nodes > 1 else []
        same = json.dumps([self.partition, self.gres, self.cpus, self.time_limit_min, *several])
        return hashlib.sha256(same.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an attempt is among what was submitted."""

    name: str
    index: int | None
    """In a job array; None for a job of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The directory."""

    root: Path

    def attempt(self, attempt_id: str) -> Path:
        return self.root / "attempts" / attempt_id

    def submission(self, name: str) -> Path:
        return self.root / "submissions" / name

    def spool(self, shape: str) -> Path:
        return self.root / "spool" / shape

    def bind(self, key: str, attempt_id: str | None) -> str | None:
        """Let a machine's key stand for an attempt, or for none for ever; whichever came first is given."""
        said = write_once(self.root / "machines" / key, {"attempt_id": attempt_id})
        return None if said["attempt_id"] is None else str(said["attempt_id"])

    def members(self, name: str) -> list[tuple[str, str]]:
        """Attempts of a submission with their machines' keys, in order; none where it is not known."""
        body = read_json(self.submission(name) / MEMBERS)
        return [] if body is None else [(str(attempt_id), str(key)) for attempt_id, key in body["members"]]

    def job_of(self, folder: Path) -> SlurmJob | None:
        """The Slurm job of an attempt as far as it was written down; None where it was not."""
        place = read_place(folder)
        if place is None:
            return None
        owner = read_json(folder / OWNER)
        if owner is not None and owner["job"] is not None:
            return SlurmJob(number=str(owner["job"]), name=place.name)
        given = read_json(self.submission(place.name) / JOB)
        if given is None:
            return None
        return SlurmJob(number=numbered_in_slurm(str(given["id"]), place.index), name=place.name)

    def log_of(self, job: SlurmJob) -> str:
        """The end of what a job printed itself, outside of its command's streams; empty for nothing."""
        log = self.submission(job.name) / f"log.{job.number.partition('_')[2] or '0'}"
        try:
            return log.read_bytes()[-_LOG_END_BYTES:].decode(errors="replace")
        except OSError:
            return ""


def numbered_in_slurm(job_id: str, index: int | None) -> str:
    """A job, or an element of a job array."""
    return job_id if index is None else f"{job_id}_{index}"


def write_request(folder: Path, request: Request) -> None:
    """Ask for an attempt to be submitted: from here on it will be."""
    body = asdict(request)
    if request.nodes == 1:
        del body["nodes"]  # workers of an earlier version, which look after the same attempts, do not know it
    write_json(folder / REQUEST, body, durable=True)


def read_request(folder: Path) -> Request | None:
    """What was asked for an attempt; None where nothing was."""
    body = read_json(folder / REQUEST)
    return None if body is None else Request(**body)


def write_place(folder: Path, place: Place) -> None:
    """Say which submission carries an attempt."""
    write_json(folder / SUBMISSION, asdict(place), durable=True)


def read_place(folder: Path) -> Place | None:
    """Which submission carries an attempt; None before there is one."""
    body = read_json(folder / SUBMISSION)
    return None if body is None else Place(**body)


def claim(folder: Path, job: str | None) -> str | None:
    """Let a Slurm job own an attempt, or none (and it never starts), for ever; the owner is given."""
    said = write_once(folder / OWNER, {"job": job})
    return None if said["job"] is None else str(said["job"])


def write_once(path: Path, body: dict[str, Any]) -> dict[str, Any]:
    """Write a file unless there is one, complete from the first moment; what it holds is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4()}")
    write_json(draft, body, durable=True)
    try:
        # a link that the server made, and whose answer was lost, fails when it is asked for again
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    said = read_json(path)
    assert said is not None  # noqa: S101 - it is there, and nobody takes it away while its attempt lives
    return said


def leave_word(folder: Path, word: str) -> float:
    """Write what a supervisor looks for, unless more was said already; seconds since it was first asked for."""
    path = folder / STOP
    try:
        said, asked_at = path.read_text(), path.stat().st_mtime
    except FileNotFoundError:
        said, asked_at = "", time.time()
    if said not in (word, HARD):
        draft = folder / f".{STOP}"
        draft.write_text(word)
        draft.replace(path)
    return time.time() - asked_at


def refresh(folder: Path) -> None:
    """Make a client of a network file system look whether others have put files into a directory."""
    with suppress(OSError):
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))


def entries(directory: Path) -> list[Path]:
    """What is in a directory, nothing where there is none."""
    return sorted(directory.iterdir()) if directory.is_dir() else []


def forget_submissions(shared: Shared, *, now: float) -> None:
    """Drop old submissions of which no attempt is left, with the keys of their machines."""
    for folder in entries(shared.root / "submissions"):
        with suppress(FileNotFoundError):
            members = shared.members(folder.name)
            if now - folder.stat().st_mtime < KEPT_S or any(shared.attempt(one).exists() for one, _ in members):
                continue
            for _, key in members:
                (shared.root / "machines" / key).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
