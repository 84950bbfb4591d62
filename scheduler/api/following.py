"""What is new in the jobs that somebody follows: one glance at PostgreSQL for all followers of a process.

A thousand followers that each asked would be thousands of queries a second, and would wait for each other's
connections; so whoever finds the last glance too old takes the next one for everybody.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import anyio
from anyio.to_thread import run_sync

from predictor.errors import PythiaError
from scheduler.services.jobs import Progress, progress_of
from scheduler.storage.engine import Engine

LOOK_S = 0.3
"""How old what followers are told may be."""
MOST_OF_A_TENANT = 400
"""Followers in one process: each holds a socket, of which a process has a thousand by habit."""


class TooManyFollowers(PythiaError):
    """A tenant follows more jobs at once than one process serves."""

    code = "too_many_followers"

    def __init__(self) -> None:
        super().__init__(f"over {MOST_OF_A_TENANT} streams are open already; close some, or read pages without follow")


@dataclass(slots=True)
class Followers:
    """The followers of one process. Only its event loop touches them."""

    _jobs: Counter[UUID] = field(default_factory=Counter, init=False)
    _tenants: Counter[UUID] = field(default_factory=Counter, init=False)
    _seen: Mapping[UUID, Progress] = field(default_factory=dict, init=False)
    _seen_at: float = field(default=float("-inf"), init=False)
    _glancing: anyio.Lock | None = field(default=None, init=False)

    def check(self, tenant_id: UUID) -> None:
        """TooManyFollowers where this tenant may have no more; before a stream begins, while an error can be sent."""
        if self._tenants[tenant_id] >= MOST_OF_A_TENANT:
            raise TooManyFollowers

    @contextmanager
    def following(self, tenant_id: UUID, job_id: UUID) -> Iterator[None]:
        """Somebody follows a job until the block ends."""
        self._jobs[job_id] += 1
        self._tenants[tenant_id] += 1
        try:
            yield
        finally:
            for counter, key in ((self._jobs, job_id), (self._tenants, tenant_id)):
                counter[key] -= 1
                if not counter[key]:
                    del counter[key]

    async def look(self, engine: Engine, job_id: UUID) -> Progress:
        """How far a followed job has come, not longer than `LOOK_S` ago."""
        if self._glancing is None:
            self._glancing = anyio.Lock()
        async with self._glancing:
            if job_id not in self._seen or time.monotonic() - self._seen_at >= LOOK_S:
                self._seen = await run_sync(progress_of, engine, list(self._jobs))
                self._seen_at = time.monotonic()
            # one that was deleted meanwhile prints no more
            return self._seen.get(job_id, Progress(ended=True, last_log_id=0))
