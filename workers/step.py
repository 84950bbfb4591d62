"""One step of one attempt: compare what PostgreSQL says should be with what the backend says is, and act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from scheduler.domain.attempt import AttemptResult, AttemptWork, LogChunk
from scheduler.domain.states import AttemptState, Outcome
from scheduler.services import attempts
from scheduler.services.sweep import lose
from scheduler.storage.engine import Engine
from workers.backends.base import Backend, Handle, Phase, Report, StartFailed
from workers.outcomes import result_of

log = structlog.get_logger(__name__)

_SHORTEST_REST_S = 0.1
"""Jobs of a second are looked at often at first: whoever starts one waits for it."""
_REST_SHARE = 0.05
"""A job is looked at again after a twentieth of the time it has run, so its end is seen late by 5 % at most …"""
_LONGEST_REST_S = 15.0
"""… or by this."""
_ELSEWHERE_PATIENCE = 10
"""Leases to wait for the worker of another host before its attempts are given up."""


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
        report = self.backend.poll(self.handle)
        if report.phase is Phase.ABSENT and self.work.state is AttemptState.STARTING:
            try:
                self.backend.start(self.work)
            except StartFailed as error:
                self._refuse(str(error), simulated=report.simulated)
                return
            report = self.backend.poll(self.handle)
        elif report.phase is Phase.ABSENT:  # it ran, and now its place is gone
            report = replace(report, phase=Phase.VANISHED)
        match report.phase:
            case Phase.ENDED | Phase.VANISHED:
                self._conclude(report)
            case Phase.STARTING | Phase.RUNNING:
                self._go_on(report)
            case Phase.ABSENT | Phase.ELSEWHERE:
                self._wait_for_word(report)

    def _go_on(self, report: Report) -> None:
        """All is well; say so and when to look again."""
        if self.work.cancel_requested:
            self.backend.stop(self.handle, hard=False)
        now = self.clock()
        next_poll_at = now + timedelta(seconds=self._rest_s(now))
        if report.phase is Phase.RUNNING and self.work.state is AttemptState.STARTING:
            self._mark_running(now, next_poll_at)  # what it has printed is collected by the next look
        else:
            chunks = self._collect(ended=False)
            attempts.still_running(self.engine, self.work, chunks=chunks, now=now, next_poll_at=next_poll_at)

    def _conclude(self, report: Report) -> None:
        """Record the outcome with the last of the output, then let go of what is on the machine."""
        if report.runtime_s and self.work.state is AttemptState.STARTING:
            # it ran and ended between two looks; its story is told in order all the same
            self._mark_running(self.clock(), self.clock())
        result = result_of(
            report,
            cancel_requested=self.work.cancel_requested,
            has_device_memory=self.work.usable_vram_gib is not None,
        )
        self._finish(result, self._collect(ended=True))
        self.backend.release(self.handle)

    def _wait_for_word(self, report: Report) -> None:
        """Nothing can be seen of it from here: let another look, and give it up when nobody has seen it for long."""
        now = self.clock()
        attempts.renew(self.engine, self.work.attempt_id, self.work.lease_token, now=now, lease_s=0)
        silent_s = (now - (self.work.seen_at or self.work.claimed_at)).total_seconds()
        elsewhere = report.phase is Phase.ELSEWHERE
        if silent_s < self.lease_s * (_ELSEWHERE_PATIENCE if elsewhere else 1):
            return
        if not elsewhere:
            self.backend.stop(self.handle, hard=True)  # so that it does not start after all
        reason = f"nothing was heard of it for {silent_s:.0f} s"
        lose(self.engine, self.work.attempt_id, now=now, simulated=report.simulated, reason=reason)
        log.warning("gave up attempt", attempt_id=str(self.work.attempt_id), silent_s=round(silent_s))

    def _refuse(self, reason: str, *, simulated: bool) -> None:
        """It cannot be started, and the machine was not used."""
        self.backend.stop(self.handle, hard=True)
        self._finish(AttemptResult(outcome=Outcome.LOST, reason=reason, used_s=0.0, simulated=simulated), [])

    def _finish(self, result: AttemptResult, chunks: list[LogChunk]) -> None:
        if attempts.finish(self.engine, self.work.attempt_id, result, now=self.clock(), chunks=chunks):
            log.info(
                "ended attempt",
                attempt_id=str(self.work.attempt_id),
                job_id=str(self.work.job_id),
                outcome=str(result.outcome),
                reason=result.reason,
                runtime_s=result.runtime_s,
                simulated=result.simulated,
            )

    def _mark_running(self, now: datetime, next_poll_at: datetime) -> None:
        work = self.work
        attempts.mark_running(
            self.engine, work.attempt_id, work.lease_token, self.handle, now=now, next_poll_at=next_poll_at
        )

    def _collect(self, *, ended: bool) -> list[LogChunk]:
        since = attempts.collected_bytes(self.engine, self.work.attempt_id)
        return self.backend.collect(self.handle, since, ended=ended)

    def _rest_s(self, now: datetime) -> float:
        ran_s = (now - self.work.claimed_at).total_seconds()
        soon = min(max(_SHORTEST_REST_S, ran_s / 2), self.poll_interval_s)
        return soon if self.work.cancel_requested else max(soon, min(ran_s * _REST_SHARE, _LONGEST_REST_S))
