"""Carry out a decision: reserve, record, move the job on and ring the worker, in one short transaction.

Forecasts are made and the choice is taken before the transaction opens. If the chosen capacity has gone by then,
the transaction is undone and the choice is taken again without that offer, from the same forecasts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from scheduler.dispatch import LAUNCH, QUEUE_OF
from scheduler.domain.backfill import Reservation
from scheduler.domain.decision import Decision, Judged, Placement, Refusal, Wait
from scheduler.domain.fair_share import headroom
from scheduler.domain.fit import Tried
from scheduler.domain.placement import decide
from scheduler.domain.room import OPEN, Headroom, Room
from scheduler.domain.spec import JobSpec
from scheduler.domain.states import DecisionKind, JobState
from scheduler.domain.verdicts import Code
from scheduler.services.describe import describe
from scheduler.services.ending import announce
from scheduler.services.memory import Decided
from scheduler.services.outlook import Prospect
from scheduler.services.standing import Newcomer, in_the_way, left_by_others
from scheduler.storage import attempts, decisions, events, jobs, outbox, queue, reservations, tenants
from scheduler.storage.engine import Engine, Session, transaction
from scheduler.storage.ids import new_id
from scheduler.storage.views import DecisionView, JobView

RECONSIDER_S = (2.0, 60.0)
"""Seconds after which a waiting job is decided again although no capacity was seen to return, at least and at most:
capacity also changes from outside, and a release may have been missed by a hair. In between, a quarter of the time
that it has waited."""

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
    room: Room = OPEN,
    turn: Turn | None = None,
    first: Decided | None = None,
) -> tuple[JobView, DecisionView] | None:
    """Decide and carry it out; None where `open_job` found nothing to decide.

    `first` is the decision that is tried first, where one was taken already.
    """
    taken: set[UUID] = set()
    if turn is not None and turn.waits:
        taken = {offer.id for offer in prospect.proposals.inventory.stock.offers}
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
        try:
            with transaction(engine) as session:
                job = open_job(session)
                return None if job is None else _carry_out(session, job, decision, view, turn, now)
        except _CapacityGone as gone:
            taken.add(gone.offer_id)  # it is never chosen again, so this ends
        except _QuotaGone as gone:
            room = replace(room, headroom=gone.left)  # nothing above it is chosen again
        except _OthersFirst as others:
            blocked, kept = left_by_others(engine, others.newcomer, prospect.proposals.inventory, now=now)
            taken |= {others.offer_id, *blocked}
            room = replace(room, kept={**room.kept, **kept})


def _carry_out(
    session: Session, job: JobView, decision: Decision, view: DecisionView, turn: Turn | None, now: datetime
) -> tuple[JobView, DecisionView]:
    number, last = decisions.latest_kind(session, job.id)
    view = replace(view, id=new_id(), job_id=job.id, number=number + 1)
    waits_again = decision.kind is DecisionKind.WAIT and last is DecisionKind.WAIT
    if not waits_again:  # a job may wait for days; only the first of its waits in a row is worth a record
        decisions.add(session, view, tenant_id=job.tenant_id)
    if isinstance(decision, Placement):
        beside = frozenset() if turn is None else turn.beside
        return _reserve(session, job, decision.chosen, view, beside, now), view
    if isinstance(decision, Refusal):
        job = jobs.move(
            session, job, JobState.INFEASIBLE, now=now, kind="job_refused", reason=decision.reason,
            data={"decision_id": str(view.id)},
        )  # fmt: skip
        announce(session, job)
        return job, view
    _enter(session, job, decision, turn.reserved if turn else None, now)
    soonest, latest = RECONSIDER_S
    rest_s = min(latest, max(soonest, (now - job.created_at).total_seconds() / 4))
    jobs.change(session, job.id, reason=decision.reason, next_decision_at=now + timedelta(seconds=rest_s))
    if not waits_again:
        events.add(
            session, tenant_id=job.tenant_id, job_id=job.id, kind="job_waits", now=now,
            data={"decision_id": str(view.id), "reason": decision.reason},
        )  # fmt: skip
    return jobs.get(session, job.tenant_id, job.id), view


def _enter(session: Session, job: JobView, decision: Wait, held: Reservation | None, now: datetime) -> None:
    """Let others know what this job waits for; a quota is nothing that others could leave to it."""
    stopped_by = decision.considered.candidates[0].verdict.code
    options = decision.options.ranked
    queue.enter(
        session, job_id=job.id, tenant_id=job.tenant_id, since=job.created_at, now=now,
        wants={} if stopped_by in (Code.QUOTA, Code.QUOTA_SPEND) else queue.wants_of(options),
        options=queue.kept_options(options),
        reserved_offer_id=None if held is None else held.option.offer_id,
        reserved_gpus=None if held is None else held.option.gpu_count,
        reserved_start_at=None if held is None else now + timedelta(seconds=held.start_s),
    )  # fmt: skip


def _reserve(
    session: Session, job: JobView, chosen: Judged, decision: DecisionView, beside: frozenset[UUID], now: datetime
) -> JobView:
    offer, forecast, layout, estimate = chosen.offer, chosen.forecast, chosen.layout, chosen.estimate
    # what was chosen was forecast
    assert forecast is not None and layout is not None and estimate is not None  # noqa: S101, PT018
    _keep_quota(session, job, chosen.gpu_count, estimate.p90_micros, now)
    # the last lock of this transaction: job, attempt, tenant, offer is the order everywhere
    free = reservations.reserve(session, offer.id, chosen.gpu_count)
    if free is None:
        raise _CapacityGone(offer.id)
    newcomer = Newcomer(
        job_id=job.id, tenant_id=job.tenant_id, priority=job.priority, use_p90_s=estimate.use_p90_s, beside=beside
    )
    if in_the_way(session, newcomer, offer, chosen.gpu_count, free=free, now=now):
        raise _OthersFirst(offer.id, newcomer)
    attempt_id = new_id()
    attempts.add(
        session, now=now, id=attempt_id, tenant_id=job.tenant_id, job_id=job.id, decision_id=decision.id,
        number=job.attempts_made + 1, backend=offer.backend, offer_id=offer.id, provider=offer.provider,
        region=offer.region, gpu_type=offer.gpu_type, gpu_count=chosen.gpu_count, layout=layout.to_json(),
        spot=chosen.spot, micros_per_gpu_hour=chosen.micros_per_gpu_hour,
        billing_increment_s=offer.billing_increment_s, minimum_s=offer.minimum_s, provision_s=offer.provision_s,
        forecast=forecast.to_json(),
    )  # fmt: skip
    reservations.open_for(
        session, attempt_id=attempt_id, tenant_id=job.tenant_id, offer_id=offer.id, gpu_count=chosen.gpu_count,
        committed_micros=estimate.p90_micros, now=now,
    )  # fmt: skip
    moved = jobs.move(
        session, job, JobState.PLACED, now=now, kind="job_placed", attempt_id=attempt_id,
        data={"decision_id": str(decision.id), "gpu_type": offer.gpu_type, "gpu_count": chosen.gpu_count,
              "provider": offer.provider, "region": offer.region},
        attempts_made=job.attempts_made + 1, next_decision_at=None,
    )  # fmt: skip
    outbox.ring(session, LAUNCH, QUEUE_OF[LAUNCH], attempt_id=attempt_id)
    return moved


def _keep_quota(session: Session, job: JobView, gpus: int, micros: int, now: datetime) -> None:
    limits = tenants.lock_limits(session, job.tenant_id)
    if limits is None:
        return
    held, month = tenants.use_of(session, job.tenant_id, now)
    left = headroom(limits.max_gpus, limits.max_micros_per_month, gpus=held, month_micros=month)
    if (left.gpus is not None and gpus > left.gpus) or (left.micros is not None and micros > left.micros):
        raise _QuotaGone(left)
