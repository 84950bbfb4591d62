"""Machines, in transitions: each is one guarded statement and says whether it was the one that moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, exists, func, or_, select, text, update

from scheduler.domain.machines import ON_ITS_WAY, STANDING, Machine, MachineState, Tariff, states_before
from scheduler.domain.states import AttemptState
from scheduler.domain.stock import Warm
from scheduler.storage.base import core
from scheduler.storage.engine import Session
from scheduler.storage.tables import Attempt, Installation, MachineRow

_TARIFF = ("gpu_count", "micros_per_gpu_hour", "billing_increment_s", "minimum_s")
_REST = (
    "id", "tenant_id", "key", "state", "backend", "account", "offer_id", "provider", "region", "gpu_type", "spot",
    "provision_s", "attempt_id", "metered_s", "billed_micros",
)  # fmt: skip
_MACHINES, _ATTEMPTS = core(MachineRow), core(Attempt)
_M = _MACHINES.c
_COLUMNS = [_M[name] for name in (*_TARIFF, *_REST)]


def _machine(row: Mapping[Any, Any]) -> Machine:
    rest = {name: row[name] for name in _REST}
    rest["state"] = MachineState(rest["state"])
    return Machine(**rest, tariff=Tariff(**{name: row[name] for name in _TARIFF}))


def installation_id(session: Session) -> UUID:
    """Who we are to providers."""
    return session.execute(select(Installation.id)).scalar_one()


_POOL = ("tenant_id", "offer_id", "spot", *_TARIFF)
_CHOSEN = (
    select(_M.id)
    .where(
        _M.state == MachineState.IDLE,
        _M.account == bindparam("whose"),
        *(
            _M[name] == select(_ATTEMPTS.c[name]).where(_ATTEMPTS.c.id == bindparam("attempt")).scalar_subquery()
            for name in _POOL
        ),
    )
    .order_by(_M.idle_at.desc())
    .limit(1)
    .with_for_update(skip_locked=True)
    .cte("chosen")
)
_TAKE_IDLE = (
    update(_MACHINES)
    .where(_M.id.in_(select(_CHOSEN.c.id)))
    .values(state=MachineState.READY, attempt_id=bindparam("attempt"), keep_until=None)
    .returning(*_COLUMNS)
)


def take_idle(session: Session, attempt_id: UUID, *, account: str) -> Machine | None:
    """Give an attempt a warm machine of its pool: same tenant, offer, size, price and account; None if there is none.

    The one that fell idle last is taken, so that the others come to the end of their keeping.
    """
    row = session.execute(_TAKE_IDLE, {"attempt": attempt_id, "whose": account}).mappings().one_or_none()
    return None if row is None else _machine(row)


def warm(session: Session, tenant_id: UUID) -> dict[UUID, Warm]:
    """The machine that fell idle last of each offer, of those that a tenant keeps on demand.

    Its meter is taken to have run on since; the provider's own word is asked when it is given back.
    """
    idle_s = func.extract("epoch", func.now() - MachineRow.idle_at).label("idle_s")
    rows = session.execute(
        select(*_COLUMNS, idle_s)
        .where(
            MachineRow.tenant_id == tenant_id, MachineRow.state == MachineState.IDLE, ~MachineRow.spot,
            text("state <> 'gone'"),  # in these words there is an index, and those that are gone are never read
        )
        .order_by(MachineRow.idle_at.desc())
    ).mappings()  # fmt: skip
    found: dict[UUID, Warm] = {}
    for row in rows:
        machine, metered_s = _machine(row), float(row["metered_s"]) + float(row["idle_s"])
        paid_s = int(machine.tariff.charged(metered_s).billed_s - metered_s)
        found.setdefault(machine.offer_id, Warm(gpus=machine.tariff.gpu_count, paid_s=max(0, paid_s)))
    return found


def lock_pool(session: Session, offer_id: UUID) -> None:
    """One at a time orders machines of an offer, or two could order the last one that it has room for."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:offer, 7))"), {"offer": str(offer_id)})


_RENTED = text("""
SELECT coalesce(sum(gpu_count), 0), coalesce(sum(gpu_count) FILTER (WHERE state = 'releasing'), 0),
       (SELECT capacity_gpus FROM offers WHERE id = :offer)
FROM machines WHERE offer_id = :offer AND state <> 'gone'
""")


def rented_gpus(session: Session, offer_id: UUID) -> tuple[int, int, int]:
    """GPUs of an offer on machines that are not gone, those of them on machines that are being let go, and how many the
    offer has."""
    rented, leaving, capacity = session.execute(_RENTED, {"offer": offer_id}).one()
    return int(rented), int(leaving), int(capacity)


