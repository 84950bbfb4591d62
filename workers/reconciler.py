"""Compare the machines that PostgreSQL knows with those that providers have, and make the two agree.

- One whose keeping has ended, or whose release was asked for and not heard, is given back.
- One that carries our name and that nobody here knows to be rented is given back too: it was forgotten by a crash, or
  by a backup from before it was ordered.
- One that should be there and is not has vanished: whatever ran on it is looked at now, and what it cost is booked.

Machines are written down before they are ordered and closed after they were given back. So a listing that is older than
what PostgreSQL says can only show machines that are known; and what PostgreSQL said before the listing is asked once
more before anything is taken for vanished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from scheduler.domain.machines import Machine
from scheduler.services import pools
from scheduler.storage.engine import Engine
from workers.apart import apart
from workers.backends.base import Backend, ProviderUnavailable

log = structlog.get_logger(__name__)


_LARGEST_SHARE = 1 / 20
"""Of a process's time that goes into comparing: with ten thousand machines a comparison takes most of a second …"""
_NOTICED_S = 0.1
"""… and one that takes less than this may be made as often as it is asked for."""


@dataclass(slots=True)
class Pace:
    """How often a process compares with each provider. What is to be given back never waits for it."""

    _rests_until: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def turn(self, name: str) -> Iterator[bool]:
        """Whether it is time to; the rest after it follows from how long it takes."""
        began = time.monotonic()
        if began < self._rests_until.get(name, began):
            yield False
            return
        yield True
        took_s = time.monotonic() - began
        self._rests_until[name] = began + (took_s / _LARGEST_SHARE if took_s >= _NOTICED_S else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """The machines of an installation, on the backends of this worker."""

    engine: Engine
    backends: Mapping[str, Backend]
    clock: Callable[[], datetime]
    pace: Pace = field(default_factory=Pace)

    def reconcile(self) -> None:
        """Compare with every provider; one that does not answer, or fails, keeps the others waiting for nothing."""
        for name, backend in self.backends.items():
            with apart("could not reconcile machines", backend=name):
                try:
                    self._reconcile(name, backend)
                except ProviderUnavailable as error:
                    log.warning("could not reconcile machines", backend=name, reason=str(error))

    def give_back(self, backend: Backend, machine: Machine) -> None:
        """Give one machine back, and close its account with the provider's last word."""
        word = backend.release(machine.key)
        if pools.close(self.engine, machine.id, metered_s=word.metered_s, now=self.clock()):
            log.info(
                "released machine", machine_id=str(machine.id), gpu_type=machine.gpu_type, metered_s=word.metered_s
            )

    def _give_back_forgotten(self, name: str, backend: Backend, key: str) -> None:
        word = backend.release(key)
        late = pools.given_back_late(
            self.engine, key, backend=name, account=backend.account, simulated=backend.simulated,
            metered_s=word.metered_s, now=self.clock(),
        )  # fmt: skip
        cost_micros = None if late is None else late.cost_micros
        log.warning(
            "released forgotten machine", key=key, backend=name, metered_s=word.metered_s, cost_micros=cost_micros
        )

    def _reconcile(self, name: str, backend: Backend) -> None:
        for machine in pools.to_be_released(self.engine, name, backend.account, now=self.clock()):
            # it stays `releasing`, and is given back the next time
            with apart("could not release machine", machine_id=str(machine.id)), suppress(ProviderUnavailable):
                self.give_back(backend, machine)
        if backend.host_bound:
            for machine_id in pools.abandoned(self.engine, name, but=backend.account, now=self.clock()):
                if pools.close(self.engine, machine_id, metered_s=None, now=self.clock()):
                    log.warning("closed machine of a host that is gone", machine_id=str(machine_id))
        with self.pace.turn(name) as mine:
            if mine:
                self._compare(name, backend)

    def _compare(self, name: str, backend: Backend) -> None:
        expected = pools.standing(self.engine, name, backend.account)
        listed = {report.key for report in backend.list()}
        for key in pools.forgotten(self.engine, sorted(listed)):
            # it is listed until it is gone, and the others wait for nothing
            with apart("could not release forgotten machine", key=key, backend=name):
                try:
                    self._give_back_forgotten(name, backend, key)
                except ProviderUnavailable as error:
                    log.warning("could not release forgotten machine", key=key, backend=name, reason=str(error))
        for machine in expected:
            if machine.key not in listed and pools.vanished(self.engine, machine, now=self.clock()):
                # a batch job is gone when it has ended: its attempt, which is looked at now, says whether all was well
                tell = log.warning if machine.attempt_id is None else log.info
                tell("missed machine", machine_id=str(machine.id), backend=name, state=str(machine.state))
