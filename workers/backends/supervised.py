"""Attempts as directories on this host, each with a detached supervisor that outlives its worker.

`DIR/work.json` says what to run, `DIR/status.json` what became of it. Whoever reads them needs no memory
of having started anything.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from scheduler.domain.attempt import AttemptWork, LogChunk
from scheduler.domain.machines import Machine
from workers.backends.base import Handle, MachineReport, Phase, Report, StartFailed
from workers.backends.book import Entry, MachineBook
from workers.backends.folders import KEPT_S, clear_scratch, collect_output, prepare
from workers.backends.handed_over import NOTHING, HandedOver
from workers.nursery import Nursery, NurseryGone, NurserySlow
from workers.supervise import SUPERVISOR_LOG
from workers.supervision.limits import Limits
from workers.supervision.order import STOP, Order, read_order
from workers.supervision.processes import marked, signal_all, signal_group
from workers.supervision.status import RunState, Status, ownership, read_status
from workers.supervision.stopped import Stopped
from workers.supervision.watch import GRACEFUL, HARD

_START_LIMIT_S = 30.0
_NURSERY = Nursery()


def nothing(_: AttemptWork) -> HandedOver:
    """What attempts are given where nothing is kept for them."""
    return NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """A backend on this host; `make_order` says what a supervisor shall do with an attempt."""

    directory: Path
    make_order: Callable[[AttemptWork, Entry | None], Order]
    """What to do with an attempt on its machine as it stands at the start."""
    book: MachineBook
    account: str
    host: str
    """What this host is called."""
    host_id: str | None = None
    """What tells it from others of its name."""
    limits: Limits | None = None
    """What of this host a command may use; None: whatever its worker may."""
    hand_over: Callable[[AttemptWork], HandedOver] = nothing
    """What an attempt is given beside its command: secrets and files."""
    simulated: bool = False
    host_bound: bool = True

    @property
    def hands_over(self) -> bool:
        """Whether anything is."""
        return self.hand_over is not nothing

    def provision(self, machine: Machine) -> MachineReport:
        """A slot of this host is there as soon as it is asked for."""
        return self.book.open(machine)

    def start(self, work: AttemptWork) -> Handle:
        """Write the order and start a supervisor; it alone decides whether it is the first."""
        folder = self._folder(work.attempt_id)
        if read_status(folder) is None:
            machine = work.machine
            entry = (
                None
                if machine is None
                else self.book.begin(
                    machine.key, str(work.attempt_id), shares=work.card_id is not None, most_s=self._most_s
                )
            )
            self._begin(folder, self.make_order(work, entry), self.hand_over(work))
        return self.locate(work.attempt_id)

    def _begin(self, folder: Path, order: Order, handed: HandedOver) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if handed.plan is not None:
            handed.plan.write(folder)
        if self.limits is not None:
            self.limits.write(folder)
        prepare(folder, order)
        _supervise(folder, handed.sent())

    def locate(self, attempt_id: UUID) -> Handle:
        """A directory follows from the attempt's id."""
        mine = {} if self.host_id is None else {"host_id": self.host_id}
        return {"host": self.host, "folder": str(self._folder(attempt_id)), **mine}

    def poll(self, handle: Handle) -> Report:
        """What the supervisor last wrote, unless it is gone."""
        # handles from before hosts had ids have none
        if handle["host"] != self.host or handle.get("host_id", self.host_id) != self.host_id:
            return Report(phase=Phase.ELSEWHERE, simulated=self.simulated)
        folder = Path(handle["folder"])
        status = read_status(folder)
        if status is None:
            return Report(phase=Phase.ABSENT, simulated=self.simulated)
        if status.state is not RunState.ENDED and not status.attended:
            # it may have ended between the two looks, its last word written
            status = read_status(folder) or status
            if status.state is not RunState.ENDED:
                _end_remains(folder, status)
                return self._metered(folder, status, report_of(status, Phase.VANISHED))
        return self._metered(folder, status, report_of(status, Phase(status.state)))

    def _metered(self, folder: Path, status: Status, report: Report) -> Report:
        """With the machine's meter, once nothing of it runs any more."""
        if report.phase not in (Phase.RUNNING, Phase.ENDED, Phase.VANISHED):
            return report
        order = read_order(folder)
        if order is None or order.machine_key is None:
            return report
        if report.phase is Phase.RUNNING:
            began_s = self.book.began_s(order.machine_key, folder.name) if order.shares_card else None
            return replace(report, began_s=began_s)
        use = self.book.end(order.machine_key, folder.name, used_s=status.held_s, ended_at=status.heartbeat_at)
        return report if use is None else replace(report, meter=use[0], machine_gone=use[1])

    def stop(self, handle: Handle, *, hard: bool) -> None:
        """Leave word for the supervisor; where there has been none yet, forbid the start for good."""
        folder = Path(handle["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{STOP}"
        draft.write_text(HARD if hard else GRACEFUL)
        draft.replace(folder / STOP)
        with ownership(folder):
            status = read_status(folder)
            if status is None:
                forbidden = Status(
                    state=RunState.ENDED,
                    supervisor=None,
                    heartbeat_at=time.time(),
                    stopped=Stopped.ASKED,
                    simulated=self.simulated,
                )
                forbidden.write(folder)
        if status is not None and status.supervisor is not None and status.supervisor.alive:
            with suppress(ProcessLookupError):
                os.kill(status.supervisor.pid, signal.SIGCHLD)  # wakes it; it looks for the word by itself as well

    def release(self, key: str) -> MachineReport:
        """Give a slot back; what runs there is ended, with the time that it has had so far on the meter."""
        used_s: dict[str, float] = {}
        running = self.book.running(key)
        for attempt_id in self._ordered_on(key) if running is None else running:
            handle = self.locate(UUID(attempt_id))
            self.stop(handle, hard=True)
            status = read_status(Path(handle["folder"]))
            used_s[attempt_id] = 0.0 if status is None else status.held_s
        return self.book.close(key, used_s=used_s)

    def _ordered_on(self, key: str) -> Iterator[str]:
        """Every attempt that was ever to run on a machine, as its order says."""
        for folder in self.directory.iterdir() if self.directory.is_dir() else ():
            with suppress(ValueError):
                if (order := read_order(folder)) is not None and order.machine_key == key:
                    yield folder.name

    def list(self) -> Sequence[MachineReport]:
        """Every slot that is held."""
        return self.book.live()

    def collect(self, handle: Handle, since: Mapping[str, int], *, ended: bool) -> Sequence[LogChunk]:
        """New output of both streams."""
        return collect_output(Path(handle["folder"]), since, ended=ended)

    def clear(self, handle: Handle) -> None:
        """Delete temporary files and output. The status stays for a while: it keeps a late start from running."""
        folder = Path(handle["folder"])
        if not folder.is_dir():
            return
        if self.poll(handle).phase in (Phase.ABSENT, Phase.STARTING, Phase.RUNNING):
            self.stop(handle, hard=True)
            return
        clear_scratch(folder)

    def tidy(self, has_ended: Callable[[UUID], bool]) -> None:
        """Clear ended attempts that were not, and forget those that were long ago."""
        now = time.time()
        for folder in self.directory.iterdir() if self.directory.is_dir() else ():
            with suppress(ValueError, FileNotFoundError):
                attempt_id, quiet_s = UUID(folder.name), now - folder.stat().st_mtime
                if quiet_s > KEPT_S:
                    if not (status := read_status(folder)) or not status.attended:
                        shutil.rmtree(folder, ignore_errors=True)
                elif (folder / "tmp").exists() and has_ended(attempt_id):  # what is cleared has no tmp any more
                    self.clear(self.locate(attempt_id))
        self.book.forget()

    def _most_s(self, attempt_id: str) -> float:
        """Seconds of its machine that an attempt uses at most: those that were drawn; infinite for one that is real."""
        order = read_order(self.directory / attempt_id)
        drawn = None if order is None else order.truth
        return math.inf if order is None or drawn is None else drawn.verdict(order.max_runtime_s)[0]

    def _folder(self, attempt_id: UUID) -> Path:
        return self.directory / str(attempt_id)


def _supervise(folder: Path, told: bytes | None) -> None:
    try:
        owned = _NURSERY.supervise(folder, told, within_s=_START_LIMIT_S)
    except NurserySlow:
        return  # a slow host: the supervisor may yet come, and the next poll sees whether it did
    except NurseryGone:
        # it may have been killed with the order in its hands: asked twice, an attempt is owned once
        try:
            owned = _NURSERY.supervise(folder, told, within_s=_START_LIMIT_S)
        except NurserySlow:
            return
        except NurseryGone as error:
            raise StartFailed(f"no supervisor could be started: {error}") from error
    if not owned:
        log = folder / SUPERVISOR_LOG
        said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        raise StartFailed(f"no supervisor could be started: {said[-1] if said else 'it says nothing'}")


def _end_remains(folder: Path, status: Status) -> None:
    """Nobody watches the command any more, and its attempt is about to be tried again elsewhere: end it."""
    if status.command is not None and status.command.alive:
        signal_group(status.command.pid, signal.SIGKILL)
    signal_all(marked("PYTHIA_ATTEMPT_ID", folder.name), signal.SIGKILL)


def report_of(status: Status, phase: Phase) -> Report:
    """A status in the words of every backend."""
    return Report(
        phase=phase,
        exit_code=status.exit_code,
        signal=status.signal,
        stopped=status.stopped,
        out_of_memory=status.out_of_memory,
        failure=status.failure,
        runtime_s=status.runtime_s,
        used_s=status.held_s,
        peak_vram_gib=status.peak_vram_gib,
        vram_metric=status.vram_metric if status.peak_vram_gib or status.vram_metric == "preallocated" else None,
        peak_allocated_gib=status.peak_allocated_gib,
        peak_rss_gib=status.peak_rss_gib,
        simulated=status.simulated,
    )
