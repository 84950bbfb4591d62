"""What a submission would decide now: asked as `placing` asks, with nothing locked and nothing held."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from scheduler.domain.decision import Decision, Judged, Placement
from scheduler.domain.placement import decide
from scheduler.domain.room import OPEN, Room
from scheduler.domain.spec import JobSpec
from scheduler.services.outlook import Prospect
from scheduler.services.standing import Newcomer, holds_a_start, in_the_way, left_by_others, quota_left
from scheduler.storage import queue
from scheduler.storage.engine import Engine, reading
from scheduler.storage.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """A decision, and what it and all that is said beside it look at."""

    decision: Decision
    prospect: Prospect
    room: Room
    """What quotas and those who come first leave to the job."""


def decide_as_submitted(
    engine: Engine, spec: JobSpec, prospect: Prospect, *, tenant_id: UUID, now: datetime
) -> Foreseen:
    """Decide, and again with less room as long as a placement would be undone for a quota or for who comes first."""
    with reading(engine) as session:
        left = quota_left(session, tenant_id, now)
        nobody_waits = not queue.rivals_of(session, spec.priority)
    newcomer = Newcomer(
        job_id=new_id(), tenant_id=tenant_id, priority=spec.priority, use_p90_s=0.0, beside=frozenset()
    )  # fmt: skip
    room = OPEN
    while True:
        decision = decide(spec, prospect.proposals, prospect.forecasts, now=now, room=room)
        if not isinstance(decision, Placement):
            break
        chosen = decision.chosen
        assert chosen.estimate is not None  # noqa: S101 - what was chosen was reckoned
        gpus = chosen.gpu_count if chosen.sharing is None else 0
        if room.headroom is not left and not left.holds(gpus, chosen.estimate.try_p90_micros):
            room = replace(room, headroom=left)
            continue
        newcomer = replace(newcomer, use_p90_s=chosen.estimate.use_p90_s)
        if nobody_waits or not _others_first(engine, newcomer, chosen, prospect, now):
            break
        if chosen.sharing is not None:
            prospect = prospect.on(replace(prospect.proposals.inventory, cards=()))
            continue
        room = _behind(engine, newcomer, prospect, replace(room, ahead=room.ahead | {chosen.offer.id}), now)
    room = replace(room, headroom=left)
    if not nobody_waits:
        room = _behind(engine, newcomer, prospect, room, now)
        if isinstance(decision, Placement):  # there it was looked at more closely
            at = decision.chosen.offer.id
            kept = {offer_id: one for offer_id, one in room.kept.items() if offer_id != at}
            room = replace(room, ahead=room.ahead - {at}, kept=kept)
    return Foreseen(decision=decision, prospect=prospect, room=room)


def _others_first(engine: Engine, newcomer: Newcomer, chosen: Judged, prospect: Prospect, now: datetime) -> bool:
    inventory, offer = prospect.proposals.inventory, chosen.offer
    with reading(engine) as session:
        if chosen.sharing is not None:
            return holds_a_start(session, newcomer, offer.id, now=now)
        free = int(inventory.free()[inventory.stock.place_of[offer.id]])
        return in_the_way(session, newcomer, offer, chosen.gpu_count, free=free, now=now)


def _behind(engine: Engine, newcomer: Newcomer, prospect: Prospect, room: Room, now: datetime) -> Room:
    with reading(engine) as session:
        return left_by_others(session, newcomer, prospect.proposals.inventory, room, now=now)
