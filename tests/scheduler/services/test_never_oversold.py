"""Eight processes submit at once into three GPUs: never more than three are held at any commit, none afterwards."""

from __future__ import annotations

import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from uuid import UUID

import sqlalchemy as sa

from scheduler.domain.attempt import AttemptResult
from scheduler.domain.states import Outcome
from scheduler.services import attempts
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import know
from scheduler.services.place_waiting import place_waiting
from scheduler.services.submit import submit_job
from scheduler.storage.engine import make_engine, transaction
from scheduler.storage.reservations import imbalances
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.offers import make_offer, make_spec
from tests.support.predictor import FixedPredictor

PROCESSES, JOBS_EACH = 8, 4
JOBS = PROCESSES * JOBS_EACH
GPUS = 3


def _submit(database_url: str, begin: Event) -> None:
    """Submit some jobs, and act as the worker and the placer of whatever is there."""
    engine = make_engine(database_url, pool_size=1)
    knowledge = know(FixedPredictor())
    spec = make_spec(constraints={"gpu_count": 1})
    begin.wait()
    for _ in range(JOBS_EACH):
        submit_job(engine, knowledge, spec, tenant_id=DEFAULT_TENANT, now=datetime.now(UTC))
        _work(engine)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _unfinished(engine):
        place_waiting(engine, knowledge, now=datetime.now(UTC) + timedelta(minutes=2), limit=2)
        _work(engine)


def _work(engine: sa.Engine) -> None:
    now = datetime.now(UTC)
    for attempt_id in _reserved(engine):
        work = attempts.claim(engine, attempt_id, now=now, lease_s=60)
        if work is None:
            continue
        assert attempts.mark_starting(engine, attempt_id, work.lease_token, {}, now=now, next_poll_at=now)
        assert attempts.mark_running(engine, attempt_id, work.lease_token, {}, now=now, next_poll_at=now)
        attempts.finish(engine, attempt_id, AttemptResult(outcome=Outcome.COMPLETED, simulated=False), now=now)


def _reserved(engine: sa.Engine) -> list[UUID]:
    with engine.connect() as connection:
        query = sa.text("SELECT id FROM attempts WHERE state = 'reserved' ORDER BY random() LIMIT 2")
        return list(connection.execute(query).scalars())


def _unfinished(engine: sa.Engine) -> int:
    return _scalar(engine, "SELECT count(*) FROM jobs WHERE ended_at IS NULL")


def _scalar(engine: sa.Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text(query)).scalar_one())


_MOST_AT_ONCE = """
SELECT max(held) FROM (
  SELECT count(*) AS held FROM reservations AS mine
  JOIN reservations AS others ON others.reserved_at <= mine.reserved_at AND others.released_at > mine.reserved_at
  GROUP BY mine.attempt_id
) AS moments"""
"""By the clocks of those who took and gave back, which run a little ahead of their commits."""


def test_three_gpus_are_never_held_four_times(database_url: str) -> None:
    engine = make_engine(database_url)
    # three offers of one GPU: submitters race for each of them and fall through to the next
    put_offers(engine, [make_offer("L40S", 1.0 + n, region=f"r{n}", capacity_gpus=1) for n in range(GPUS)])
    with engine.begin() as connection:
        connection.exec_driver_sql(_LEDGER)
    context = multiprocessing.get_context("spawn")
    begin = context.Event()
    submitters = [context.Process(target=_submit, args=(database_url, begin)) for _ in range(PROCESSES)]
    for submitter in submitters:
        submitter.start()
    begin.set()
    while any(submitter.is_alive() for submitter in submitters):
        assert _scalar(engine, "SELECT max(reserved_gpus - capacity_gpus) FROM offers") <= 0
        time.sleep(0.002)
    assert [submitter.exitcode for submitter in submitters] == [0] * PROCESSES

    assert _scalar(engine, _MOST_AT_ONCE) >= GPUS  # the race was run at the limit
    assert _scalar(engine, "SELECT count(*) FROM tally WHERE held > capacity OR held < 0") == 0
    assert _scalar(engine, "SELECT count(*) FROM tally") == 2 * JOBS  # each job was reserved and released once
    assert _scalar(engine, "SELECT count(*) FROM jobs WHERE state = 'completed'") == JOBS
    assert _scalar(engine, "SELECT count(*) FROM reservations WHERE released_at IS NULL") == 0
    assert _scalar(engine, "SELECT sum(reserved_gpus) FROM offers") == 0
    with transaction(engine) as session:
        assert imbalances(session) == []
    engine.dispose()


# every value that the counter of an offer ever took, written by the database itself in the same transaction
_LEDGER = """
CREATE TABLE tally (offer_id uuid, held bigint, capacity bigint);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO tally VALUES (NEW.id, NEW.reserved_gpus, NEW.capacity_gpus); RETURN NULL; END $$;
CREATE TRIGGER note AFTER UPDATE ON offers FOR EACH ROW EXECUTE FUNCTION note();
"""
