"""Bring attempts from placed to ended in short steps, each of which any worker may take after any other died.

PostgreSQL says what should be, a backend says what is, and no step trusts the memory of an earlier one.
Where a worker may die, and who goes on:

- before `claim`: the attempt is still reserved; the message comes again, or the sweep rings again.
- after `claim`, before `mark_starting`: nothing was started. When the lease expires the sweep rings again, and
  another claim takes over. A worker that merely slept finds its token gone at `mark_starting` and starts nothing.
- after `mark_starting`, before or during `start`: the handle is stored, so a poll finds the place and calls `start`
  again. A backend starts an attempt once, however often it is asked.
- after `start`, before `mark_running`: the same poll; this time it finds it running.
- while the command runs: the supervisor goes on without us. The lease of the look expires, the next poll looks.
- after the command's end, before `finish` commits: the supervisor's last word stays on disk for the next poll.
- after `finish`, before `release`: what is left on disk belongs to an ended attempt, and `sweep` tidies up.

Messages that come twice, or late, meet a guarded UPDATE that no longer applies and do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from scheduler.domain.attempt import AttemptResult, AttemptWork
from scheduler.domain.errors import NotFound
from scheduler.domain.states import AttemptState, Outcome
from scheduler.services import attempts
from scheduler.services.sweep import sweep
from scheduler.storage.engine import Engine
from workers.backends.base import Backend
from workers.step import Step

log = structlog.get_logger(__name__)

LOOK_LEASE_S = 20.0
"""A look takes milliseconds; one that has taken this long has died, and the next may go ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """The attempts of an installation, on the backends of this worker."""

    engine: Engine
    backends: Mapping[str, Backend]
    clock: Callable[[], datetime]
    lease_s: float
    poll_interval_s: float

    def launch(self, attempt_id: UUID) -> None:
        """Claim a placed attempt and start it."""
        work = attempts.claim(self.engine, attempt_id, now=self.clock(), lease_s=self.lease_s)
        if work is None:
            return
        if work.backend not in self.backends:
            reason = f"this worker has no backend {work.backend!r}"
            result = AttemptResult(outcome=Outcome.LOST, reason=reason, used_s=0.0, simulated=False)
            attempts.finish(self.engine, attempt_id, result, now=self.clock())
            return
        handle = self.backends[work.backend].locate(attempt_id)
        now = self.clock()
        takeover = now + timedelta(seconds=self.lease_s)
        if attempts.mark_starting(self.engine, attempt_id, work.lease_token, handle, now=now, next_poll_at=takeover):
            self._step(replace(work, state=AttemptState.STARTING, handle=handle))

    def look(self, attempt_id: UUID) -> None:
        """See how a started attempt is doing, and do what that calls for."""
        work = attempts.take_poll(self.engine, attempt_id, now=self.clock(), lease_s=min(self.lease_s, LOOK_LEASE_S))
        if work is not None and work.backend in self.backends:
            self._step(work)

    def sweep(self) -> None:
        """Find what fell through, in PostgreSQL and on this host."""
        swept = sweep(self.engine, now=self.clock(), lost_after_s=self.lease_s)
        for attempt_id in swept.silent:
            self.look(attempt_id)
        for imbalance in swept.imbalances:
            log.error("found capacity that does not add up", imbalance=str(imbalance))
        if swept.rung_again or swept.silent:
            log.info("swept", rung_again=len(swept.rung_again), silent=len(swept.silent))
        for backend in self.backends.values():
            backend.tidy(self._has_ended)

    def _step(self, work: AttemptWork) -> None:
        assert work.handle is not None  # noqa: S101 - stored before anything is started
        Step(
            engine=self.engine,
            backend=self.backends[work.backend],
            work=work,
            handle=work.handle,
            clock=self.clock,
            lease_s=self.lease_s,
            poll_interval_s=self.poll_interval_s,
        ).take()

    def _has_ended(self, attempt_id: UUID) -> bool:
        """Only what we know to have ended: an attempt of another installation on this host is not ours to clear."""
        try:
            return attempts.state_of(self.engine, attempt_id) is AttemptState.ENDED
        except NotFound:
            return False
