"""Cards that several attempts of a tenant are on: opened, joined and left in guarded statements.

Whoever joins or leaves a card, begins on it or looks for its machine holds its row, after those of the job and the
attempt and before those of the offer and the machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update

from predictor.forecast import Vram
from scheduler.domain.machines import Tariff
from scheduler.domain.sharing import MOST_ON_A_CARD, Card, Member, Presence, Work, served_s
from scheduler.domain.spec import Constraints
from scheduler.domain.states import AttemptState
from scheduler.storage.base import core
from scheduler.storage.engine import Session
from scheduler.storage.tables import Attempt, CardRow

MOST_CARDS = 50
"""Cards that one decision looks at, the oldest first."""

_OPEN = insert(core(CardRow))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCard:
    """A card that this transaction holds."""

    id: UUID
    machine_id: UUID | None
    seats: int
    joinable: bool


@dataclass(frozen=True, slots=True)
class Runner:
    """An attempt that runs on a card."""

    attempt_id: UUID
    job_id: UUID


def open_for(
    session: Session, attempt_id: UUID, *, tenant_id: UUID, offer_id: UUID, tariff: Tariff, provision_s: float,
    now: datetime,
) -> None:  # fmt: skip
    """A card that an attempt is the first on; it is named after the attempt."""
    session.execute(
        _OPEN,
        {"id": attempt_id, "tenant_id": tenant_id, "offer_id": offer_id, "provision_s": provision_s, "opened_at": now,
         "micros_per_gpu_hour": tariff.micros_per_gpu_hour, "billing_increment_s": tariff.billing_increment_s,
         "minimum_s": tariff.minimum_s},
    )  # fmt: skip


def join(session: Session, card_id: UUID, *, tenant_id: UUID, version: int) -> bool:
    """Take a seat on a card on which nobody has joined since; False where somebody has, or it cannot be joined."""
    taken = session.execute(
        update(CardRow)
        .where(
            CardRow.id == card_id, CardRow.tenant_id == tenant_id, CardRow.version == version, CardRow.joinable,
            CardRow.closed_at.is_(None), CardRow.seats < MOST_ON_A_CARD,
        )
        .values(seats=CardRow.seats + 1, version=CardRow.version + 1)
        .returning(CardRow.id)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    return taken.one_or_none() is not None


def lock(session: Session, card_id: UUID) -> HeldCard:
    """Hold a card until the transaction ends."""
    columns = CardRow.id, CardRow.machine_id, CardRow.seats, CardRow.joinable
    row = session.execute(select(*columns).where(CardRow.id == card_id).with_for_update(key_share=True)).one()
    return HeldCard(**row._mapping)


def put_on(session: Session, card_id: UUID, machine_id: UUID) -> None:
    """A card that this transaction holds has its machine."""
    _change(session, card_id, machine_id=machine_id)


def spoil(session: Session, card_id: UUID) -> None:
    """Let nobody join a card any more."""
    _change(session, card_id, joinable=False)


def leave(session: Session, card: HeldCard, now: datetime) -> HeldCard:
    """Give a seat back; the last to leave closes the card."""
    left = card.seats - 1
    _change(session, card.id, seats=left, closed_at=None if left else now)
    return HeldCard(id=card.id, machine_id=card.machine_id, seats=left, joinable=card.joinable)


def running_on(session: Session, card_id: UUID) -> list[Runner]:
    """Attempts that have begun on a held card and not ended, in the order of their ids."""
    query = select(Attempt.id, Attempt.job_id).where(Attempt.card_id == card_id, Attempt.state == AttemptState.RUNNING)
    return [Runner(*row) for row in session.execute(query.order_by(Attempt.id))]


def next_holder(session: Session, card_id: UUID, *, but: UUID) -> UUID | None:
    """Who of those with a seat on a held card answers for it when another leaves."""
    query = select(Attempt.id).where(Attempt.card_id == card_id, Attempt.state != AttemptState.ENDED, Attempt.id != but)
    return session.execute(query.order_by(Attempt.id).limit(1)).scalar_one_or_none()


def had_company(session: Session, card_id: UUID, attempt_id: UUID, *, since: datetime) -> bool:
    """Whether another attempt was on a held card at any time since one came: those that ended without having run were
    not."""
    with_it = Attempt.ended_at.is_(None) | (Attempt.running_at.is_not(None) & (Attempt.ended_at >= since))
    query = select(Attempt.id).where(Attempt.card_id == card_id, Attempt.id != attempt_id, with_it)
    return session.execute(query.limit(1)).scalar_one_or_none() is not None


# Those who have ended count as well, as far back as somebody who runs may have shared the card with them
_OPEN_OF = text(f"""
WITH open AS (
  SELECT c.* FROM cards c
  WHERE c.tenant_id = :tenant AND c.closed_at IS NULL AND c.joinable AND c.seats < {MOST_ON_A_CARD}
  ORDER BY c.id LIMIT :most
)
SELECT open.id AS card_id, open.version, open.offer_id, open.micros_per_gpu_hour, open.billing_increment_s,
       open.minimum_s, open.provision_s, m.metered_s AS booked_s, m.ready_at, m.requested_at,
       a.id AS attempt_id, a.job_id, a.state, a.forecast, a.running_at, a.ended_at,
       j.spec -> 'constraints' AS constraints, j.spent_micros,
       coalesce((SELECT sum(l.micros) FROM ledger l WHERE l.attempt_id = a.id AND l.kind = 'attempt'), 0) AS booked
