"""Machines for attempts: a warm one where there is one, else a new one; and what becomes of it afterwards.

A pool is what can stand in for each other: machines of one tenant, offer, size and price. They are rented when an
attempt has none to start on, kept for as long as the next job is likely to come soon (`domain/keeping`), and let go:
a pool without work has no machine. An idle machine holds no capacity of its offer. Whoever has reserved that capacity
and has no use for the machine sends it away first, so that a provider is never asked for more than it has.

The provider's word on seconds is booked as it comes (`domain/machines`): the time of an attempt with its end, idle time
with the beginning of the next attempt or with the machine's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from scheduler.domain.attempt import AttemptResult, AttemptWork
from scheduler.domain.keeping import Arrivals, keep_s, window_s
from scheduler.domain.machines import ON_ITS_WAY, Machine, MachineState, Meter
from scheduler.domain.settlement import Bill
from scheduler.domain.states import AttemptState, Outcome
from scheduler.storage import attempts, cards, jobs, ledger, machines
from scheduler.storage.engine import Engine, Session, at_once, transaction
from scheduler.storage.ids import new_id

NOT_AGAIN = frozenset({Outcome.LOST, Outcome.PREEMPTED})
"""Outcomes that say as much of the machine as of the attempt: nothing else is started on it."""


ABANDONED = timedelta(hours=1)
"""A machine that is a place on a host, and should have been let go this long ago, has gone with its host."""


def acquire(
    session: Session, work: AttemptWork, *, account: str, simulated: bool = False, now: datetime
) -> Machine | None:
    """A machine for an attempt that this transaction holds; None where an idle one has to leave first: ask again."""
    attempt_id, offer_id, gpu_count = work.attempt_id, work.offer_id, work.gpu_count
    card = None if work.card_id is None else cards.lock(session, work.card_id)
    if card is not None and card.machine_id is not None and (there := machines.lock(session, card.machine_id)):
        attempts.put_on(session, attempt_id, there.id)  # others of the card brought it
        return there
    machine = machines.take_idle(session, attempt_id, account=account)
    if machine is None:
        machines.lock_pool(session, offer_id)
        rented, leaving, capacity = machines.rented_gpus(session, offer_id)
        over = rented + gpu_count - capacity
        if over > 0:
            reason = "its place was needed for another machine"
            freed = 0
            if over > leaving:
                freed = machines.evict_idle(session, offer_id, gpus=over - leaving, reason=reason, now=now)
            if leaving or freed:
                return None
        # where nothing can leave, the capacity was lowered since it was reserved, and the provider has the last word
        machine = machines.order(session, new_id(), attempt_id, account=account, simulated=simulated, now=now)
    attempts.put_on(session, attempt_id, machine.id)
    if card is not None:
        cards.put_on(session, card.id, machine.id)
    return machine


def alone_on_card(engine: Engine, work: AttemptWork) -> bool:
    """Whether nobody else has a seat on an attempt's card, so that its machine may be given back with it: nobody takes
    one any more from then on, whatever the answer."""
    if work.card_id is None:
        return True
    with transaction(engine) as session:
        card = cards.lock(session, work.card_id)
        cards.spoil(session, card.id)
        return cards.next_holder(session, card.id, but=work.attempt_id) is None


def acquire_later(
    engine: Engine, work: AttemptWork, *, account: str, simulated: bool = False, now: datetime
) -> Machine | None:
    """The same for a starting attempt that had to wait for its machine."""
    with transaction(engine) as session:
        jobs.lock(session, work.job_id)
        attempt = attempts.lock(session, work.attempt_id)
        if attempt.lease_token != work.lease_token or attempt.view.state is not AttemptState.STARTING:
            return None
        return machines.of_attempt(session, work.attempt_id) or acquire(
            session, work, account=account, simulated=simulated, now=now
        )


def let_go(
    session: Session, machine: Machine, job_id: UUID, result: AttemptResult, *, used_s: float, now: datetime,
    reusable: bool = True,
) -> Bill:  # fmt: skip
    """An attempt ends that held a machine alone: book its time, and keep the machine for the next or let it go.

    The machine is locked. What the attempt has cost since its time was last booked is returned.
    """
    assert machine.attempt_id is not None  # noqa: S101 - it was found by it
    meter = result.meter or Meter(from_s=machine.metered_s, to_s=machine.metered_s + used_s)
    from_s = max(machine.metered_s, meter.from_s)
    to_s = max(from_s, meter.to_s)
    idle, own = machine.tariff.charge(machine.metered_s, from_s), machine.tariff.charge(from_s, to_s)
    if from_s > machine.metered_s:
        ledger.book(session, machine, idle, from_s=machine.metered_s, to_s=from_s, now=now)
    ledger.book(session, machine, own, from_s=from_s, to_s=to_s, now=now, job_id=job_id, attempt_id=machine.attempt_id)
    kept_s = 0.0
    if reusable and not (result.machine_gone or result.outcome in NOT_AGAIN or machine.state in ON_ITS_WAY):
        kept_s = _keep_s(session, machine, to_s, now)
    fate = {"state": MachineState.IDLE, "idle_at": now}
    if kept_s <= 0:
        fate = {"state": MachineState.RELEASING, "reason": _reason(machine, result)}
    machines.change(
        session, machine.id, **fate, keep_until=now + timedelta(seconds=kept_s), attempt_id=None, metered_s=to_s,
        billed_micros=machine.billed_micros + idle.cost_micros + own.cost_micros,
    )  # fmt: skip
    return own


def _keep_s(session: Session, machine: Machine, metered_s: float, now: datetime) -> float:
    if machine.provision_s <= 0 or machine.tariff.micros_per_gpu_hour <= 0:
        return 0.0
    back_s = window_s(machine.provision_s)
    count = machines.arrivals(session, machine, since=now - timedelta(seconds=back_s))
    arrivals = Arrivals(count=count, window_s=back_s)
    return keep_s(arrivals, tariff=machine.tariff, provision_s=machine.provision_s, metered_s=metered_s)


def _reason(machine: Machine, result: AttemptResult) -> str:
    if machine.state in ON_ITS_WAY:
        return "its attempt ended before it came"
    if result.machine_gone or result.outcome in NOT_AGAIN:
        return result.reason or "it went with its attempt"
    return "a cold start costs less than idling"


def on_its_way(engine: Engine, machine: Machine) -> None:
    """The provider has taken the order."""
    with transaction(engine) as session:
        machines.on_its_way(session, machine.id)


def close(engine: Engine, machine_id: UUID, *, metered_s: float | None, now: datetime) -> bool:
    """A machine is gone, by the provider's word after so many seconds: book what nobody has paid for yet.

    None: the provider knows nothing of it, so nothing more is owed. False where it was closed before.
    """
    with transaction(engine) as session:
        machine = machines.lock(session, machine_id)
        if machine is None or machine.state is MachineState.GONE:
            return False
        end_s = machine.metered_s if metered_s is None else metered_s
        whole = machine.tariff.charged(end_s)
        rest = whole.cost_micros - machine.billed_micros
        if rest or end_s != machine.metered_s:
            billed_s = machine.tariff.charge(machine.metered_s, end_s).billed_s
            bill = Bill(billed_s=billed_s, cost_micros=rest)
            ledger.book(session, machine, bill, from_s=machine.metered_s, to_s=end_s, now=now)
        machines.change(
            session, machine_id, state=MachineState.GONE, gone_at=now, keep_until=None, metered_s=end_s,
            billed_micros=whole.cost_micros, bill_micros=whole.cost_micros,
        )  # fmt: skip
        return True


def is_releasing(engine: Engine, machine_id: UUID) -> bool:
    """Whether the provider is still to be told to take a machine back."""
    with at_once(engine) as session:
        return machines.state_of(session, machine_id) is MachineState.RELEASING


def to_be_released(engine: Engine, backend: str, account: str, *, now: datetime, limit: int = 200) -> list[Machine]:
    """Machines that the provider is to be told to take back: kept long enough, or told so once and not heard."""
    with transaction(engine) as session:
        return list(machines.let_go_expired(session, backend, account, now=now, limit=limit))


def let_go_orphans(engine: Engine, *, now: datetime) -> Sequence[UUID]:
    """Machines whose attempt was ended by a version that knew of no machines are to be released."""
    with transaction(engine) as session:
        return machines.let_go_orphans(session, now=now)


def abandoned(engine: Engine, backend: str, *, but: str, now: datetime) -> list[UUID]:
    """Machines on hosts of which no worker has come to let them go."""
    with transaction(engine) as session:
        return list(machines.abandoned(session, backend, but=but, before=now - ABANDONED))


def standing(engine: Engine, backend: str, account: str) -> list[Machine]:
    """Machines that the provider has said are there, of one account."""
    with transaction(engine) as session:
        return list(machines.standing(session, backend, account))


def forgotten(engine: Engine, keys: list[str]) -> list[str]:
    """Of a provider's machines those that carry our name and that nobody here knows to be rented."""
    with transaction(engine) as session:
        ours = f"pythia-{machines.installation_id(session)}-"
        known = machines.live_keys(session, keys)
    return [key for key in keys if key.startswith(ours) and key not in known]


