"""Run attempts as runs of a dstack server, which rents a machine for each; the server's word is the only memory.

A machine and the attempt on it are one thing here: a run. What was never started is kept from starting by a run that
only holds the name (`task.forbidden_run`). A run that has ended stays in dstack's own history, and its name is taken.
"""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any
from uuid import UUID

import structlog

from predictor.hardware import GpuCatalogue, load_gpu_types
from scheduler.domain.attempt import AttemptWork, LogChunk
from scheduler.domain.machines import Machine
from scheduler.settings import Settings
from scheduler.storage.ids import made_at
from workers.backends.base import (
    Handle,
    MachinePhase,
    MachineReport,
    Phase,
    ProviderUnavailable,
    Report,
    StartFailed,
)
from workers.backends.dstack.printed import Printed
from workers.backends.dstack.rivals import Rivals
from workers.backends.dstack.said import Run
from workers.backends.dstack.server import Refused, Server, connect
from workers.backends.dstack.sight import going_on, over, times_of
from workers.backends.dstack.task import (
    MACHINE,
    attempt_of,
    came_late,
    forbidden_run,
    forbids,
    run_name,
    run_of,
)
from workers.supervision.oom import OutputWatch, judge

log = structlog.get_logger(__name__)

_FORBIDDEN_KEPT = timedelta(days=1)
"""A late start has come long before."""
_BEFORE_ORDER = timedelta(minutes=10)
"""How far the server's clock may be behind ours for a run to be found by when its machine was written down."""
_TRIES = 5
_REMEMBERED = 10_000


