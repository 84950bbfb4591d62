"""Carry out a decision: reserve, record, move the job on and ring the worker, in one short transaction.

Forecasts are made and the choice is taken before the transaction opens. If the chosen capacity has gone by then,
the transaction is undone and the choice is taken again without that offer, from the same forecasts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from scheduler.dispatch import LAUNCH, QUEUE_OF
from scheduler.domain.backfill import Reservation
from scheduler.domain.decision import Decision, Judged, Placement, Refusal
from scheduler.domain.fit import Tried
from scheduler.domain.placement import decide
from scheduler.domain.room import OPEN, Headroom, Room
from scheduler.domain.spec import JobSpec
from scheduler.domain.states import DecisionKind, JobState
from scheduler.services.describe import describe
from scheduler.services.ending import announce
from scheduler.services.memory import Decided
from scheduler.services.outlook import Prospect, with_cards_of_now
from scheduler.services.seats import CardGone, open_card, opens_card, take_seat
from scheduler.services.standing import Newcomer, in_the_way, left_by_others, quota_left
from scheduler.services.waiting_on import entry_of, reconsidered_at
from scheduler.storage import attempts, decisions, events, jobs, outbox, queue, reservations
from scheduler.storage.engine import Engine, Session, reading, retried, transaction
from scheduler.storage.ids import new_id
from scheduler.storage.views import DecisionView, JobView

MOST_LOOKS = 5
"""Times that a job looks for a card to share, which somebody else joined before it; then it has one of its own."""

OpenJob = Callable[[Session], JobView | None]
"""Insert or lock the job inside the transaction; None where there is nothing to decide any more."""


class _CapacityGone(Exception):
    """Somebody else took the chosen capacity since the inventory was read."""

    def __init__(self, offer_id: UUID) -> None:
        self.offer_id = offer_id


class _QuotaGone(Exception):
    """The tenant has no such quota left."""

    def __init__(self, left: Headroom) -> None:
        self.left = left


class _OthersFirst(Exception):
    """Somebody of higher standing waits for the chosen capacity."""

    def __init__(self, offer_id: UUID, newcomer: Newcomer) -> None:
        self.offer_id, self.newcomer = offer_id, newcomer


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a round of waiting jobs came to for one of them."""

    assignment: Mapping[str, Any]
    """The round, for the record."""
    reserved: Reservation | None = None
    """The start that is held for this job."""
    beside: frozenset[UUID] = frozenset()
    """The jobs of the same round, which were all weighed together."""
    use: Mapping[UUID, float] = field(default_factory=dict)
    """What the tenants of the round have used of their shares."""
    waits: bool = False
    """It was weighed against the others and starts nothing now."""


def place(
    engine: Engine,
    spec: JobSpec,
    prospect: Prospect,
    open_job: OpenJob,
    *,
    now: datetime,
    spent_micros: int = 0,
    tried: Sequence[Tried] = (),
    passed: Set[UUID] = frozenset(),
    room: Room = OPEN,
    turn: Turn | None = None,
    first: Decided | None = None,
) -> tuple[JobView, DecisionView] | None:
    """Decide and carry it out; None where `open_job` found nothing to decide.

    `first` is the decision that is tried first, where one was taken already; offers that are `passed` are as if taken.
    """
    taken = set(passed)
    looks = 0
    if turn is not None:  # what was placed before it in the round may be joined
        prospect = _look_again(engine, prospect, now)
    if turn is not None and turn.waits:
        room = replace(room, ahead=frozenset(prospect.proposals.inventory.stock.place_of))
    while True:
        if first is None:
            decision = decide(
                spec, prospect.proposals, prospect.forecasts,
                now=now, spent_micros=spent_micros, tried=tried, taken=taken, room=room,
            )  # fmt: skip
            first = Decided(decision, describe(decision, spec, prospect, now))
        decision = first.decision
        view = replace(first.view, assignment=turn.assignment if turn else None)
        first = None
        opens = (
            isinstance(decision, Placement) and prospect.proposals.inventory.shares
            and decision.chosen.sharing is None and opens_card(spec, decision.chosen)
        )  # fmt: skip
        try:
            return _store(engine, open_job, decision, view, turn, now, opens)
        except _CapacityGone as gone:
            taken.add(gone.offer_id)  # it is never chosen again, so this ends
        except _QuotaGone as gone:
            room = replace(room, headroom=gone.left)  # nothing above it is chosen again
        except CardGone:
            looks += 1
            prospect = _look_again(engine, prospect, now, any_more=looks < MOST_LOOKS)
        except _OthersFirst as others:
            room = replace(room, ahead=room.ahead | {others.offer_id})
            with reading(engine) as session:
                room = left_by_others(session, others.newcomer, prospect.proposals.inventory, room, now=now)


@retried
def _store(
    engine: Engine, open_job: OpenJob, decision: Decision, view: DecisionView, turn: Turn | None, now: datetime,
    opens: bool,
) -> tuple[JobView, DecisionView] | None:  # fmt: skip
    with transaction(engine) as session:
        job = open_job(session)
        return None if job is None else _carry_out(session, job, decision, view, turn, now, opens=opens)


def _look_again(engine: Engine, prospect: Prospect, now: datetime, *, any_more: bool = True) -> Prospect:
    """The prospect with the cards that could be joined by now; with none where looking is to have an end."""
    inventory = prospect.proposals.inventory
    if prospect.tenant_id is None or not inventory.shares:
        return prospect
    if not any_more:
        return prospect.on(replace(inventory, cards=()))
    return with_cards_of_now(engine, prospect, prospect.tenant_id, now=now)