def given_back_late(
    engine: Engine,
    key: str,
    *,
    backend: str,
    account: str,
    simulated: bool,
    metered_s: float | None,
    now: datetime,
) -> Bill | None:
    """A forgotten machine was given back: book what it has cost since its account was closed here.

    None where it has no row, as nothing says what it cost an hour or whose it was: then its meter alone is kept.
    """
    with transaction(engine) as session:
        machine = machines.lock_by_key(session, key)
        if machine is None:
            machines.note_forgotten(
                session, key, backend=backend, account=account, simulated=simulated, metered_s=metered_s, now=now
            )
            return None
        if machine.state is not MachineState.GONE or metered_s is None or metered_s <= machine.metered_s:
            return Bill(billed_s=0, cost_micros=0)
        rest = machine.tariff.charge(machine.metered_s, metered_s)
        ledger.book(session, machine, rest, from_s=machine.metered_s, to_s=metered_s, now=now)
        micros = machine.billed_micros + rest.cost_micros
        machines.change(session, machine.id, metered_s=metered_s, billed_micros=micros, bill_micros=micros)
        return rest


def vanished(engine: Engine, machine: Machine, *, now: datetime) -> bool:
    """The provider no longer has it, and not because we let it go: whoever uses it is looked at now, and an idle one is
    let go of. False where it has moved on since."""
    with transaction(engine) as session:
        current = machines.lock(session, machine.id)
        if current is None or current.state is not machine.state or current.attempt_id != machine.attempt_id:
            return False
        if current.attempt_id is not None:
            attempts.hurry(session, current.attempt_id, now)
            if (card_id := attempts.card_of(session, current.attempt_id)) is not None:
                attempts.hurry_all_on(session, card_id, now)
        else:
            machines.change(
                session, machine.id, state=MachineState.RELEASING, keep_until=now, reason="the provider took it away"
            )
        return True