@dataclass(kw_only=True)
class Dstack:
    """One project of one server. The connection is made by the process that first needs it."""

    settings: Settings
    clock: Callable[[], datetime]
    simulated: bool = False
    host_bound: bool = False
    hands_over: bool = False
    _submission_of: dict[str, UUID] = field(default_factory=dict, init=False)
    """Under what the output of each attempt is kept, as last seen: saves a question, and is asked if not known."""

    _rivals: Rivals = field(default_factory=Rivals, init=False)

    @cached_property
    def _server(self) -> Server:
        return connect(self.settings, self.clock)

    @cached_property
    def _gpus(self) -> GpuCatalogue:
        return load_gpu_types()

    @cached_property
    def _printed(self) -> Printed:
        return Printed(self.settings.log_cap_bytes)

    @property
    def account(self) -> str:
        """The same for every worker that reaches the server, whatever its address is from there."""
        return f"dstack:{self.settings.dstack_project}"

    def provision(self, machine: Machine) -> MachineReport:
        """There is nothing to order: the run is the machine."""
        return MachineReport(key=machine.key, phase=MachinePhase.READY, metered_s=None)

    def start(self, work: AttemptWork) -> Handle:
        """Make the run unless there is one, going on or over."""
        run, now = self._server.run(run_name(work.attempt_id))
        if run is None:
            try:
                self._server.apply(run_of(work, self._gpus, now=now))
            except Refused as refusal:
                run, _ = self._server.run(run_name(work.attempt_id))  # made since by somebody else?
                if run is None:
                    raise StartFailed(f"dstack does not take the run: {refusal}") from None
        if run is not None and forbids(run):
            raise StartFailed("it was stopped before it could start")
        return self.locate(work.attempt_id)

    def locate(self, attempt_id: UUID) -> Handle:
        """A run is named after its attempt."""
        return {"attempt": str(attempt_id)}

    def poll(self, handle: Handle) -> Report:
        """What the server says, after what that calls for has been done."""
        run, now = self._see(handle)
        if run is None:
            return Report(phase=Phase.ABSENT, simulated=False)
        if forbids(run):
            return over(run, times_of(run, ()))[0]
        has_rivals = self._rivals.has(run, self._server, now)
        if not run.is_over:
            if (has_rivals or came_late(run)) and not run.is_aborted:
                self._server.stop(run.name, abort=True)
            return going_on(run)
        times = times_of(run, self._server.events(run.id))
        report, output_tells = over(run, times, has_rivals=has_rivals)
        log.info("saw end of run", attempt_id=handle["attempt"], used_s=report.used_s, usd_per_hour=run.usd_per_hour)
        return self._explained(report, run) if output_tells else report

    def stop(self, handle: Handle, *, hard: bool) -> None:
        """End what runs, with time for a checkpoint or without; what was never started never will be."""
        attempt_id = UUID(handle["attempt"])
        for _ in range(_TRIES):
            run, _ = self._see(handle)
            if run is not None:
                if not (run.is_over or forbids(run) or (run.status == "terminating" and not hard)):
                    self._server.stop(run.name, abort=hard)
                    log.info("ended run of dstack", attempt_id=handle["attempt"], hard=hard)
                return
            with suppress(Refused):  # it has come meanwhile
                self._server.apply(forbidden_run(attempt_id))
                self._active()  # one may have come beside it
                return
        raise ProviderUnavailable(f"the run {run_name(attempt_id)} changed while it was to be ended")

    def release(self, key: str) -> MachineReport:
        """End the run under a machine's key, and say for how long it had a machine once that is certain: one that is
        ending is paid until it is over, and is asked for again."""
        run, now = self._run_of(key)
        if run is None:
            return MachineReport(key=key, phase=MachinePhase.GONE, metered_s=None)
        if not run.is_over:
            if not run.is_aborted:
                self._server.stop(run.name, abort=True)
            raise ProviderUnavailable(f"dstack is still ending the run {run.name}, whose machine is paid until then")
        metered_s = times_of(run, self._server.events(run.id)).metered_s(now)
        return MachineReport(key=key, phase=MachinePhase.GONE, metered_s=metered_s)

    def list(self) -> Sequence[MachineReport]:
        """Every run that is not over, whoever made it. Its meter is read from when dstack was asked: the events that
        say it better are only read of a run that has ended."""
        runs, now = self._active()
        reports: dict[str, MachineReport] = {}
        for run in runs:
            key = run.noted(MACHINE)
            if not key or attempt_of(run) is None or forbids(run):
                continue
            metered_s = times_of(run, ()).metered_s(now)
            phase = MachinePhase.COMING if metered_s is None else MachinePhase.READY
            reports.setdefault(key, MachineReport(key=key, phase=phase, metered_s=metered_s))
        return list(reports.values())

    def collect(self, handle: Handle, since: Mapping[str, int], *, ended: bool) -> Sequence[LogChunk]:
        """What the command printed, on the first machine where there are several."""
        attempt = handle["attempt"]
        if attempt not in self._submission_of:
            self._see(handle)
        submission = self._submission_of.get(attempt)
        if submission is None:
            return []
        ask = partial(self._server.printed, _name(handle), submission)
        return self._printed.collect(attempt, ask, since.get("stdout", 0), ended=ended)

    def clear(self, handle: Handle) -> None:
        """Nothing is left to let go of, but of what still runs."""
        run, _ = self._see(handle)
        self._submission_of.pop(handle["attempt"], None)
        self._printed.forget(handle["attempt"])
        if run is not None and not run.is_over and not forbids(run):
            self._server.stop(run.name, abort=True)

    def tidy(self, has_ended: Callable[[UUID], bool]) -> None:
        """End what ended attempts have left, and remove what only holds a name."""
        with suppress(ProviderUnavailable):  # what is not tidied now is tidied by the next sweep
            runs, now = self._active()
            for run in runs:
                attempt_id = attempt_of(run)
                if attempt_id is None or not has_ended(attempt_id):
                    continue
                if not forbids(run):
                    self._server.stop(run.name, abort=True)
                elif now - run.submitted_at > _FORBIDDEN_KEPT:
                    self._server.stop(run.name, abort=True)  # over at once, since nothing of it runs

    def _active(self) -> tuple[builtins.list[Run], datetime]:
        """Every run that has not ended, and the server's time. Where several have one of our names all are told to end:
        only by its name can a run be."""
        runs, now = self._server.active()
        named = Counter(run.name for run in runs if attempt_of(run) is not None)
        for name, many in named.items():
            if many > 1 and not all(run.is_aborted for run in runs if run.name == name):
                log.error("ended runs of one name", name=name, runs=many)
                self._server.stop(name, abort=True)
        return runs, now

    def _see(self, handle: Handle) -> tuple[Run | None, datetime]:
        """An attempt's run, and the server's time."""
        run, now = self._server.run(_name(handle))
        if run is not None and run.submissions:
            if len(self._submission_of) >= _REMEMBERED:  # those that other processes cleared, above all
                self._submission_of.clear()
            self._submission_of[handle["attempt"]] = run.submissions[0].id
        return run, now

    def _run_of(self, key: str) -> tuple[Run | None, datetime]:
        """The run under a machine's key, and the server's time: among those that go on, else among those that were made
        since the machine was written down, which its key tells."""
        runs, now = self._active()
        for run in runs:
            if run.noted(MACHINE) == key and attempt_of(run) is not None:
                return run, now
        try:
            written = made_at(UUID(key[-36:]))
        except (ValueError, OverflowError):
            return None, now
        for run in self._server.since(written - _BEFORE_ORDER):
            if run.noted(MACHINE) == key and attempt_of(run) is not None:
                return run, now
        return None, now

    def _explained(self, report: Report, run: Run) -> Report:
        """With the reason that the last lines of a failed command give, where memory ran out."""
        watch = OutputWatch()
        last: dict[str, Any] = {"descending": True}
        for submission in run.submissions:
            if submission.exit_status == report.exit_code:
                for piece in reversed(self._server.printed(run.name, submission.id, **last).logs):
                    watch.feed(piece.message)
        assert report.exit_code is not None  # noqa: S101 - it has ended by itself
        return replace(report, out_of_memory=judge(report.exit_code, [watch.verdict()], {}, {}))


def _name(handle: Handle) -> str:
    return run_name(UUID(handle["attempt"]))
