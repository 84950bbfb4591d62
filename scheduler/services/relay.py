"""Carry doorbells from PostgreSQL to the broker: at least once, in short transactions, publishing outside of them.

Several relays may run; each takes rows that no other holds. One that dies in the middle loses its rows to the
others after `CLAIM_S`, and what it had already published is published again: every task may be rung twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from types import MappingProxyType
from uuid import UUID

import structlog

from scheduler.dispatch import PLACE_WAITING, POLL, QUEUE_OF, RECONCILE, SWEEP, Arguments, Dispatcher
from scheduler.services.trainings import ring_training_if_due
from scheduler.storage import attempts, hosts, jobs, machines, outbox
from scheduler.storage.engine import Engine, Session, at_once, transaction

log = structlog.get_logger(__name__)

CLAIM_S = 30.0
"""Seconds a relay has for publishing what it took, before another may take it."""

RING_AGAIN_S = 15.0
"""Seconds after which an attempt whose poll was rung, and which nobody looked at, is rung again."""

GLANCE_S = 0.02
"""How often a resting relay asks whether there is something to carry: one query, of a third of a millisecond."""

SHORTEST_EXPIRY_S = 300.0
"""What is rung again and again is of no use to a worker that comes after the next ring: an outage of workers leaves no
backlog to those who come back. It stays good for two intervals, so that one is there however long a queue is, and for
so long at least: sender and worker each go by their own clock, and one that is minutes off must not drop them all."""

MANY, TOGETHER = 8, 25
"""From so many due looks at once on, so many share a doorbell: ten thousand running jobs are looked at 700 times a
second, and most looks see nothing new."""

PLACER_REST_S = 0.2
"""Between two rings for those who decide on waiting jobs. Where many attempts end, one round that sees all they gave
back costs little more than one that sees a single card. Should a relay die in between, another rings as at any time."""

LOOK_FOR_TRAINING = timedelta(minutes=1)
"""How often it is asked whether a training is due, or was left behind."""

LOOK_FOR_HOSTS = timedelta(seconds=1)
"""How often it is asked whether any host has registered; a doorbell that went to others before rings again."""

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
    reconcile_interval_s: float = 2.0
    retrain_interval_s: float = 0.0
    """0: nothing is trained by itself."""
    _placer_wanted: bool = field(default=False, init=False)
    _placer_rests_until: datetime | None = field(default=None, init=False)
    _next_placing: datetime | None = field(default=None, init=False)
    _next_sweep: datetime | None = field(default=None, init=False)
    _next_reconciling: datetime | None = field(default=None, init=False)
    _next_training: datetime | None = field(default=None, init=False)
    _next_look_for_hosts: datetime | None = field(default=None, init=False)
    _any_hosts: bool = field(default=False, init=False)

    def step(self, now: datetime) -> int:
        """Carry what is due; how many doorbells were rung. A broker that fails raises, and the rows stay unsent."""
        carried = self._outbox(now)
        self._ring_placer(now)
        return carried + self._polls(now) + self._maintenance(now)

    def has_mail(self, now: datetime) -> bool:
        """Whether a doorbell waits to be carried."""
        if self._placer_is_due(now):
            return True
        with at_once(self.engine) as session:
            return outbox.any_unsent(session, now)

    def _outbox(self, now: datetime) -> int:
        with transaction(self.engine) as session:
            taken = outbox.claim(session, now=now, until=now + timedelta(seconds=CLAIM_S), limit=self.batch)
            ids = [doorbell.arguments["attempt_id"] for doorbell in taken if "attempt_id" in doorbell.arguments]
            places = self._hosts_of(session, ids, now)
        sent: list[int] = []
        try:
            for doorbell in taken:
                if doorbell.task == PLACE_WAITING:  # whoever is rung looks for all that wait
                    self._placer_wanted = True
                    sent.append(doorbell.id)
                    continue
                host = places.get(doorbell.arguments.get("attempt_id", ""))
                self.dispatcher.send(doorbell.task, QUEUE_OF[doorbell.task], doorbell.arguments, host=host)
                sent.append(doorbell.id)
        finally:
            if taken:
                with transaction(self.engine) as session:
                    outbox.mark_sent(session, sent, now)
                    outbox.give_back(session, [doorbell.id for doorbell in taken if doorbell.id not in set(sent)])
        return len(sent)

    def _placer_is_due(self, now: datetime) -> bool:
        return self._placer_wanted and (self._placer_rests_until is None or now >= self._placer_rests_until)

    def _ring_placer(self, now: datetime) -> None:
        if self._placer_is_due(now):
            self._ring(PLACE_WAITING, every_s=self.placer_interval_s)
            self._placer_wanted, self._placer_rests_until = False, now + timedelta(seconds=PLACER_REST_S)

    def _polls(self, now: datetime) -> int:
        with transaction(self.engine) as session:
            again_at = now + timedelta(seconds=RING_AGAIN_S)
            due = attempts.take_due(session, now=now, again_at=again_at, limit=self.batch)
            ids = [str(attempt_id) for attempt_id in due]
            places = self._hosts_of(session, ids, now)
        by_host: dict[str | None, list[str]] = {}
        for attempt_id in ids:
            by_host.setdefault(places.get(attempt_id), []).append(attempt_id)
        for host, theirs in by_host.items():
            if len(theirs) < MANY:  # which workers of an earlier version understand, too
                for one in theirs:
                    self._ring(POLL, {"attempt_id": one}, host=host, every_s=RING_AGAIN_S)
            else:
                for several in batched(theirs, TOGETHER):
                    self._ring(POLL, {"attempt_ids": ",".join(several)}, host=host, every_s=RING_AGAIN_S)
        return len(due)

    def _ring(
        self, task: str, arguments: Arguments = MappingProxyType({}), *, host: str | None = None, every_s: float
    ) -> None:
        """Ring what is rung again until it is answered."""
        expires_s = max(SHORTEST_EXPIRY_S, 2 * every_s)
        self.dispatcher.send(task, QUEUE_OF[task], arguments, host=host, expires_s=expires_s)

    def _hosts_of(self, session: Session, attempt_ids: Sequence[str], now: datetime) -> Mapping[str, str]:
        """The hosts that alone can answer for some attempts; most installations have none, and are asked seldom."""
        if self._next_look_for_hosts is None or now >= self._next_look_for_hosts:
            self._next_look_for_hosts = now + LOOK_FOR_HOSTS
            self._any_hosts = hosts.any_known(session)
        if not self._any_hosts:
            return {}
        found = hosts.of_attempts(session, [UUID(attempt_id) for attempt_id in attempt_ids])
        return {str(attempt_id): name for attempt_id, name in found.items()}

    def _maintenance(self, now: datetime) -> int:
        rung = 0
        if self._next_placing is None or now >= self._next_placing:
            self._next_placing = now + timedelta(seconds=self.placer_interval_s)
            with transaction(self.engine) as session:
                waiting = jobs.any_waiting(session, now)
            if waiting:
                self._placer_wanted = True
                self._ring_placer(now)
                rung += 1
        if self._next_sweep is None or now >= self._next_sweep:
            self._next_sweep = now + timedelta(seconds=self.sweep_interval_s)
            with transaction(self.engine) as session:
                outbox.forget_sent(session, now - KEPT)
                awake = hosts.awake(session)
            # each host clears up after itself; anybody can do the rest
            for host in (None, *awake):
                self._ring(SWEEP, host=host, every_s=self.sweep_interval_s)
            rung += 1 + len(awake)
        if self._next_reconciling is None or now >= self._next_reconciling:
            self._next_reconciling = now + timedelta(seconds=self.reconcile_interval_s)
            with transaction(self.engine) as session:
                rented = machines.any_live(session)
                awake = hosts.awake(session) if rented else ()
            if rented:  # what was forgotten is found by the sweep
                for host in (None, *awake):
                    self._ring(RECONCILE, host=host, every_s=self.reconcile_interval_s)
                rung += 1 + len(awake)
        if self._next_training is None or now >= self._next_training:
            self._next_training = now + LOOK_FOR_TRAINING
            ring_training_if_due(self.engine, now=now, interval_s=self.retrain_interval_s)
        return rung


def batched(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most so many, in order."""
    left = iter(items)
    while several := list(islice(left, size)):
        yield several


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
            idle = 0 if rung else idle + 1
            # at rest everything but new doorbells is looked for a little less often: four times the interval at most
            if rest(0.0) or (rung < relay.batch and _rest(relay, interval_s * min(4, 1 + idle // 20), clock, rest)):
                return
            trouble = 0
        except Exception as error:
            trouble += 1
            log.warning("could not carry messages", error=f"{type(error).__name__}: {error}"[:300], tries=trouble)
            if rest(min(5.0, 0.2 * 2 ** min(trouble, 5))):
                return


def _rest(relay: Relay, seconds: float, clock: Callable[[], datetime], rest: Callable[[float], bool]) -> bool:
    """Rest until there is a doorbell to carry, at most so long; whether it is time to go.

    Whoever submits a job waits for the first of its doorbells, so that is asked for again and again.
    """
    for _ in range(max(1, round(seconds / GLANCE_S))):
        if rest(min(seconds, GLANCE_S)):
            return True
        if relay.has_mail(clock()):
            break
    return False
