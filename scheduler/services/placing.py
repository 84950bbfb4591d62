"""Carry out a decision: reserve, record, move the job on and ring the worker, in one short transaction.

Forecasts are made and the choice is taken before the transaction opens. If the chosen capacity has gone by then,
the transaction is undone and the choice is taken again without that offer, from the same forecasts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from scheduler.dispatch import LAUNCH, QUEUE_OF
from scheduler.domain.decision import Decision, Judged, Placement, Refusal
from scheduler.domain.fit import Tried
from scheduler.domain.placement import decide
from scheduler.domain.spec import JobSpec
from scheduler.domain.states import DecisionKind, JobState
from scheduler.services.describe import describe
from scheduler.services.ending import announce
from scheduler.services.outlook import Prospect
from scheduler.storage import attempts, decisions, events, jobs, outbox, reservations
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


def place(
    engine: Engine,
    spec: JobSpec,
    prospect: Prospect,
    open_job: OpenJob,
    *,
    now: datetime,
    spent_micros: int = 0,
    tried: Sequence[Tried] = (),
) -> tuple[JobView, DecisionView] | None:
    """Decide and carry it out; None where `open_job` found nothing to decide."""
    taken: set[UUID] = set()
    while True:
        decision = decide(
            spec, prospect.proposals, prospect.forecasts,
            now=now, spent_micros=spent_micros, tried=tried, taken=taken,
        )  # fmt: skip
        view = describe(decision, spec, prospect, now)
        try:
            with transaction(engine) as session:
                job = open_job(session)
                return None if job is None else _carry_out(session, job, decision, view, now)
        except _CapacityGone as gone:
            taken.add(gone.offer_id)  # it is never chosen again, so this ends


def _carry_out(
    session: Session, job: JobView, decision: Decision, view: DecisionView, now: datetime
) -> tuple[JobView, DecisionView]:
    number, last = decisions.latest_kind(session, job.id)
    view = replace(view, id=new_id(), job_id=job.id, number=number + 1)
    waits_again = decision.kind is DecisionKind.WAIT and last is DecisionKind.WAIT
    if not waits_again:  # a job may wait for days; only the first of its waits in a row is worth a record
        decisions.add(session, view, tenant_id=job.tenant_id)
    if isinstance(decision, Placement):
        return _reserve(session, job, decision.chosen, view, now), view
    if isinstance(decision, Refusal):
        job = jobs.move(
            session, job, JobState.INFEASIBLE, now=now, kind="job_refused", reason=decision.reason,
            data={"decision_id": str(view.id)},
        )  # fmt: skip
        announce(session, job)
        return job, view
    soonest, latest = RECONSIDER_S
    rest_s = min(latest, max(soonest, (now - job.created_at).total_seconds() / 4))
    jobs.change(session, job.id, reason=decision.reason, next_decision_at=now + timedelta(seconds=rest_s))
    if not waits_again:
        events.add(
            session, tenant_id=job.tenant_id, job_id=job.id, kind="job_waits", now=now,
            data={"decision_id": str(view.id), "reason": decision.reason},
        )  # fmt: skip
    return jobs.get(session, job.tenant_id, job.id), view


def _reserve(session: Session, job: JobView, chosen: Judged, decision: DecisionView, now: datetime) -> JobView:
    offer, forecast, layout = chosen.offer, chosen.forecast, chosen.layout
    assert forecast is not None and layout is not None  # noqa: S101, PT018 - what was chosen was forecast
    # the last lock of this transaction: job, attempt, offer is the order everywhere
    if not reservations.reserve(session, offer.id, chosen.gpu_count):
        raise _CapacityGone(offer.id)
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
        session, attempt_id=attempt_id, tenant_id=job.tenant_id, offer_id=offer.id, gpu_count=chosen.gpu_count, now=now
    )
    moved = jobs.move(
        session, job, JobState.PLACED, now=now, kind="job_placed", attempt_id=attempt_id,
        data={"decision_id": str(decision.id), "gpu_type": offer.gpu_type, "gpu_count": chosen.gpu_count,
              "provider": offer.provider, "region": offer.region},
        attempts_made=job.attempts_made + 1, next_decision_at=None,
    )  # fmt: skip
    outbox.ring(session, LAUNCH, QUEUE_OF[LAUNCH], attempt_id=attempt_id)
    return moved