FROM open
JOIN attempts a ON a.card_id = open.id
JOIN jobs j ON j.id = a.job_id
LEFT JOIN machines m ON m.id = open.machine_id AND m.state <> 'gone'
WHERE a.state <> 'ended' OR a.ended_at > (
  SELECT min(b.running_at) FROM attempts b WHERE b.card_id = open.id AND b.state <> 'ended')
ORDER BY open.id, a.id
""")  # noqa: S608 - a number


def joinable_of(session: Session, tenant_id: UUID, now: datetime) -> tuple[Card, ...]:
    """The cards of a tenant that have a seat left, with those who are on them."""
    rows: dict[UUID, list[Mapping[Any, Any]]] = defaultdict(list)
    for row in session.execute(_OPEN_OF, {"tenant": tenant_id, "most": MOST_CARDS}).mappings():
        rows[row["card_id"]].append(row)
    cards = (_card(found, now) for found in rows.values())
    return tuple(card for card in cards if card is not None)


def _card(rows: Sequence[Mapping[Any, Any]], now: datetime) -> Card | None:
    """None where nothing is known of somebody there, so that nobody can be promised anything."""
    first = rows[0]
    live = [row for row in rows if row["state"] != AttemptState.ENDED]
    members = [_member(row, rows, now) for row in live]
    if not members or None in members:
        return None
    ready_at, provision_s = first["ready_at"], float(first["provision_s"])
    since_s = max(0.0, (now - ready_at).total_seconds()) if ready_at else 0.0
    ordered_s = max(0.0, (now - first["requested_at"]).total_seconds()) if first["requested_at"] else 0.0
    return Card(
        id=first["card_id"], version=first["version"], offer_id=first["offer_id"], provision_s=provision_s,
        tariff=Tariff(
            gpu_count=1, micros_per_gpu_hour=first["micros_per_gpu_hour"],
            billing_increment_s=first["billing_increment_s"], minimum_s=first["minimum_s"],
        ),
        ready_s=0.0 if ready_at else max(0.0, provision_s - ordered_s),
        booked_s=float(first["booked_s"] or 0.0),
        metered_s=max(float(first["booked_s"] or 0.0), provision_s + since_s) if ready_at else ordered_s,
        members=tuple(member for member in members if member is not None),
    )  # fmt: skip


def _member(row: Mapping[Any, Any], rows: Sequence[Mapping[Any, Any]], now: datetime) -> Member | None:
    forecast = row["forecast"]
    vram, usable, run = forecast.get("peak_vram_gib"), forecast.get("usable_vram_gib"), forecast.get("runtime_s")
    if not vram or vram["p50"] is None or not usable or not run or run["p50"] is None:
        return None
    startup_s = float(forecast.get("startup_s") or 0.0)
    whole = Work(p10_s=startup_s + run["p10"], p50_s=startup_s + run["p50"], p90_s=startup_s + run["p90"])
    mine = _presence(row, now)
    others = [_presence(one, now) for one in rows if one["attempt_id"] != row["attempt_id"]]
    served = 0.0 if mine is None else served_s(mine, [one for one in others if one is not None])
    return Member(
        attempt_id=row["attempt_id"], job_id=row["job_id"],
        vram=Vram(p50_gib=vram["p50"], p95_gib=vram["p95"]), fit_probability=forecast.get("fit_probability"),
        usable_gib=usable, whole=whole, rest=whole.after(served), elapsed_s=0.0 if mine is None else mine.from_s,
        constraints=Constraints.model_validate(row["constraints"] or {}),
        spent_micros=int(row["spent_micros"]) + int(row["booked"]),
    )  # fmt: skip


def _presence(row: Mapping[Any, Any], now: datetime) -> Presence | None:
    began, ended = row["running_at"], row["ended_at"]
    if began is None:
        return None
    to_s = 0.0 if ended is None else max(0.0, (now - ended).total_seconds())
    return Presence(from_s=max(to_s, (now - began).total_seconds()), to_s=to_s)


def _change(session: Session, card_id: UUID, **values: Any) -> None:
    session.execute(
        update(CardRow).where(CardRow.id == card_id).values(**values).execution_options(synchronize_session=False)
    )
