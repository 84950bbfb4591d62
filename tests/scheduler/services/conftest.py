"""A small installation: a database with some offers, a fixed predictor, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.domain.attempt import AttemptResult, AttemptWork
from scheduler.domain.offers import Offer
from scheduler.domain.spec import JobSpec
from scheduler.domain.states import Outcome
from scheduler.services import attempts, jobs
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import Knowledge, know
from scheduler.services.place_waiting import place_waiting
from scheduler.services.submit import Submitted, submit_job
from scheduler.storage.tables import DEFAULT_TENANT
from scheduler.storage.views import AttemptView, JobView
from tests.support.offers import make_offer
from tests.support.predictor import FixedPredictor

START = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)


@dataclass
class Installation:
    """What a test does to a job, each step at a time it chooses."""

    engine: sa.Engine
    predictor: FixedPredictor = field(default_factory=FixedPredictor)
    now: datetime = START

    @property
    def knowledge(self) -> Knowledge:
        return know(self.predictor)

    def later(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def sell(self, *offers: Offer) -> None:
        put_offers(self.engine, offers)

    def submit(self, spec: JobSpec, **changes: Any) -> Submitted:
        given: dict[str, Any] = {"tenant_id": DEFAULT_TENANT, "now": self.now} | changes
        return submit_job(self.engine, self.knowledge, spec, **given)

    def job(self, job_id: UUID) -> JobView:
        return jobs.get_job(self.engine, DEFAULT_TENANT, job_id)

    def attempts(self, job_id: UUID) -> list[AttemptView]:
        return jobs.list_attempts(self.engine, self.tenant_of(job_id), job_id)

    def tenant_of(self, job_id: UUID) -> UUID:
        with self.engine.connect() as connection:
            query = sa.text("SELECT tenant_id FROM jobs WHERE id = :id")
            found: UUID = connection.execute(query, {"id": job_id}).scalar_one()
            return found

    def event_kinds(self, job_id: UUID) -> list[str]:
        return [event.kind for event in jobs.list_events(self.engine, DEFAULT_TENANT, job_id)]

    def run(self, job_id: UUID) -> AttemptWork:
        """Bring a placed job's attempt to running, and hold its lease for a look."""
        attempt_id = self.attempts(job_id)[-1].id
        work = attempts.claim(self.engine, attempt_id, now=self.now, lease_s=60)
        assert work is not None
        assert attempts.mark_starting(
            self.engine, attempt_id, work.lease_token, {"directory": "d"},
            now=self.now, next_poll_at=self.now + timedelta(seconds=60),
        )  # fmt: skip
        assert attempts.mark_running(
            self.engine, attempt_id, work.lease_token, {"pid": 1}, now=self.now, next_poll_at=self.now
        )
        looked = attempts.take_poll(self.engine, attempt_id, now=self.now, lease_s=60)
        assert looked is not None
        return looked

    def finish(self, work: AttemptWork, outcome: Outcome, **figures: Any) -> bool:
        result = AttemptResult(outcome=outcome, **{"simulated": False, **figures})
        return attempts.finish(self.engine, work.attempt_id, result, now=self.now, lease_token=work.lease_token)

    def place_waiting(self) -> int:
        return place_waiting(self.engine, self.knowledge, now=self.now)

    def reserved(self) -> int:
        return int(self.scalar("SELECT coalesce(sum(reserved_gpus), 0) FROM offers"))

    def doorbells(self) -> Sequence[str]:
        with self.engine.connect() as connection:
            return connection.execute(sa.text("SELECT task FROM outbox ORDER BY id")).scalars().all()

    def rows(self, query: str) -> Sequence[Any]:
        with self.engine.connect() as connection:
            return connection.execute(sa.text(query)).mappings().all()

    def scalar(self, query: str) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(sa.text(query)).scalar()


@pytest.fixture
def installation(engine: sa.Engine) -> Installation:
    """An inventory of one H100 machine and one L40S machine."""
    made = Installation(engine)
    made.sell(make_offer("H100-SXM", 3.0), make_offer("L40S", 1.0))
    return made
