"""Watch one command from its order to its end, and keep `status.json` true meanwhile."""

from __future__ import annotations

import math
import os
import selectors
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.supervision.command import CannotStart, Command, Exit, environment
from workers.supervision.gpus import GivenGpus, Handout, NoGpus, Nvml, given_gpus, open_nvml, take_gpus
from workers.supervision.limits import read_limits
from workers.supervision.memory import MemoryProbe
from workers.supervision.oom import KernelKills, judge, kernel_kills
from workers.supervision.order import FILES, STOP, Order
from workers.supervision.output import Writer
from workers.supervision.processes import identify, signal_name
from workers.supervision.report_file import NAME as REPORT
from workers.supervision.report_file import read_report
from workers.supervision.status import RunState, Status
from workers.supervision.stopped import OutOfMemory, Stopped

if TYPE_CHECKING:
    from workers.supervision.staged import Staged

TAKEN_SILENTLY = "simulated: its machine vanished"
GRACEFUL, HARD = "graceful", "hard"
"""What the stop file holds: the latter when nobody wants to wait for a graceful end."""
_FIRST_LOOK_S, _LOOK_GROWTH, _LONGEST_LOOK_S = 0.02, 1.3, 0.5
"""Memory is sampled often at first, when models load and jobs of seconds live, then seldom, to cost nothing."""
_HEARTBEAT_S = 2.0
_HEARSAY_S = 0.2
NOT_TOLD: Mapping[str, Any] = {}


