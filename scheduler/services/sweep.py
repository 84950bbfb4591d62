"""Find what fell through: doorbells that were lost, workers that fell silent, capacity nobody holds.

PostgreSQL knows what should be going on, so that a broker may lose everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from scheduler.dispatch import LAUNCH, QUEUE_OF
from scheduler.domain.attempt import AttemptResult
from scheduler.domain.states import Outcome
from scheduler.services.attempts import finish
from scheduler.services.retention import make_months
from scheduler.storage import attempts, outbox, reservations
from scheduler.storage.engine import Engine, retried, transaction
from scheduler.storage.reservations import Imbalance

BATCH = 500

UNCLAIMED_S = 20.0
"""Seconds after which a placed attempt that nobody claimed is rung again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep found and did."""

    rung_again: tuple[UUID, ...]
    """Placed and never claimed, or claimed by somebody who fell silent before starting anything."""
    silent: tuple[UUID, ...]
    """Started, and no backend has given word of them for too long: stop what may still run, then call `lose`."""
    leaked: tuple[UUID, ...]
    """Ended, and still holding capacity; always empty, or something is wrong. Released."""
    imbalances: tuple[Imbalance, ...]
    """Offers whose counter was not the sum of its open reservations; always empty, or something is wrong. Set right."""


def sweep(engine: Engine, *, now: datetime, lost_after_s: float, unclaimed_s: float = UNCLAIMED_S) -> Swept:
    """Ring again what was lost on the way, and name what has fallen silent."""
    make_months(engine, now=now)
    with transaction(engine) as session:
        unclaimed = attempts.never_claimed(session, before=now - timedelta(seconds=unclaimed_s), limit=BATCH)
        dropped = attempts.claim_expired(session, now=now, limit=BATCH)
        for attempt_id in (*unclaimed, *dropped):
            outbox.ring(session, LAUNCH, QUEUE_OF[LAUNCH], attempt_id=attempt_id)
        silent = attempts.silent_since(session, before=now - timedelta(seconds=lost_after_s), limit=BATCH)
    leaked, unbalanced = _mend_capacity(engine, now)
    return Swept(
        rung_again=(*unclaimed, *dropped), silent=tuple(silent), leaked=tuple(leaked), imbalances=tuple(unbalanced)
    )


@retried
def _mend_capacity(engine: Engine, now: datetime) -> tuple[list[UUID], list[Imbalance]]:
    with transaction(engine) as session:
        leaked, unbalanced = reservations.leaked(session), reservations.imbalances(session)
        if leaked or unbalanced:
            reservations.mend(session, {*leaked.values(), *(found.offer_id for found in unbalanced)}, now=now)
    return list(leaked), unbalanced


def lose(engine: Engine, attempt_id: UUID, *, now: datetime, simulated: bool, reason: str) -> bool:
    """Give up on an attempt: it is lost, and its job is placed again while attempts and budget last."""
    return finish(engine, attempt_id, AttemptResult(outcome=Outcome.LOST, reason=reason, simulated=simulated), now=now)
