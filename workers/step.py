"""One step of one attempt: compare what PostgreSQL says should be with what the backend says is, and act."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from celery.exceptions import SoftTimeLimitExceeded

from scheduler.domain.attempt import AttemptGlance, AttemptResult, AttemptWork, LogChunk
from scheduler.domain.machines import ON_ITS_WAY, Machine, MachineState, Meter
from scheduler.domain.spec import beyond_plain
from scheduler.domain.states import AttemptState, Outcome
from scheduler.services import attempts, pools
from scheduler.services.sweep import lose
from scheduler.storage.engine import Engine, OperationalError
from workers.apart import apart, in_short
from workers.backends.base import (
    Backend,
    Handle,
    JobRefused,
    MachinePhase,
    Phase,
    ProviderUnavailable,
    Report,
    StartFailed,
)
from workers.outcomes import result_of
from workers.reconciler import Reconciler

log = structlog.get_logger(__name__)

_SHORTEST_REST_S = 0.1
"""Jobs of a second are looked at often at first: whoever starts one waits for it."""
_REST_SHARE = 0.05
"""A job is looked at again after a twentieth of the time it has run, so its end is seen late by 5 % at most …"""
_LONGEST_REST_S = 15.0
"""… or by this."""
_ELSEWHERE_PATIENCE = 10
"""Leases to wait for the worker of another host, or for a provider that does not answer, before giving up."""
_OUTPUT_PATIENCE = 5
"""Leases to wait for the last of an ended attempt's output: half of what it would take to give the attempt up."""
_PROVISION_S, _PROVISION_PATIENCE = 600.0, 10.0
"""A machine that has not come after this and so many times what its offer promised is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An attempt that is starting or running, and whose lease we hold."""

    engine: Engine
    backend: Backend
    work: AttemptWork
    handle: Handle
    clock: Callable[[], datetime]
    lease_s: float
    poll_interval_s: float

    def take(self) -> None:
        """Look, and do what the sight calls for."""
        try:
            self._take()
        except ProviderUnavailable as error:
            log.warning("had no answer", attempt_id=str(self.work.attempt_id), reason=str(error))
            self._wait_for_word(patience=_ELSEWHERE_PATIENCE, again_s=self.poll_interval_s)
        except (SoftTimeLimitExceeded, OperationalError):
            raise  # which says nothing of the attempt
        except Exception as error:
            log.error("could not look at attempt", attempt_id=str(self.work.attempt_id), error=in_short(error))
            # whoever wants it ended need not wait for a word that may never come
            patience = 1 if self.work.cancel_requested else _ELSEWHERE_PATIENCE
            self._wait_for_word(patience=patience, again_s=self.poll_interval_s, broken=True)

    def _take(self) -> None:
        report = self.backend.poll(self.handle)
        if report.phase in (Phase.ABSENT, Phase.ASKS) and self.work.state is AttemptState.STARTING:
            if self.work.cancel_requested:
                self.backend.stop(self.handle, hard=True)
                report = self.backend.poll(self.handle)
            else:
                self._begin()
                return
        elif report.phase is Phase.ABSENT:  # it ran, and now its place is gone
            report = replace(report, phase=Phase.VANISHED)
        self._act(report)

    def _act(self, report: Report) -> None:
        match report.phase:
            case Phase.ENDED | Phase.VANISHED:
                self._conclude(report)
            case Phase.STARTING | Phase.ASKS | Phase.RUNNING:
                self._go_on(report)
            case Phase.ABSENT:
                self._wait_for_word(patience=1)
            case Phase.ELSEWHERE:
                self._wait_for_word(patience=_ELSEWHERE_PATIENCE)

    def _begin(self) -> None:
        """Start the attempt if its machine is there; else see that it comes, and look again soon."""
        now = self.clock()
        machine = self.work.machine or pools.acquire_later(
            self.engine, self.work, account=self.backend.account, simulated=self.backend.simulated, now=now
        )
        step = replace(self, work=replace(self.work, machine=machine))
        try:
            if machine is None or not step.has_come(machine):
                next_poll_at = now + timedelta(seconds=self._rest_s(now))
                attempts.still_running(self.engine, self.work, now=now, next_poll_at=next_poll_at)
                return
            run = self.work.spec.run
            if run is not None and beyond_plain(run) and not self.backend.hands_over:
                raise JobRefused(
                    f"the backend {self.work.backend!r} gives commands no secrets and no files; choose another"
                )
            self.backend.start(step.work)
        except StartFailed as error:
            report = self.backend.poll(self.handle)
            if report.phase is Phase.ABSENT or (report.phase is Phase.ASKS and isinstance(error, JobRefused)):
                step.refuse(str(error), for_good=isinstance(error, JobRefused))
                return
            # somebody else had started it, or it asks for what another worker may be able to hand over
            step._act(report)
            return
        step._act(self.backend.poll(self.handle))

    def has_come(self, machine: Machine) -> bool:
        """Whether the provider says that the machine is there; StartFailed where it never will be."""
        if machine.state not in ON_ITS_WAY:
            return True
        word = self.backend.provision(machine)
        if word.phase is MachinePhase.GONE:
            raise StartFailed("its machine was gone before it came")
        if word.phase is MachinePhase.READY:
            return True  # written down together with the command's start
        if machine.state is MachineState.REQUESTED:
            pools.on_its_way(self.engine, machine)
        waited_s = (self.clock() - self.work.claimed_at).total_seconds()
        if waited_s > _PROVISION_S + _PROVISION_PATIENCE * machine.provision_s:
            raise StartFailed(f"its machine did not come within {waited_s:.0f} s")
        return False

    def _go_on(self, report: Report) -> None:
        """All is well; say so and when to look again."""
        if self.work.cancel_requested:
            self.backend.stop(self.handle, hard=False)
        now = self.clock()
        next_poll_at = now + timedelta(seconds=self._rest_s(now))
        if report.phase is Phase.RUNNING and self.work.state is AttemptState.STARTING:
            # what it has printed is collected by the next look
            self._mark_running(now, next_poll_at, began_s=report.began_s)
        else:
            chunks: Sequence[LogChunk] = ()
            try:
                chunks = self._collect(ended=False)
            # it was seen to run, and what it prints can wait
            except (ProviderUnavailable, OSError, ValueError) as error:
                log.warning("could not read output", attempt_id=str(self.work.attempt_id), reason=str(error))
            attempts.still_running(self.engine, self.work, chunks=chunks, now=now, next_poll_at=next_poll_at)

    def _conclude(self, report: Report) -> None:
        """Record the outcome with the last of the output, then let go of what is on the machine."""
        if report.runtime_s and self.work.state is AttemptState.STARTING:
            # it ran and ended between two looks; its story is told in order all the same
            began_s = None if report.meter is None else report.meter.from_s
            self._mark_running(self.clock(), self.clock(), began_s=began_s)
        machine = self.work.machine
        if report.meter is None and machine is not None:
            report = self._metered(machine, report)
        result = result_of(
            report,
            cancel_requested=self.work.cancel_requested,
            has_device_memory=self.work.usable_vram_gib is not None,
            limit=self.work.runtime_limit,
        )
        try:
            chunks = self._collect(ended=True)
        except (ProviderUnavailable, OSError, ValueError) as error:
            if self._silent_s(self.clock()) < self.lease_s * _OUTPUT_PATIENCE:
                raise
            # what it did is known, and is not done again for the sake of what it said
            missing = f"the end of its output could not be read: {error}"
            result, chunks = replace(result, reason="; ".join(filter(None, (result.reason, missing)))), ()
        self._finish(result, chunks)
        self.backend.clear(self.handle)

    def _silent_s(self, now: datetime) -> float:
        return (now - (self.work.seen_at or self.work.claimed_at)).total_seconds()

    def _metered(self, machine: Machine, report: Report) -> Report:
        """Nothing ever ran on its machine, or nobody can say until when: it is not kept, and the attempt pays for it.
        One that is there and was not touched stays for the next, as does one that others are on."""
        if report.phase is not Phase.VANISHED and machine.state not in ON_ITS_WAY:
            return report
        if not pools.alone_on_card(self.engine, self.work):
            return report
        word = self.backend.release(machine.key)
        to_s = machine.metered_s if word.metered_s is None else word.metered_s
        return replace(report, meter=Meter(from_s=machine.metered_s, to_s=to_s), machine_gone=True)

    def _wait_for_word(self, *, patience: int, again_s: float | None = None, broken: bool = False) -> None:
        """Nothing can be seen of it from here: let another look, and give it up when nobody has seen it for long.
        `broken`: something is wrong with the look itself."""
        now = self.clock()
        if again_s is None:
            attempts.renew(self.engine, self.work.attempt_id, self.work.lease_token, now=now, lease_s=0)
        else:
            attempts.no_word(self.engine, self.work, next_poll_at=now + timedelta(seconds=again_s))
        silent_s = self._silent_s(now)
        if silent_s < self.lease_s * patience:
            return
        if broken:
            with apart("could not stop attempt", attempt_id=str(self.work.attempt_id)):
                self.backend.stop(self.handle, hard=True)
        elif patience == 1:
            self.backend.stop(self.handle, hard=True)  # so that it does not start after all
        reason = f"nothing was heard of it for {silent_s:.0f} s"
        if lose(self.engine, self.work.attempt_id, now=now, simulated=self.backend.simulated, reason=reason):
            log.warning("gave up attempt", attempt_id=str(self.work.attempt_id), silent_s=round(silent_s))

    def refuse(self, reason: str, *, for_good: bool = False) -> None:
        """It cannot be started; what was rented for it is given back at its expense. `for_good`: nor anywhere else."""
        work = self.work
        if not attempts.renew(self.engine, work.attempt_id, work.lease_token, now=self.clock(), lease_s=self.lease_s):
            return  # somebody else has taken over, and may have started it
        self.backend.stop(self.handle, hard=True)
        outcome = Outcome.FAILED if for_good else Outcome.LOST
        result = AttemptResult(outcome=outcome, reason=reason, used_s=0.0, simulated=self.backend.simulated)
        machine = self.work.machine
        if machine is not None and pools.alone_on_card(self.engine, self.work):
            word = self.backend.release(machine.key)
            to_s = machine.metered_s if word.metered_s is None else word.metered_s
            result = replace(result, meter=Meter(from_s=machine.metered_s, to_s=to_s), machine_gone=True)
        self._finish(result, [])

    def _finish(self, result: AttemptResult, chunks: Sequence[LogChunk]) -> None:
        work = self.work
        if attempts.finish(self.engine, work.attempt_id, result, now=self.clock(), chunks=chunks):
            log.info(
                "ended attempt",
                attempt_id=str(work.attempt_id),
                job_id=str(work.job_id),
                outcome=str(result.outcome),
                reason=result.reason,
                runtime_s=result.runtime_s,
                simulated=result.simulated,
            )
        if work.machine is not None and pools.is_releasing(self.engine, work.machine.id):
            reconciler = Reconciler(engine=self.engine, backends={}, clock=self.clock)
            reconciler.give_back(self.backend, work.machine)

    def _mark_running(self, now: datetime, next_poll_at: datetime, *, began_s: float | None) -> None:
        work = self.work
        attempts.mark_running(
            self.engine, work.attempt_id, work.lease_token, self.handle, simulated=self.backend.simulated,
            card_id=work.card_id, began_s=began_s, now=now, next_poll_at=next_poll_at,
        )  # fmt: skip

    def _collect(self, *, ended: bool) -> Sequence[LogChunk]:
        return self.backend.collect(self.handle, self.work.collected, ended=ended)

    def _rest_s(self, now: datetime) -> float:
        rest_s = rest_between_looks_s(now, self.work.claimed_at, self.poll_interval_s)
        return min(rest_s, self.poll_interval_s) if self.work.cancel_requested else rest_s


def rest_between_looks_s(now: datetime, since: datetime, interval_s: float) -> float:
    """Seconds until the next look at something that has gone on since a time."""
    ran_s = (now - since).total_seconds()
    soon = min(max(_SHORTEST_REST_S, ran_s / 2), interval_s)
    return max(soon, min(ran_s * _REST_SHARE, _LONGEST_REST_S))


def goes_on_quietly(backend: Backend, glance: AttemptGlance) -> bool:
    """Whether a running attempt runs on, with nothing printed and nobody asking it to stop."""
    if glance.state is not AttemptState.RUNNING or glance.cancel_requested:
        return False
    try:
        if backend.poll(glance.handle).phase is not Phase.RUNNING:
            return False
        return not backend.collect(glance.handle, glance.collected, ended=False)
    except SoftTimeLimitExceeded:
        raise
    except Exception:
        return False  # the look at it alone knows what to do then
