"""The time that relays and workers go by: their machine's, unless that is off from PostgreSQL's.

Leases and signs of life are written by one machine and judged by another. A second is forgiven: between processes of
one machine nothing may ever seem to have happened before its cause.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from scheduler.storage.engine import Engine, time_there

log = structlog.get_logger(__name__)

FORGIVEN = timedelta(seconds=1)
_EVERY_S = 10.0
_NONE = timedelta()


@dataclass(slots=True)
class CommonClock:
    """A machine's clock, corrected by how far PostgreSQL's is ahead of it; where that cannot be asked, as far as it
    was."""

    engine: Engine
    own: Callable[[], datetime]
    ticks: Callable[[], float] = time.monotonic
    _ahead: timedelta = field(default=_NONE, init=False)
    _asked_at: float | None = field(default=None, init=False)

    def __call__(self) -> datetime:
        """Now."""
        now = self.ticks()
        if self._asked_at is None or now - self._asked_at >= _EVERY_S:
            self._asked_at = now
            self._compare()
        return self.own() + self._ahead

    def _compare(self) -> None:
        try:
            before, there, after = self.own(), time_there(self.engine), self.own()
        except Exception as error:
            log.warning("could not compare this machine's clock", error=f"{type(error).__name__}: {error}"[:300])
            return
        ahead = there - (before + (after - before) / 2)
        ahead = _NONE if abs(ahead) <= FORGIVEN + (after - before) else ahead
        if bool(ahead) != bool(self._ahead):
            log.warning("compared this machine's clock with PostgreSQL's", behind_s=round(ahead.total_seconds(), 1))
        self._ahead = ahead
