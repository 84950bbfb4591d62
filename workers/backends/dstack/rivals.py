"""Notice that an attempt has been begun more than once, by what the server still lists of the time around it.

A server lists runs that it has replaced, too. Every run says when it was asked for, after a look that found none of its
name; so whatever else has that name was made since, and by a request that was no later than this run and may not have
been held up for longer than any. That is a short time, and it is read at first sight, once more when it is over, and
at the end. This is remembered by each worker process, and found anew by one that does not know it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from workers.backends.dstack.said import Run
from workers.backends.dstack.server import Server
from workers.backends.dstack.task import HELD_UP, asked_at, attempt_of, forbids

log = structlog.get_logger(__name__)

_CLOCKS = timedelta(seconds=10)
"""How far the clocks of the processes of one server may be apart."""
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Read:
    at: datetime
    found: bool


@dataclass(frozen=True, slots=True)
class Rivals:
    """What one worker process has read of the runs that it sees."""

    _read: OrderedDict[UUID, _Read] = field(default_factory=OrderedDict)

    def has(self, run: Run, server: Server, now: datetime) -> bool:
        """Whether there is, or was, another run of a run's attempt."""
        until = run.submitted_at + HELD_UP + _CLOCKS
        before = self._read.get(run.id)
        if before is not None and (before.found or before.at > until or (now <= until and not run.is_over)):
            return before.found
        found = self._look(run, server, until)
        self._read[run.id] = _Read(now, found)
        while len(self._read) > _REMEMBERED:
            self._read.popitem(last=False)
        return found

    def _look(self, run: Run, server: Server, until: datetime) -> bool:
        for other in server.since((asked_at(run) or run.submitted_at - HELD_UP) - _CLOCKS):
            if other.submitted_at > until:
                return False
            if other.name == run.name and other.id != run.id and attempt_of(other) and not forbids(other):
                both = [str(run.id), str(other.id)]
                log.error("saw two runs of one attempt", attempt_id=str(attempt_of(run)), runs=both)
                return True
        return False