def evict_idle(session: Session, offer_id: UUID, *, gpus: int, reason: str, now: datetime) -> int:
    """Let go of idle machines of an offer, those that idle longest first, until so many GPUs leave; how many do."""
    idle = session.execute(
        select(MachineRow.id, MachineRow.gpu_count)
        .where(MachineRow.offer_id == offer_id, MachineRow.state == MachineState.IDLE)
        .order_by(MachineRow.idle_at)
        .with_for_update(skip_locked=True)
    ).all()
    freed, chosen = 0, []
    for machine_id, count in idle:
        if freed >= gpus:
            break
        freed += int(count)
        chosen.append(machine_id)
    if chosen:
        session.execute(
            update(MachineRow)
            .where(MachineRow.id.in_(chosen))
            .values(state=MachineState.RELEASING, keep_until=now, reason=reason)
            .execution_options(synchronize_session=False)
        )
    return freed


_ORDER = text(f"""
INSERT INTO machines (id, key, state, account, simulated, attempt_id, requested_at, tenant_id, backend, offer_id,
                      provider, region, gpu_type, spot, provision_s, gpu_count, micros_per_gpu_hour,
                      billing_increment_s, minimum_s)
SELECT :machine, 'pythia-' || installation.id || '-' || :machine, '{MachineState.REQUESTED}', :account, :simulated,
       a.id, :now, tenant_id, backend, offer_id, provider, region, gpu_type, spot, provision_s, gpu_count,
       micros_per_gpu_hour, billing_increment_s, minimum_s
FROM attempts a CROSS JOIN installation WHERE a.id = :attempt
RETURNING {", ".join(column.key for column in _COLUMNS)}
""")  # noqa: S608 - names of columns and a state


def order(
    session: Session, machine_id: UUID, attempt_id: UUID, *, account: str, simulated: bool, now: datetime
) -> Machine:
    """Write a machine down for an attempt, on its terms, before the provider is asked for it."""
    given = {"machine": machine_id, "attempt": attempt_id, "account": account, "simulated": simulated, "now": now}
    return _machine(session.execute(_ORDER, given).mappings().one())


# several attempts may be on one machine; it names but one of them
_ITS_OWN = select(_ATTEMPTS.c.machine_id).where(
    _ATTEMPTS.c.id == bindparam("attempt"), _ATTEMPTS.c.state != AttemptState.ENDED
)
_OF_ATTEMPT = select(*_COLUMNS).where(_M.id == _ITS_OWN.scalar_subquery(), _M.state != MachineState.GONE)
_LOCK_OF_ATTEMPT = _OF_ATTEMPT.with_for_update(key_share=True)
_LOCK = select(*_COLUMNS).where(_M.id == bindparam("machine")).with_for_update(key_share=True)
_LOCK_BY_KEY = select(*_COLUMNS).where(_M.key == bindparam("named")).with_for_update(key_share=True)


def of_attempt(session: Session, attempt_id: UUID) -> Machine | None:
    """The machine that an attempt holds."""
    return _one(session, _OF_ATTEMPT, attempt=attempt_id)


def lock_of_attempt(session: Session, attempt_id: UUID) -> Machine | None:
    """The same, held until the transaction ends; the last lock of every transaction."""
    return _one(session, _LOCK_OF_ATTEMPT, attempt=attempt_id)


def lock(session: Session, machine_id: UUID) -> Machine | None:
    """Hold a machine until the transaction ends."""
    return _one(session, _LOCK, machine=machine_id)


def lock_by_key(session: Session, key: str) -> Machine | None:
    """The same, by its name at the provider."""
    return _one(session, _LOCK_BY_KEY, named=key)


_FORGET = text("""
INSERT INTO forgotten_machines (key, backend, account, simulated, metered_s, found_at)
VALUES (:key, :backend, :account, :simulated, :metered_s, :now)
ON CONFLICT (key) DO UPDATE SET metered_s = coalesce(excluded.metered_s, forgotten_machines.metered_s)
""")


def note_forgotten(
    session: Session, key: str, *, backend: str, account: str, simulated: bool, metered_s: float | None, now: datetime
) -> None:
    """Keep what is known of a machine that has no row: its meter, and neither its price nor whose it was."""
    given = {"key": key, "backend": backend, "account": account, "simulated": simulated}
    session.execute(_FORGET, {**given, "metered_s": metered_s, "now": now})


_STATE = select(_M.state).where(_M.id == bindparam("machine"))


def state_of(session: Session, machine_id: UUID) -> MachineState:
    """Where a machine stands now."""
    return MachineState(session.execute(_STATE, {"machine": machine_id}).scalar_one())


def _one(session: Session, query: Any, **given: UUID | str) -> Machine | None:
    row = session.execute(query, given).mappings().one_or_none()
    return None if row is None else _machine(row)


def on_its_way(session: Session, machine_id: UUID) -> bool:
    """The provider has taken the order."""
    return _moved(session, machine_id, (MachineState.REQUESTED,), state=MachineState.PROVISIONING)


