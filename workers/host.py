"""A host that runs jobs itself: offer what is in it, and say now and then that it lives."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from scheduler.services import hosts
from scheduler.storage.engine import Engine
from workers.offer_host import host_gpus

log = structlog.get_logger(__name__)

_BEATS_IN_A_LEASE = 6


@dataclass(slots=True)
class HostHeart:
    """Registers a host and beats until it is told to stop."""

    engine: Engine
    name: str
    account: str
    """What tells it from others of its name."""
    formerly: str
    """The same before hosts had ids."""
    lease_s: float
    """After so long a silence others do without this host."""
    clock: Callable[[], datetime]
    end: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    """Ends this worker gracefully: what of its name is placed belongs to another host now."""
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)

    def register(self) -> None:
        """Offer this host; HostNameTaken where another of its name lives."""
        hosts.register(
            self.engine, self.name, self.account, host_gpus(), formerly=self.formerly, slots=os.cpu_count() or 1,
            now=self.clock(), silent_after_s=self.lease_s,
        )  # fmt: skip
        log.info("registered host", host=self.name)

    def start(self) -> None:
        """Beat in the background: a worker's tasks may take long, and are no sign of life when there are none."""
        threading.Thread(target=self._beat_on, name="host-heart", daemon=True).start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopping.set()

    def beat(self) -> None:
        """One sign of life; an outage of PostgreSQL is no reason to stop."""
        try:
            if not hosts.hear(self.engine, self.name, self.account, now=self.clock()):
                self.register()
        except hosts.HostNameTaken as taken:
            log.error("gave up this host's name", reason=str(taken))
            self.stop()
            self.end()
        except Exception as error:
            log.warning("could not say that this host lives", error=f"{type(error).__name__}: {error}"[:300])
        finally:
            # no connection lies open while the worker forks: two processes on one would mix their answers
            self.engine.dispose()

    def _beat_on(self) -> None:
        while not self._stopping.wait(self.lease_s / _BEATS_IN_A_LEASE):
            self.beat()
