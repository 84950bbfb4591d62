"""Attempts as jobs of a Slurm cluster, one job or one element of a job array each.

Any worker of any host acts for any attempt, as the Unix user whom all of them run as: what is known is in Slurm and in
the shared directory. Time in Slurm's queue is time in `starting`, and costs nothing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from scheduler.domain.attempt import AttemptWork, LogChunk
from scheduler.domain.machines import Machine
from scheduler.domain.sharing import preallocates
from workers.backends.base import Handle, MachinePhase, MachineReport, Phase, ProviderUnavailable, Report, StartFailed
from workers.backends.folders import KEPT_S, clear_scratch, collect_output, prepare
from workers.backends.handed_over import HandedOver
from workers.backends.local import GRACE_S, basic_order
from workers.backends.slurm import sealed
from workers.backends.slurm.commands import Commands, environment_for_commands
from workers.backends.slurm.files import (
    GIVEN,
    NODES,
    OWNER,
    REQUEST,
    Shared,
    entries,
    forget_submissions,
    leave_word,
    read_request,
    refresh,
    write_request,
)
from workers.backends.slurm.judge import awaits_word, judge_end, judge_forgotten, never_started
from workers.backends.slurm.live import by_heartbeat, look_at
from workers.backends.slurm.queue import Queue
from workers.backends.slurm.request import request_of
from workers.backends.slurm.submission import Submitter, forbid, this_python
from workers.backends.slurm.words import COMPLETING, WAITING, QueuedJob, SlurmJob
from workers.backends.supervised import nothing
from workers.supervision.files import read_json
from workers.supervision.order import STOP
from workers.supervision.status import RunState, Status, read_status
from workers.supervision.stopped import Stopped
from workers.supervision.watch import GRACEFUL, HARD

_PATIENCE_WITH_SUPERVISOR_S = 30.0
"""A supervisor that was asked to end its command, and has not for this long beyond its grace, is ended by Slurm."""
_ENDING_LOOKS, _BETWEEN_LOOKS_S = 15, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Slurm:
    """One cluster, as one Unix user."""

    shared: Shared
    queue: Queue
    submitter: Submitter
    log_cap_bytes: int
    settle_s: float
    """How long after its job's end a supervisor's last word may be on its way through the shared file system, and
    Slurm's word on its memory on its way into the accounting."""
    hand_over: Callable[[AttemptWork], HandedOver] = nothing
    """What an attempt is given beside its command: secrets and files."""
    host_bound: bool = False
    simulated: bool = False

    @property
    def account(self) -> str:
        """Whoever sees the directory sees its machines."""
        return f"slurm:{self.shared.root}"

    @property
    def hands_over(self) -> bool:
        """Whether anything is."""
        return self.hand_over is not nothing

    def provision(self, machine: Machine) -> MachineReport:
        """The job is the machine: it comes with the start."""
        return MachineReport(key=machine.key, phase=MachinePhase.READY, metered_s=None)

    def start(self, work: AttemptWork) -> Handle:
        """Ask for a job unless that was done before; it is submitted now or, with others like it, a moment later.

        One that was, and whose supervisor asks for what it is given, is answered.
        """
        handle, folder = self.locate(work.attempt_id), self._folder(work.attempt_id)
        if (folder / OWNER).exists() or (folder / REQUEST).exists():
            if (folder / GIVEN).exists() and self.poll(handle).phase is Phase.ASKS:
                self._answer(work, folder)
            return handle
        order = replace(
            basic_order(work, log_cap_bytes=self.log_cap_bytes),
            gpu_count=work.gpu_count if work.usable_vram_gib is not None else 0,
            gpu_usable_gib=work.usable_vram_gib,
            preallocates=preallocates(work.spec.workload) if work.usable_vram_gib is not None else False,
        )
        request = request_of(work)
        attempt_id = str(work.attempt_id)
        if self.shared.bind(request.key, attempt_id) != attempt_id:
            raise StartFailed("its machine was given back before it started")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handed = self.hand_over(work)  # what cannot be opened now shall not wait in Slurm's queue to be found out
        if handed.plan is not None:
            handed.plan.write(folder)
        if handed.sent() is not None:
            (folder / GIVEN).touch()
        prepare(folder, order)
        self.submitter.add(attempt_id, request.shape)
        write_request(folder, request)
        self.submitter.submit_due(request.shape)
        return handle

    def _answer(self, work: AttemptWork, folder: Path) -> None:
        key = sealed.asking_key(folder)
        if key is not None:
            sealed.answer(folder, key, self.hand_over(work).sent() or b"{}")

    def locate(self, attempt_id: UUID) -> Handle:
        """A directory follows from the attempt's id."""
        return {"folder": str(self._folder(attempt_id))}

    def poll(self, handle: Handle) -> Report:
        """Slurm's word, with the supervisor's; the latter alone while the controller does not answer."""
        folder = Path(handle["folder"])
        refresh(folder)
        status = read_status(folder)
        try:
            return self._look(folder, status)
        except ProviderUnavailable:
            report = by_heartbeat(status)
            if report is None:
                raise
            return report

    def _look(self, folder: Path, status: Status | None) -> Report:
        owner, request = read_json(folder / OWNER), read_request(folder)
        if owner is not None and owner["job"] is None:
            return never_started(status)
        if request is None:
            return Report(phase=Phase.ABSENT, simulated=False)
        job = self.shared.job_of(folder)
        if job is None:
            self.submitter.submit_due(request.shape)
            return Report(phase=Phase.STARTING, simulated=False)
        queued = self.queue.find(job)
        if queued is not None and not queued.over:
            return look_at(queued, status, folder)
        return self._ended(job, folder, status)

    def _ended(self, job: SlurmJob, folder: Path, status: Status | None) -> Report:
        has_word = status is not None and status.state is RunState.ENDED
        end = self.queue.end_of(job, with_memory=not has_word)
        if end is None:
            queued = self.queue.find(
                job, fresh=True
            )  # between the two looks it may have left the one and come to the other
            return judge_forgotten(status) if queued is None else look_at(queued, status, folder)
        is_young = end.ended_at is not None and time.time() - end.ended_at < self.settle_s
        if is_young and (awaits_word(end, status) or not end.accounted):
            return Report(phase=Phase.STARTING if status is None else Phase.RUNNING, simulated=False)
        return judge_end(end, status, asked=(folder / STOP).exists(), said=self.shared.log_of(job))

    def stop(self, handle: Handle, *, hard: bool) -> None:
        """Leave word for the supervisor, which ends its command gracefully; where none has begun, none ever will.

        Slurm is told as well of what only waits, of what shall end at once, and of a supervisor that does not obey.
        """
        folder = Path(handle["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        asked_s = leave_word(folder, HARD if hard else GRACEFUL)
        waits = forbid(folder, stopped=Stopped.ASKED)
        request, job = read_request(folder), self.shared.job_of(folder)
        if waits and request is not None:
            self.submitter.drop(folder.name, request.shape)
        if job is not None and (waits or hard or asked_s > GRACE_S + _PATIENCE_WITH_SUPERVISOR_S):
            queued = self.queue.find(job, fresh=True)
            if queued is not None and not queued.over and queued.state != COMPLETING:
                self.queue.commands.cancel(job.number)

    def release(self, key: str) -> MachineReport:
        """End the job, and say how long it has held its node; one that was never asked for never will be."""
        attempt_id = self.shared.bind(key, None)
        if attempt_id is None:
            self._cancel_unknown(key)
            return MachineReport(key=key, phase=MachinePhase.GONE, metered_s=None)
        folder = self.shared.attempt(attempt_id)
        self.stop({"folder": str(folder)}, hard=True)
        job = self.shared.job_of(folder)
        return MachineReport(key=key, phase=MachinePhase.GONE, metered_s=None if job is None else self._held_s(job))

    def _held_s(self, job: SlurmJob) -> float | None:
        """A job's elapsed time once it is over, or what it has come to if that takes long."""
        so_far_s = 0.0
        for _ in range(_ENDING_LOOKS):
            queued = self.queue.find(job, fresh=True)
            if queued is None or queued.over:
                end = self.queue.end_of(job, with_memory=False)
                return None if end is None else end.elapsed_s
            so_far_s = queued.elapsed_s
            time.sleep(_BETWEEN_LOOKS_S)
        return so_far_s

    def _cancel_unknown(self, key: str) -> None:
        """Jobs of a name that the directory does not know, as after it was lost."""
        for job in self.queue.jobs(fresh=True).values():
            if job.name == key and not job.over:
                self.queue.commands.cancel(job.number)

    def list(self) -> Sequence[MachineReport]:
        """Every job of ours that waits or runs, by its machine's key; by its own name where that is not known."""
        live = [job for job in self.queue.jobs(fresh=True).values() if not job.over and job.state != COMPLETING]
        return [
            MachineReport(
                key=self._key_of(job),
                phase=MachinePhase.COMING if job.state in WAITING else MachinePhase.READY,
                metered_s=None if job.state in WAITING else job.elapsed_s,
            )
            for job in live
        ]

    def _key_of(self, job: QueuedJob) -> str:
        members, index = self.shared.members(job.name), job.number.partition("_")[2]
        place = int(index) if index.isdigit() else 0
        return members[place][1] if place < len(members) else job.name

    def collect(self, handle: Handle, since: Mapping[str, int], *, ended: bool) -> Sequence[LogChunk]:
        """New output of both streams."""
        refresh(Path(handle["folder"]))
        return collect_output(Path(handle["folder"]), since, ended=ended)

    def clear(self, handle: Handle) -> None:
        """Delete temporary files and output; what still runs is ended first, and cleared the next time."""
        folder = Path(handle["folder"])
        if not folder.is_dir():
            return
        try:
            runs = self.poll(handle).phase in (Phase.STARTING, Phase.ASKS, Phase.RUNNING)
            if runs:
                self.stop(handle, hard=True)
        except ProviderUnavailable:
            return  # `tidy` comes by again
        if not runs:
            sealed.clear(folder)
            shutil.rmtree(folder / NODES, ignore_errors=True)
            clear_scratch(folder)

    def tidy(self, has_ended: Callable[[UUID], bool]) -> None:
        """Clear ended attempts that were not, and forget those that were long ago."""
        now = time.time()
        for folder in entries(self.shared.root / "attempts"):
            with suppress(ValueError, FileNotFoundError):
                attempt_id, quiet_s = UUID(folder.name), now - folder.stat().st_mtime
                if quiet_s > KEPT_S:
                    if has_ended(attempt_id):
                        shutil.rmtree(folder, ignore_errors=True)
                elif (folder / "tmp").exists() and has_ended(attempt_id):  # what is cleared has no tmp any more
                    self.clear(self.locate(attempt_id))
        forget_submissions(self.shared, now=now)

    def _folder(self, attempt_id: UUID) -> Path:
        return self.shared.attempt(str(attempt_id))


def slurm_backend(
    directory: Path,
    *,
    log_cap_bytes: int,
    python: Path | None = None,
    options: Sequence[str] = (),
    window_s: float,
    settle_s: float = 30.0,
    hand_over: Callable[[AttemptWork], HandedOver] = nothing,
) -> Slurm:
    """The cluster that this host's Slurm commands speak to."""
    shared, queue = Shared(root=directory), Queue(Commands(environment=environment_for_commands()))
    submitter = Submitter(
        shared=shared, queue=queue, python=python or this_python(), options=options, window_s=window_s
    )
    return Slurm(
        shared=shared, queue=queue, submitter=submitter, log_cap_bytes=log_cap_bytes, settle_s=settle_s,
        hand_over=hand_over,
    )  # fmt: skip