class Supervisor:
    """One command's keeper. It trusts nothing but its own clock, its order and the kernel."""

    def __init__(self, folder: Path, order: Order, status: Status, told: Mapping[str, Any] = NOT_TOLD) -> None:
        """`told` is what no disk may hold: `secrets` by their variables, `access` to the store of the job's files."""
        self._secrets: Mapping[str, str] = told.get("secrets", {})
        self._files = _files_of(folder, order, told.get("access"))
        self._folder, self._order, self._status = folder, order, status
        self._truth = order.truth
        self._began = self._beaten = time.monotonic()
        self._command_s = 0.0
        self._host_is_ending = False
        self._handout: Handout | GivenGpus | None = None
        self._kills, self._limits = KernelKills(), read_limits(folder)
        self._wake, wake_writer = os.pipe()
        for end in (self._wake, wake_writer):
            os.set_blocking(end, False)
        # a signal also writes into this pipe, so no wait outlasts a child's end
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)

    def run(self) -> Status:
        """See the command through to its end; the final status is on disk when this returns."""
        try:
            if (stopped := self._asked()) is not None:
                return self._end(stopped=stopped)
            if (ended := self._bring_in()) is not None:
                return ended
            command, probe = self._begin()
        except CannotStart as refusal:
            return self._end(failure=str(refusal), exit_code=refusal.exit_code, runtime_s=0.0)
        except NoGpus as refusal:
            # the host could not keep what the placement promised: that is no fault of the command
            return self._end(failure=str(refusal), stopped=Stopped.HOST)
        self._note(state=RunState.RUNNING, command=identify(command.pid), runtime_s=0.0)
        # `starting` is on disk for good, and says enough after a power cut: what ran then is gone
        self._status.write(self._folder, durable=False)
        stopped, exited = self._watch(command, probe)
        if stopped is None:
            stopped = self._outlast(command) if exited.code == 0 else self._ended_with_the_host(exited)
        memory = self._ran_out(command, probe, exited) if stopped is None else None
        if stopped is Stopped.OUT_OF_MEMORY and self._truth is None:
            memory = OutOfMemory.HOST
        return self._conclude(command, probe, exited, stopped, memory)

    def _begin(self) -> tuple[Command, MemoryProbe]:
        """Start the command on what this host hands out for it; CannotStart or NoGpus say why not."""
        nvml = open_nvml() if self._order.gpu_count else None
        self._handout = self._take_gpus(nvml)  # kept: the GPUs are let go with it
        uuids, devices = (self._handout.uuids, self._handout.environment) if self._handout else ((), {})
        most_gib = None if self._limits is None else self._limits.memory_gib
        probe = MemoryProbe(nvml, uuids, shared=self._order.shares_card, most_gib=most_gib)
        given = environment(self._order, self._folder, devices, os.environ, self._secrets)
        hidden = self._secrets.values()
        command = Command(
            self._order, self._folder, given, hide=hidden, writers=self._writers(), limits=self._limits
        )  # fmt: skip
        return command, probe

    def _writers(self) -> Mapping[str, Writer] | None:
        """Where the command's output is kept; None for the files of its directory."""
        return None

    def _ran_out(self, command: Command, probe: MemoryProbe, exited: Exit) -> OutOfMemory | None:
        """Which memory ran out, for a command that ended by itself."""
        # an engine that grabs the card fills it whatever happens
        full = probe.card_is_full and not self._order.preallocates
        return judge(exited.code, command.said(), self._kills.lately, kernel_kills(), card_was_full=full)

    def _bring_in(self) -> Status | None:
        """Fetch the job's files; the last word, where that ends the attempt. It is part of starting up."""
        moved = None if self._files is None else self._files.bring_in(self._look)
        if moved is None:
            return None
        if moved.stopped is not None:
            return self._end(stopped=moved.stopped)
        if moved.failure is None:
            return None
        if moved.may_pass:  # no fault of the job: it goes again while attempts last
            return self._end(failure=f"inputs: {moved.failure}", stopped=Stopped.HOST)
        return self._end(failure=f"inputs: {moved.failure}", exit_code=1, runtime_s=0.0)

    def _take_out(self, exited: Exit, stopped: Stopped | None, memory: OutOfMemory | None) -> str | None:
        """Keep what the command left; why not all of it, where that could not be done."""
        # one that is to go again, or was told to leave it, has nothing to keep
        if self._files is None or stopped in (Stopped.ASKED, Stopped.HOST) or memory is not None:
            return None
        return self._files.take_out(self._look, all_expected=stopped is None and exited.code == 0)

    def _look(self) -> Stopped | None:
        self._beat()
        return self._asked()

    def _take_gpus(self, nvml: Nvml | None) -> Handout | GivenGpus | None:
        """GPUs of this host for this process's lifetime: the kernel takes them back when it ends."""
        order = self._order
        if not order.gpu_count:
            return None
        if order.devices_dir is None:
            return given_gpus(nvml, order.gpu_count, os.environ.get("CUDA_VISIBLE_DEVICES"))
        shared = order.machine_key if order.shares_card else None
        return take_gpus(nvml, order.gpu_count, order.gpu_usable_gib, Path(order.devices_dir), shared_by=shared)

    def _watch(self, command: Command, probe: MemoryProbe) -> tuple[Stopped | None, Exit]:
        """Follow the command until it has ended by itself or was made to."""
        over_s, verdict = self._over()
        command.selector.register(self._wake, selectors.EVENT_READ)
        stopped: Stopped | None = None
        kill_at, look, next_look = math.inf, _FIRST_LOOK_S, 0.0
        while not command.has_ended():
            now = time.monotonic()
            if now >= next_look:
                probe.sample()
                self._kills.look()
                look = min(look * _LOOK_GROWTH, _LONGEST_LOOK_S)
                next_look = now + look
            if stopped is None:
                stopped = self._asked() or (verdict if now - command.began >= over_s else None)
                if stopped is None and now - command.began >= (self._order.max_runtime_s or math.inf):
                    stopped = Stopped.TIMEOUT  # whatever was drawn, the stand-in may not run for ever
                if stopped is not None:
                    command.ask_to_end()
                    kill_at = now + self._order.grace_s
            if probe.has_too_much:  # while it was asked, and saved what it has, it might take the host down
                stopped, kill_at = stopped or Stopped.OUT_OF_MEMORY, now
            if now >= kill_at or (stopped and self._asked_hard()):
                command.make_end()
            self._beat(command, probe)
            left = command.began + over_s - time.monotonic()
            command.wait(min(look, left) if stopped is None and left > 0 else look)
            with suppress(BlockingIOError):
                os.read(self._wake, 4096)
        return stopped, command.close()

    def _outlast(self, command: Command) -> Stopped | None:
        """A simulated run lasts as long as was drawn, though the command that stands in for it is done."""
        if self._truth is None:
            return None
        over_s, verdict = self._over()
        while (left := command.began + over_s - time.monotonic()) > 0:
            if (asked := self._asked()) is not None:
                return asked
            time.sleep(min(left, 0.05))
            self._beat(command)
        return verdict

    def _ended_with_the_host(self, exited: Exit) -> Stopped | None:
        """A machine that goes down asks everyone to end: the command may hear it a moment before we do."""
        if exited.signal == signal.SIGTERM and not self._host_is_ending:
            time.sleep(_HEARSAY_S)
        return Stopped.HOST if self._host_is_ending else None

    def _over(self) -> tuple[float, Stopped | None]:
        """Real seconds after the command's start at which it is over whatever it does, and why."""
        limit = self._order.max_runtime_s
        if self._truth is None:
            return (math.inf, None) if limit is None else (limit, Stopped.TIMEOUT)
        virtual_s, verdict = self._truth.verdict(limit)
        return virtual_s * self._truth.time_scale, verdict

    def _conclude(
        self, command: Command, probe: MemoryProbe, exited: Exit, stopped: Stopped | None, memory: OutOfMemory | None
    ) -> Status:
        elapsed = time.monotonic() - command.began
        completed = stopped is None and exited.code == 0
        if exited.rss_is_its_own or probe.peak_rss_gib is None:
            probe.note_rss(exited.largest_rss_gib)
        said = read_report(self._folder / REPORT)
        self._note(
            peak_rss_gib=probe.peak_rss_gib,
            peak_vram_gib=probe.peak_vram_gib,
            peak_allocated_gib=said.peak_allocated_gib,
            peak_reserved_gib=said.peak_reserved_gib,
        )
        failure: str | None = None
        if self._truth is None:
            self._passed(elapsed)
            failure = self._limit_met(command, exited, stopped, memory)
            if probe.peak_vram_gib is None and self._order.gpu_count and said.peak_reserved_gib is not None:
                grabbed = self._order.preallocates
                self._note(peak_vram_gib=said.peak_reserved_gib, vram_metric="preallocated" if grabbed else "reserved")
        else:
            # a run that was cut short shows no peak: it had not come to it
            self._note(peak_vram_gib=self._truth.peak_vram_gib if completed else None)
            virtual_s, verdict = self._truth.verdict(self._order.max_runtime_s)
            came_to_verdict = completed or (stopped is verdict and stopped is not None)
            self._passed(virtual_s if came_to_verdict else self._truth.command_so_far_s(elapsed))
            if verdict is stopped is Stopped.OUT_OF_MEMORY:
                memory = OutOfMemory.GPU
                failure = self._truth.out_of_memory_words
                command.say(f"pythia, {failure}")
            if verdict is stopped is Stopped.HOST and self._truth.taken_silently:
                failure = TAKEN_SILENTLY
        command.close_output()
        if (lost := self._take_out(exited, stopped, memory)) is not None:
            how = None if completed or stopped is not None or failure is not None else f"exit code {exited.code}"
            failure = "; ".join(filter(None, (failure, how, lost)))
        return self._end(
            stopped=stopped, exit_code=exited.code, signal=exited.signal, out_of_memory=memory, failure=failure
        )

    def _limit_met(
        self, command: Command, exited: Exit, stopped: Stopped | None, memory: OutOfMemory | None
    ) -> str | None:
        """Which limit of this host ended the command, as one sentence; None for any other end."""
        if self._limits is None:
            return None
        if stopped is Stopped.OUT_OF_MEMORY:
            return self._limits.memory_words
        met = command.limit_met(exited) if stopped is None and memory is None else None
        how = f"exit code {exited.code}" if exited.signal is None else f"ended by {signal_name(exited.signal)}"
        return None if met is None else f"{how}: {met}"

    def _asked(self) -> Stopped | None:
        if (self._folder / STOP).exists():
            return Stopped.ASKED
        return Stopped.HOST if self._host_is_ending else None

    def _asked_hard(self) -> bool:
        with suppress(FileNotFoundError):
            return (self._folder / STOP).read_text() == HARD
        return False

    def _on_term(self, *_: object) -> None:
        self._host_is_ending = True

    def _beat(self, command: Command | None = None, probe: MemoryProbe | None = None) -> None:
        """Write now and then that all is well, and what was seen so far."""
        now = time.monotonic()
        if now - self._beaten < _HEARTBEAT_S:
            return
        self._beaten = now
        if command is not None:
            elapsed = now - command.began
            self._passed(self._truth.command_so_far_s(elapsed) if self._truth else elapsed)
        if probe is not None:
            self._note(peak_rss_gib=probe.peak_rss_gib)
            if self._truth is None:
                self._note(peak_vram_gib=probe.peak_vram_gib)
        self._stamp()
        with suppress(OSError):  # a full disk delays the word, it does not end the job
            self._status.write(self._folder, durable=False)

    def _end(self, **facts: Any) -> Status:
        self._note(state=RunState.ENDED, **facts)
        self._stamp()
        self._status.write(self._folder)
        return self._status

    def _passed(self, command_s: float) -> None:
        """Note how long the command has run; virtual seconds where they are simulated."""
        self._command_s = command_s
        self._note(runtime_s=self._truth.work_s(command_s) if self._truth else command_s)

    def _stamp(self) -> None:
        held = time.monotonic() - self._began
        if self._truth is not None:
            held = self._command_s
        self._note(heartbeat_at=time.time(), held_s=held)

    def _note(self, **facts: Any) -> None:
        self._status = replace(self._status, **facts)


def _files_of(folder: Path, order: Order, access: Mapping[str, Any] | None) -> Staged | None:
    if not (folder / FILES).exists():
        return None
    # most jobs have none, and every job waits for its supervisor's imports
    from workers.supervision.staged import Staged  # noqa: PLC0415

    return Staged(folder, order, access)
