"""Carry out the placements of new jobs, one or many, in one short transaction of few statements.

It either does all of it or nothing. Nothing is done where anything is not as simple as it mostly is: capacity went
meanwhile, jobs wait that may come first, a quota is to be kept, a key was used before. `placing.place` knows what to do
then, and takes the jobs one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from scheduler.dispatch import LAUNCH, QUEUE_OF
from scheduler.domain.decision import Judged, Placement
from scheduler.domain.spec import JobSpec
from scheduler.domain.states import JobState
from scheduler.services.memory import Decided, Memory
from scheduler.services.seats import opens_card
from scheduler.services.standing import Newcomer, in_the_way
from scheduler.storage import placed, queue, reservations
from scheduler.storage.engine import Engine, Session, retried, transaction
from scheduler.storage.ids import made_at, new_id
from scheduler.storage.placed import NewlyPlaced
from scheduler.storage.views import DecisionView, JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A job that was decided and is not stored yet."""

    spec: JobSpec
    sha256: str
    tenant_id: UUID
    idempotency_key: str | None
    decided: Decided
    now: datetime
    shares: bool = False
    """Whether its tenant lets jobs share cards."""


class _NotSoSimple(Exception):
    """One by one, then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A draft on its way into the database."""

    draft: Draft
    row: NewlyPlaced
    chosen: Judged
    shelf: Hashable
    """Decisions with this in common can share candidates: of one database, tenant and month."""

    @property
    def newcomer(self) -> Newcomer:
        """The job as one that would take capacity."""
        assert self.chosen.estimate is not None  # noqa: S101 - what was chosen was reckoned
        job = self.row.job
        return Newcomer(
            job_id=job.id, tenant_id=job.tenant_id, priority=job.priority,
            use_p90_s=self.chosen.estimate.use_p90_s, beside=frozenset(),
        )  # fmt: skip


def place_new(engine: Engine, memory: Memory, drafts: Sequence[Draft]) -> list[tuple[JobView, DecisionView]] | None:
    """Store jobs with their placements and reserve for all of them; None where nothing was done."""
    own: dict[Hashable, UUID] = {}
    made: list[_Made] = []
    for draft in drafts:
        decision = draft.decided.decision
        if not isinstance(decision, Placement) or decision.chosen.sharing is not None:
            return None
        made.append(_make(engine, memory, draft, decision.chosen, own))
    try:
        _carry_out(engine, made)
    except _NotSoSimple:
        for one in made:
            memory.stored.drop(one.shelf)  # it may be that those candidates are not there any more
        return None
    for one in made:
        if one.draft.decided.remembered and one.shelf in own:
            memory.stored.put(one.shelf, (one.row.decision.candidates, own[one.shelf]))
    return [(one.row.job, one.row.decision) for one in made]


@retried
def _carry_out(engine: Engine, made: Sequence[_Made]) -> None:
    with transaction(engine) as session:
        _store(session, made)


def _store(session: Session, made: Sequence[_Made]) -> None:
    if not placed.add(session, [one.row for one in made], task=LAUNCH, queue=QUEUE_OF[LAUNCH]):
        raise _NotSoSimple
    wanted: Counter[UUID] = Counter()
    for one in made:
        wanted[one.chosen.offer.id] += one.chosen.gpu_count
    free = reservations.take(session, wanted)  # the last locks of this transaction, as everywhere
    if free is None:
        raise _NotSoSimple
    # asked while the offers are locked, so that nobody slips in between
    if queue.is_empty(session):
        return
    if len(made) > 1:
        raise _NotSoSimple
    one, offer = made[0], made[0].chosen.offer
    if in_the_way(session, one.newcomer, offer, one.chosen.gpu_count, free=free[offer.id], now=one.draft.now):
        raise _NotSoSimple


def _make(engine: Engine, memory: Memory, draft: Draft, chosen: Judged, own: dict[Hashable, UUID]) -> _Made:
    # what was chosen was forecast
    assert chosen.forecast is not None and chosen.estimate is not None  # noqa: S101, PT018
    spec, view, job_id, decision_id = draft.spec, draft.decided.view, new_id(), new_id()
    shelf = engine, draft.tenant_id, f"{made_at(decision_id):%Y-%m}", id(view.candidates)
    kept = memory.stored.get(shelf)
    shared = own.get(shelf) if kept is None else kept[1]
    if shared is None:
        own[shelf] = decision_id
    job = JobView(
        id=job_id, tenant_id=draft.tenant_id, name=spec.name, state=JobState.PLACED, spec=view.spec,
        priority=spec.priority, max_attempts=spec.max_attempts, attempts_made=1, spent_micros=0, reason=None,
        simulated=False, cancel_requested_at=None, created_at=draft.now, ended_at=None, next_decision_at=None,
    )  # fmt: skip
    row = NewlyPlaced(
        job=job,
        spec_sha256=draft.sha256,
        idempotency_key=draft.idempotency_key,
        decision=replace(view, id=decision_id, job_id=job_id, number=1),
        candidates_of=shared,
        attempt_id=new_id(),
        offer=chosen.offer,
        micros_per_gpu_hour=chosen.micros_per_gpu_hour,
        forecast=chosen.forecast.to_json(),
        committed_micros=chosen.estimate.try_p90_micros,
        opens_card=draft.shares and opens_card(spec, chosen),
    )
    return _Made(draft=draft, row=row, chosen=chosen, shelf=shelf)
