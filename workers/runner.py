"""Bring attempts from placed to ended in short steps, each of which any worker may take after any other died.

PostgreSQL says what should be, a backend says what is, and no step trusts the memory of an earlier one.
Where a worker may die, and who goes on:

- before `claim`: the attempt is still reserved; the message comes again, or the sweep rings again.
- after `claim`, before `mark_starting`: nothing was started. When the lease expires the sweep rings again, and
  another claim takes over. A worker that merely slept finds its token gone at `mark_starting` and starts nothing.
- after `mark_starting`, before or during `start`: the handle is stored, so a poll finds the place and calls `start`
  again. A backend starts an attempt once, however often it is asked.
- while its machine is on its way: the same poll orders it again under the same key, and gets the same machine.
- after `start`, before `mark_running`: the same poll; this time it finds it running.
- while it asks on its machine for what must be handed over there: the same poll calls `start` once more, which answers.
- while the command runs: the supervisor goes on without us. The lease of the look expires, the next poll looks.
- after the command's end, before `finish` commits: the supervisor's last word stays on disk for the next poll.
- after `finish`, before `clear` and `release`: what is left on disk belongs to an ended attempt, and `sweep` tidies
  up; a machine that is not kept is `releasing`, and the reconciler (`workers/reconciler.py`) gives it back.

Messages that come twice, or late, meet a guarded UPDATE that no longer applies and do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from scheduler.domain.attempt import AttemptGlance, AttemptResult, AttemptWork
from scheduler.domain.errors import NotFound
from scheduler.domain.states import AttemptState, Outcome
from scheduler.services import attempts, hosts, pools
from scheduler.services.log_search import forget_logs
from scheduler.services.sweep import sweep
from scheduler.storage.engine import Engine
from workers.apart import apart
from workers.backends.base import Backend
from workers.reconciler import Pace, Reconciler
from workers.step import Step, goes_on_quietly, rest_between_looks_s

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
    host: str | None = None
    """Where this worker is; what was placed on another host that has registered is left to that one."""
    log_days: float = 7.0
    pace: Pace = field(default_factory=Pace)
    """How often it compares machines with their providers."""

    def launch(self, attempt_id: UUID) -> None:
        """Claim a placed attempt and start it."""
        work = attempts.claim(self.engine, attempt_id, now=self.clock(), lease_s=self.lease_s, host=self.host)
        if work is None:
            return
        if work.backend not in self.backends:
            reason = f"this worker has no backend {work.backend!r}"
            result = AttemptResult(outcome=Outcome.LOST, reason=reason, used_s=0.0, simulated=False)
            attempts.finish(self.engine, attempt_id, result, now=self.clock())
            return
        backend = self.backends[work.backend]
        handle = backend.locate(attempt_id)
        now = self.clock()
        starting = attempts.mark_starting(
            self.engine, attempt_id, work.lease_token, handle, account=backend.account, simulated=backend.simulated,
            now=now, next_poll_at=now + timedelta(seconds=self.lease_s),
        )  # fmt: skip
        if starting is not None:
            self._step(starting)

    def look(self, attempt_id: UUID) -> None:
        """See how a started attempt is doing, and do what that calls for."""
        work = attempts.take_poll(self.engine, attempt_id, now=self.clock(), lease_s=min(self.lease_s, LOOK_LEASE_S))
        if work is not None and work.backend in self.backends:
            self._step(work)

    def look_at_all(self, attempt_ids: Sequence[UUID]) -> None:
        """The same for many: those that go on quietly are noted together, the others are looked at one by one."""
        lease_s = min(self.lease_s, LOOK_LEASE_S)
        quiet: dict[UUID, datetime] = {}
        changed: list[AttemptGlance] = []
        glances = attempts.take_polls(self.engine, attempt_ids, now=self.clock(), lease_s=lease_s)
        for glance in glances:
            backend = self.backends.get(glance.backend)
            if backend is None:
                continue  # the lease ends by itself, and a worker that has the backend looks
            if goes_on_quietly(backend, glance):
                now = self.clock()
                rest_s = rest_between_looks_s(now, glance.claimed_at, self.poll_interval_s)
                quiet[glance.attempt_id] = now + timedelta(seconds=rest_s)
            else:
                changed.append(glance)
        if quiet:
            attempts.all_still_running(self.engine, glances[0].lease_token, quiet, now=self.clock())
        for glance in changed:
            with apart("could not look at attempt", attempt_id=str(glance.attempt_id)):
                work = attempts.whole_work(self.engine, glance)
                if work is not None:
                    self._step(work)

    def sweep(self) -> None:
        """Find what fell through, in PostgreSQL and on this host; what fails of it keeps back nothing else."""
        with apart("could not look for silent hosts"):
            self._miss_hosts()
        with apart("could not sweep"):
            self._sweep()
        for name, backend in self.backends.items():
            with apart("could not tidy up", backend=name):
                backend.tidy(self._has_ended)
        with apart("could not let go of orphaned machines"):
            for machine_id in pools.let_go_orphans(self.engine, now=self.clock()):
                log.warning("let go of a machine whose attempt has ended", machine_id=str(machine_id))
        with apart("could not forget logs"):
            forget_logs(self.engine, older_than=timedelta(days=self.log_days), now=self.clock())
        self.reconcile()

    def _miss_hosts(self) -> None:
        missed = hosts.miss(self.engine, now=self.clock(), silent_after_s=self.lease_s)
        for name in missed.fell_silent:
            log.warning("missed host", host=name, silent_s=self.lease_s)
        for attempt_id in missed.lost:
            log.warning("gave up attempt", attempt_id=str(attempt_id), reason="its host is silent")

    def _sweep(self) -> None:
        swept = sweep(self.engine, now=self.clock(), lost_after_s=self.lease_s)
        for attempt_id in swept.silent:
            with apart("could not look at attempt", attempt_id=str(attempt_id)):
                self.look(attempt_id)
        for attempt_id in swept.leaked:
            log.error("released capacity of an ended attempt", attempt_id=str(attempt_id))
        for found in swept.imbalances:
            offer_id, counted, held = str(found.offer_id), found.counted, found.held
            log.error("set right what is counted as held", offer_id=offer_id, counted=counted, held=held)
        if swept.rung_again or swept.silent:
            log.info("swept", rung_again=len(swept.rung_again), silent=len(swept.silent))

    def reconcile(self) -> None:
        """Compare our machines with what their providers have."""
        Reconciler(engine=self.engine, backends=self.backends, clock=self.clock, pace=self.pace).reconcile()

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
