"""The time of a machine that several attempts are on: cut wherever one begins or ends, and split among those who ran.

Each piece is what the provider has charged between two readings of the meter (`domain/machines`), in equal parts to
the micro-dollar, so that attempts and idle times add up to the bill as they do for machines of one attempt. Whoever
calls holds the card, so that the cuts of a machine come one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from scheduler.domain.attempt import AttemptResult
from scheduler.domain.machines import Machine, split
from scheduler.domain.settlement import Bill
from scheduler.domain.states import AttemptState, Outcome
from scheduler.services import pools
from scheduler.storage import cards, ledger, machines
from scheduler.storage.attempts import LockedAttempt
from scheduler.storage.cards import HeldCard, Runner
from scheduler.storage.engine import Session

_SPOILED = pools.NOT_AGAIN | {Outcome.OUT_OF_MEMORY}
"""Outcomes after which nobody joins a card any more: its machine may be bad, or the card is fuller than forecast."""


def begin(session: Session, card_id: UUID, attempt_id: UUID, began_s: float | None, now: datetime) -> None:
    """An attempt begins to run on a card: the time until then is that of those who ran before it."""
    card = cards.lock(session, card_id)
    if card.machine_id is None or began_s is None:
        return
    machine = machines.lock(session, card.machine_id)
    if machine is not None:
        before = [one for one in cards.running_on(session, card_id) if one.attempt_id != attempt_id]
        _cut(session, machine, began_s, before, now)


def leave(session: Session, card: HeldCard, attempt_id: UUID, result: AttemptResult, now: datetime) -> HeldCard:
    """Give an attempt's seat back; nobody joins any more where its end says something of the card."""
    left = cards.leave(session, card, now)
    if result.outcome in _SPOILED or result.machine_gone:
        cards.spoil(session, card.id)
        return replace(left, joinable=False)
    return left


def close(
    session: Session, card: HeldCard, attempt: LockedAttempt, job_id: UUID, result: AttemptResult, *, used_s: float,
    holder: UUID | None, now: datetime,
) -> Bill:  # fmt: skip
    """What an attempt that leaves a card has cost. `holder` is who answers for the machine from now on; with nobody
    left the machine is kept for the next attempt of its pool, or let go."""
    attempt_id = attempt.view.id
    machine = None if card.machine_id is None else machines.lock(session, card.machine_id)
    if machine is None:
        return Bill(billed_s=0, cost_micros=0)
    if holder is None:
        ran = attempt.view.state is AttemptState.RUNNING
        # one that never ran has used nothing of a machine that others ran on
        used_s = used_s if ran or (attempt.machine_id is not None and machine.metered_s == 0) else 0.0
        pools.let_go(session, machine, job_id, result, used_s=used_s, now=now, reusable=card.joinable)
        return ledger.total_of(session, attempt_id)
    if attempt.view.state is AttemptState.RUNNING and result.meter is not None:
        _cut(session, machine, result.meter.to_s, cards.running_on(session, card.id), now)
    if machine.attempt_id == attempt_id:
        machines.change(session, machine.id, attempt_id=holder)
    return ledger.total_of(session, attempt_id)


def _cut(session: Session, machine: Machine, to_s: float, present: Sequence[Runner], now: datetime) -> None:
    """Book a machine's time up to a reading of its meter; nothing where it is booked already."""
    from_s = machine.metered_s
    if to_s <= from_s:
        return
    piece = machine.tariff.charge(from_s, to_s)
    if not present:
        ledger.book(session, machine, piece, from_s=from_s, to_s=to_s, now=now)
    for one, part in zip(present, split(piece, len(present)), strict=True):
        ledger.book(
            session, machine, part, from_s=from_s, to_s=to_s, now=now, job_id=one.job_id, attempt_id=one.attempt_id,
            sharers=len(present),
        )  # fmt: skip
    machines.change(session, machine.id, metered_s=to_s, billed_micros=machine.billed_micros + piece.cost_micros)