def _carry_out(
    session: Session, job: JobView, decision: Decision, view: DecisionView, turn: Turn | None, now: datetime, *,
    opens: bool,
) -> tuple[JobView, DecisionView]:  # fmt: skip
    if isinstance(decision, Placement):  # before anything is written in vain
        chosen = decision.chosen
        if chosen.sharing is None and not reservations.seems_free(session, chosen.offer.id, chosen.gpu_count):
            raise _CapacityGone(chosen.offer.id)
    number, last = decisions.latest_kind(session, job.id)
    view = replace(view, id=new_id(), job_id=job.id, number=number + 1)
    waits_again = decision.kind is DecisionKind.WAIT and last is DecisionKind.WAIT
    if not waits_again:  # a job may wait for days; only the first of its waits in a row is worth a record
        decisions.add(session, view, tenant_id=job.tenant_id)
    if isinstance(decision, Placement):
        return _reserve(session, job, decision.chosen, view, turn, now, opens=opens), view
    if isinstance(decision, Refusal):
        job = jobs.move(
            session, job, JobState.INFEASIBLE, now=now, kind="job_refused", reason=decision.reason,
            data={"decision_id": str(view.id)},
        )  # fmt: skip
        announce(session, job)
        return job, view
    reserved = turn.reserved if turn else None
    queue.enter(session, [entry_of(job, decision, reserved, now)])
    jobs.change(session, job.id, reason=decision.reason, next_decision_at=reconsidered_at(job, now))
    if not waits_again:
        events.add(
            session, tenant_id=job.tenant_id, job_id=job.id, kind="job_waits", now=now,
            data={"decision_id": str(view.id), "reason": decision.reason},
        )  # fmt: skip
    return jobs.get(session, job.tenant_id, job.id), view


def _reserve(
    session: Session, job: JobView, chosen: Judged, decision: DecisionView, turn: Turn | None, now: datetime, *,
    opens: bool,
) -> JobView:  # fmt: skip
    offer, forecast, layout, estimate = chosen.offer, chosen.forecast, chosen.layout, chosen.estimate
    # what was chosen was forecast
    assert forecast is not None and layout is not None and estimate is not None  # noqa: S101, PT018
    attempt_id, sharing = new_id(), chosen.sharing
    if opens:
        open_card(session, attempt_id, chosen, tenant_id=job.tenant_id, now=now)
    attempts.add(
        session, now=now, id=attempt_id, tenant_id=job.tenant_id, job_id=job.id, decision_id=decision.id,
        number=job.attempts_made + 1, backend=offer.backend, offer_id=offer.id, provider=offer.provider,
        region=offer.region, gpu_type=offer.gpu_type, gpu_count=chosen.gpu_count, layout=layout.to_json(),
        spot=chosen.spot, micros_per_gpu_hour=chosen.micros_per_gpu_hour,
        forecast=forecast.to_json(), **_terms(chosen),
        card_id=attempt_id if opens else None if sharing is None else sharing.card_id,
    )  # fmt: skip
    moved = jobs.move(
        session, job, JobState.PLACED, now=now, kind="job_placed", attempt_id=attempt_id,
        data={"decision_id": str(decision.id), "gpu_type": offer.gpu_type, "gpu_count": chosen.gpu_count,
              "provider": offer.provider, "region": offer.region},
        attempts_made=job.attempts_made + 1, next_decision_at=None,
    )  # fmt: skip
    outbox.ring(session, LAUNCH, QUEUE_OF[LAUNCH], attempt_id=attempt_id)
    # what others wait for is locked last and held for a few statements; if it has gone, all of this is undone.
    # Job, attempt, tenant, card, offer is the order everywhere
    gpus = chosen.gpu_count if sharing is None else 0
    _keep_quota(session, job, gpus, estimate.try_p90_micros, now)
    newcomer = Newcomer(
        job_id=job.id, tenant_id=job.tenant_id, priority=job.priority, use_p90_s=estimate.use_p90_s,
        beside=frozenset() if turn is None else turn.beside, use={} if turn is None else turn.use,
    )  # fmt: skip
    if sharing is not None:
        take_seat(session, sharing, newcomer, offer.id, now=now)
    else:
        free = reservations.reserve(session, offer.id, gpus)
        if free is None:
            raise _CapacityGone(offer.id)
        if in_the_way(session, newcomer, offer, gpus, free=free, now=now):
            raise _OthersFirst(offer.id, newcomer)
    reservations.open_for(
        session, attempt_id=attempt_id, tenant_id=job.tenant_id, offer_id=offer.id, gpu_count=gpus,
        committed_micros=estimate.try_p90_micros, now=now,
    )  # fmt: skip
    return moved


def _terms(chosen: Judged) -> dict[str, Any]:
    """Of the machine that the attempt would order: of one that is there already, as that one was ordered."""
    offer, sharing = chosen.offer, chosen.sharing
    if sharing is None:
        increment_s, minimum_s, provision_s = offer.billing_increment_s, offer.minimum_s, chosen.provision_s
    else:
        increment_s, minimum_s = sharing.tariff.billing_increment_s, sharing.tariff.minimum_s
        provision_s = offer.provision_s
    return {"billing_increment_s": increment_s, "minimum_s": minimum_s, "provision_s": provision_s}


def _keep_quota(session: Session, job: JobView, gpus: int, micros: int, now: datetime) -> None:
    left = quota_left(session, job.tenant_id, now, lock=True)
    if not left.holds(gpus, micros):
        raise _QuotaGone(left)
