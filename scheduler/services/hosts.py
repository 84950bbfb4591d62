"""Hosts that run jobs themselves: register what is in one, hear from it, and do without it while it is silent.

Of what a silent host offers nothing is free, so that nothing new is placed there and whoever fits nowhere else waits;
what was placed on it is lost and placed again. When it is heard again, what still runs on it of attempts that are over
is ended by its own worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from predictor.errors import PythiaError
from predictor.hardware import CPU
from scheduler.services.seed import HERE, HostGpus, host_offer, parts_of
from scheduler.services.sweep import lose
from scheduler.storage import hosts, offers
from scheduler.storage.engine import Engine, Session, at_once, transaction
from scheduler.storage.hosts import LOCAL

BATCH = 500


class HostNameTaken(PythiaError):
    """Two hosts would be one."""

    code = "host_name_taken"

    def __init__(self, name: str, account: str) -> None:
        super().__init__(
            f"another host is called {name!r} ({account}): set PYTHIA_HOST_NAME to another name and start again"
        )
        self.name, self.account = name, account


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """What a sweep did about hosts."""

    fell_silent: tuple[str, ...]
    lost: tuple[UUID, ...]
    """Attempts that were theirs."""


def register(
    engine: Engine,
    name: str,
    account: str,
    gpus: Sequence[HostGpus],
    *,
    formerly: str,
    slots: int,
    now: datetime,
    silent_after_s: float,
) -> None:
    """Offer a host's GPUs and processors, as heard now; HostNameTaken while another of its name is heard.

    `account` tells it from others of its name; `formerly` is what did so when an earlier version registered it. Offers
    that are there already keep their prices, and their capacity unless the hardware has changed.
    """
    if name == HERE:
        raise HostNameTaken(name, "the one that the installation began on")
    with transaction(engine) as session:
        known = hosts.lock(session, name)
        heard = known is not None and known.heard_at > now - timedelta(seconds=silent_after_s)
        if known is not None and heard and known.account not in (account, formerly):
            raise HostNameTaken(name, known.account)
        hosts.put(session, name, account, now)
        _offer(session, name, {CPU: slots, **{one.gpu_type: one.count for one in gpus}}, now)
        if known is not None:
            _put_back(session, known)


def hear(engine: Engine, name: str, account: str, *, now: datetime) -> bool:
    """A host has said that it lives; False where nobody knows it, as after a restore from an older backup, or another
    has its name."""
    with at_once(engine) as session:
        if hosts.heard(session, name, account, now):
            return True
    with transaction(engine) as session:
        known = hosts.lock(session, name)
        if known is None or known.account != account:
            return False
        hosts.change(session, name, heard_at=now)
        _put_back(session, known)
        return True


def miss(engine: Engine, *, now: datetime, silent_after_s: float) -> Silence:
    """Take out what silent hosts offer, and give up what was placed on them."""
    before = now - timedelta(seconds=silent_after_s)
    with at_once(engine) as session:
        unheard = hosts.unheard(session, before)
    fell_silent = [name for name in unheard if _take_out(engine, name, before, now)]
    with at_once(engine) as session:
        stranded = hosts.stranded(session, BATCH)
    lost = [
        attempt_id
        for attempt_id, name in stranded
        if lose(engine, attempt_id, now=now, simulated=False, reason=f"its host {name} is silent")
    ]
    return Silence(fell_silent=tuple(fell_silent), lost=tuple(lost))


def _offer(session: Session, name: str, found: dict[str, int], now: datetime) -> None:
    there = {view.offer.gpu_type: view.offer for view in offers.at(session, LOCAL, name)}
    fresh = [gpu_type for gpu_type in found if gpu_type not in there]
    offers.upsert(
        session, [host_offer(gpu_type, found[gpu_type], now.date().isoformat(), region=name) for gpu_type in fresh]
    )
    for gpu_type, offer in there.items():
        count = found.get(gpu_type, 0)
        if count == 0 and offer.capacity_gpus:
            offers.change(session, offer.id, {"capacity_gpus": 0})
        elif count and count != offer.node_gpus:
            parts = list(parts_of(count))
            offers.change(session, offer.id, {"node_gpus": count, "sold_gpus": parts, "capacity_gpus": count})


def _take_out(engine: Engine, name: str, before: datetime, now: datetime) -> bool:
    with transaction(engine) as session:
        known = hosts.lock(session, name)
        if known is None or known.silent_since is not None or known.heard_at >= before:
            return False  # it was heard, or another sweep was here
        hosts.change(session, name, silent_since=now)
        offers.send_away(session, LOCAL, name, away=True)
        return True


def _put_back(session: Session, known: hosts.Host) -> None:
    if known.silent_since is None:
        return
    hosts.change(session, known.name, silent_since=None)
    offers.send_away(session, LOCAL, known.name, away=False)