_BEGAN = (
    update(_MACHINES)
    .where(
        _M.id == _ITS_OWN.scalar_subquery(),
        _M.state != MachineState.GONE,
        _M.state.in_(states_before(MachineState.BUSY)),
    )
    .values(
        state=MachineState.BUSY,
        ready_at=func.coalesce(_M.ready_at, bindparam("now")),
        simulated=bindparam("drawn"),  # of one that a worker of an earlier version ordered it is known only now
    )
)


def began(session: Session, attempt_id: UUID, *, simulated: bool, now: datetime) -> None:
    """The command of the attempt that holds it runs, so it has come, whether or not anybody said so."""
    session.execute(_BEGAN, {"attempt": attempt_id, "now": now, "drawn": simulated})


_CHANGE = update(_MACHINES).where(_M.id == bindparam("machine"))


def change(session: Session, machine_id: UUID, **values: Any) -> None:
    """Set columns of a machine that this transaction holds."""
    session.execute(_CHANGE, {"machine": machine_id, **values})


def let_go_expired(session: Session, backend: str, account: str, *, now: datetime, limit: int) -> Sequence[Machine]:
    """Idle machines whose keeping has ended start being let go; with those that somebody else began to let go."""
    expired = (
        select(MachineRow.id)
        .where(
            MachineRow.backend == backend,
            MachineRow.account == account,
            or_(
                (MachineRow.state == MachineState.IDLE) & (MachineRow.keep_until <= now),
                MachineRow.state == MachineState.RELEASING,
            ),
        )
        .order_by(MachineRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )
    rows = session.execute(
        update(MachineRow)
        .where(MachineRow.id.in_(select(expired.c.id)))
        .values(
            state=MachineState.RELEASING,
            reason=func.coalesce(MachineRow.reason, "a cold start costs less than idling"),
        )
        .returning(*_COLUMNS)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    return [_machine(row) for row in rows.mappings()]


_LET_GO_ORPHANS = (
    update(_MACHINES)
    .where(
        _M.state.in_((*ON_ITS_WAY, *STANDING)),
        _ATTEMPTS.c.id == _M.attempt_id,
        _ATTEMPTS.c.state == AttemptState.ENDED,
    )
    .values(
        state=MachineState.RELEASING, keep_until=bindparam("now"), attempt_id=None,
        reason="its attempt has ended without a word of it",
    )
    .returning(_M.id)
)  # fmt: skip


def let_go_orphans(session: Session, *, now: datetime) -> Sequence[UUID]:
    """Machines whose attempt has ended start being let go; whoever ends an attempt does so at once, but for versions
    that knew of no machines."""
    return session.execute(_LET_GO_ORPHANS, {"now": now}).scalars().all()


def abandoned(session: Session, backend: str, *, but: str, before: datetime) -> Sequence[UUID]:
    """Machines of other accounts that were to be let go before a time, and that nobody has let go."""
    query = select(MachineRow.id).where(
        MachineRow.backend == backend,
        MachineRow.account != but,
        MachineRow.state.in_((MachineState.IDLE, MachineState.RELEASING)),
        MachineRow.keep_until <= before,
    )
    return session.execute(query).scalars().all()


def standing(session: Session, backend: str, account: str) -> Sequence[Machine]:
    """Machines that the provider has said are there, of one account."""
    rows = session.execute(
        select(*_COLUMNS).where(
            MachineRow.backend == backend, MachineRow.account == account, MachineRow.state.in_(STANDING)
        )
    )
    return [_machine(row) for row in rows.mappings()]


def live_keys(session: Session, keys: Sequence[str]) -> set[str]:
    """Which of these are machines of ours that are not gone."""
    query = select(MachineRow.key).where(MachineRow.key.in_(keys), MachineRow.state != MachineState.GONE)
    return set(session.execute(query).scalars())


def any_live(session: Session) -> bool:
    """Whether anything is rented."""
    return bool(session.execute(select(exists().where(MachineRow.state != MachineState.GONE))).scalar_one())


def arrivals(session: Session, machine: Machine, *, since: datetime) -> int:
    """Attempts that were placed on a machine's pool since a time."""
    return int(
        session.execute(
            select(func.count()).where(
                Attempt.offer_id == machine.offer_id,
                Attempt.reserved_at >= since,
                Attempt.tenant_id == machine.tenant_id,
                Attempt.gpu_count == machine.tariff.gpu_count,
                Attempt.spot == machine.spot,
            )
        ).scalar_one()
    )


def _moved(session: Session, machine_id: UUID, before: Sequence[MachineState], **values: Any) -> bool:
    returned = session.execute(
        update(MachineRow)
        .where(MachineRow.id == machine_id, MachineRow.state.in_(before))
        .values(**values)
        .returning(MachineRow.id)
        .execution_options(synchronize_session=False)
    )
    return returned.one_or_none() is not None
