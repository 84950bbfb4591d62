"""Carry doorbells from PostgreSQL to the broker: at least once, in short transactions, publishing outside of them.

Several relays may run; each takes rows that no other holds. One that dies in the middle loses its rows to the
others after `CLAIM_S`, and what it had already published is published again: every task may be rung twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from scheduler.dispatch import PLACE_WAITING, POLL, QUEUE_OF, SWEEP, Dispatcher
from scheduler.services.trainings import ring_training_if_due
from scheduler.storage import attempts, jobs, outbox
from scheduler.storage.engine import Engine, transaction

log = structlog.get_logger(__name__)

CLAIM_S = 30.0
"""Seconds a relay has for publishing what it took, before another may take it."""

RING_AGAIN_S = 15.0
"""Seconds after which an attempt whose poll was rung, and which nobody looked at, is rung again."""

LOOK_FOR_TRAINING = timedelta(minutes=1)
"""How often it is asked whether a training is due, or was left behind."""

KEPT = timedelta(days=1)
"""How long sent rows are kept for looking back."""


@dataclass(slots=True)
class Relay:
    """One loop's worth of carrying; `step` is called again and again."""

    engine: Engine
    dispatcher: Dispatcher
    batch: int = 100
    placer_interval_s: float = 1.0
    sweep_interval_s: float = 10.0
    retrain_interval_s: float = 0.0
    """0: nothing is trained by itself."""
    _next_placing: datetime | None = field(default=None, init=False)
    _next_sweep: datetime | None = field(default=None, init=False)
    _next_training: datetime | None = field(default=None, init=False)

    def step(self, now: datetime) -> int:
        """Carry what is due; how many doorbells were rung. A broker that fails raises, and the rows stay unsent."""
        return self._outbox(now) + self._polls(now) + self._maintenance(now)

    def _outbox(self, now: datetime) -> int:
        with transaction(self.engine) as session:
            taken = outbox.claim(session, now=now, until=now + timedelta(seconds=CLAIM_S), limit=self.batch)
        sent: list[int] = []
        try:
            for doorbell in taken:
                self.dispatcher.send(doorbell.task, QUEUE_OF[doorbell.task], doorbell.arguments)
                sent.append(doorbell.id)
        finally:
            if taken:
                with transaction(self.engine) as session:
                    outbox.mark_sent(session, sent, now)
                    outbox.give_back(session, [doorbell.id for doorbell in taken if doorbell.id not in set(sent)])
        return len(sent)

    def _polls(self, now: datetime) -> int:
        with transaction(self.engine) as session:
            again_at = now + timedelta(seconds=RING_AGAIN_S)
            due = attempts.take_due(session, now=now, again_at=again_at, limit=self.batch)
        for attempt_id in due:
            self.dispatcher.send(POLL, QUEUE_OF[POLL], {"attempt_id": str(attempt_id)})
        return len(due)

    def _maintenance(self, now: datetime) -> int:
        rung = 0
        if self._next_placing is None or now >= self._next_placing:
            self._next_placing = now + timedelta(seconds=self.placer_interval_s)
            with transaction(self.engine) as session:
                waiting = jobs.any_waiting(session, now)
            if waiting:
                self.dispatcher.send(PLACE_WAITING, QUEUE_OF[PLACE_WAITING], {})
                rung += 1
        if self._next_sweep is None or now >= self._next_sweep:
            self._next_sweep = now + timedelta(seconds=self.sweep_interval_s)
            with transaction(self.engine) as session:
                outbox.forget_sent(session, now - KEPT)
            self.dispatcher.send(SWEEP, QUEUE_OF[SWEEP], {})
            rung += 1
        if self._next_training is None or now >= self._next_training:
            self._next_training = now + LOOK_FOR_TRAINING
            ring_training_if_due(self.engine, now=now, interval_s=self.retrain_interval_s)
        return rung


def run(
    relay: Relay,
    *,
    interval_s: float,
    clock: Callable[[], datetime],
    rest: Callable[[float], bool],
) -> None:
    """Carry until `rest` says to stop: it waits so many seconds and returns True once it is time to go.

    An outage of the broker or of PostgreSQL is no reason to die: everything is still in the rows.
    """
    trouble = 0
    idle = 0
    while True:
        try:
            rung = relay.step(clock())
        except Exception as error:
            trouble += 1
            log.warning("could not carry messages", error=f"{type(error).__name__}: {error}"[:300], tries=trouble)
            if rest(min(5.0, 0.2 * 2 ** min(trouble, 5))):
                return
            continue
        trouble = 0
        idle = 0 if rung else idle + 1
        # at rest look a little less often: four times the interval at most
        if rest(0.0 if rung >= relay.batch else interval_s * min(4, 1 + idle // 20)):
            return
