"""Many placers at once, killed at random: capacity and quotas are exact at every commit, and every job is done.

    python -m benchmarks.placers --jobs 10000 --placers 16

Each placer is a process that decides waiting jobs (`place_waiting`) and plays the worker of whatever was placed. The
parent kills one after another with SIGKILL and starts a new one. The database itself watches: triggers that run at
each commit compare every offer's counter with the sum of what is held of it, and a tenant's GPUs with its quota.
The clock of the placers runs twenty times as fast, so that what a dead one held comes free within seconds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from uuid import UUID

import sqlalchemy as sa
import structlog

from scheduler.domain.attempt import AttemptResult
from scheduler.domain.states import Outcome
from scheduler.services import attempts
from scheduler.services.describe import spec_as_sent
from scheduler.services.import_offers import put_offers
from scheduler.services.knowledge import know
from scheduler.services.place_waiting import place_waiting
from scheduler.services.tenants import add_tenant
from scheduler.storage import jobs
from scheduler.storage.engine import Engine, make_engine, transaction
from scheduler.storage.ids import new_id
from scheduler.storage.reservations import imbalances
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.offers import make_offer, make_spec
from tests.support.postgres import running_server
from tests.support.predictor import FixedPredictor

FASTER = 20.0
QUOTA_GPUS = 24
SIZES = (1, 1, 1, 2, 4, 8)
ANYWHERE = 10
"""Of so many jobs one has no region."""

# every value that the counter of an offer ever took at a commit, beside the sum of what was held of it then; and what
# the tenant with a quota held
LEDGER = """
CREATE TABLE tally (offer_id uuid, counted bigint, held bigint, capacity bigint);
CREATE TABLE quota_tally (held bigint);
CREATE FUNCTION note_offer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO tally SELECT o.id, o.reserved_gpus,
    (SELECT coalesce(sum(gpu_count), 0) FROM reservations r WHERE r.offer_id = o.id AND r.released_at IS NULL),
    o.capacity_gpus FROM offers o WHERE o.id = NEW.id;
  RETURN NULL; END $$;
CREATE FUNCTION note_quota() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO quota_tally SELECT coalesce(sum(gpu_count), 0) FROM reservations r
    JOIN tenants t ON t.id = r.tenant_id WHERE r.released_at IS NULL AND t.name = 'narrow';
  RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER note_offer AFTER UPDATE ON offers DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION note_offer();
CREATE CONSTRAINT TRIGGER note_quota AFTER INSERT ON reservations DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION note_quota();
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the database saw."""

    jobs: int
    placers: int
    kills: int
    seconds: float
    jobs_per_s: float
    commits_seen: int
    unbalanced: int
    """Commits after which a counter was not the sum of what was held."""
    oversold: int
    over_quota: int
    most_held_of_quota: int
    unfinished: int
    not_completed: int
    doubled: int
    """Jobs with more than one attempt: none ran out of memory or was lost."""
    left_behind: int
    """Reservations that were never released."""

    @property
    def exact(self) -> bool:
        """Whether everything was as it must be."""
        return not any(
            (self.unbalanced, self.oversold, self.over_quota, self.unfinished, self.not_completed, self.doubled,
             self.left_behind)
        )  # fmt: skip


def run(database_url: str, *, jobs: int, placers: int, kill_every_s: float, offers: int, seed: int) -> Result:
    """Fill a migrated database with jobs, let placers at them, and count what went wrong."""
    random_ = random.Random(seed)  # noqa: S311 - which process is killed is no secret
    engine = make_engine(database_url)
    _fill(engine, jobs, offers, random_)
    # forked, a new placer is there in milliseconds, not in the seconds that its imports take
    context = multiprocessing.get_context("fork")
    know(FixedPredictor())
    clock = _Clock(base=datetime.now(UTC), began=time.time())

    def start() -> BaseProcess:
        process = context.Process(target=_placer, args=(database_url, clock, random_.getrandbits(32)), daemon=True)
        process.start()
        return process

    began = time.monotonic()
    working = [start() for _ in range(placers)]
    kills = 0
    next_kill = began + 2 * kill_every_s  # the first are still being started
    while _scalar(engine, "SELECT count(*) FROM jobs WHERE ended_at IS NULL") and time.monotonic() - began < 3600:
        time.sleep(0.1)
        if time.monotonic() >= next_kill:
            victim = random_.randrange(placers)
            working[victim].kill()
            working[victim].join()
            working[victim] = start()
            kills += 1
            next_kill = time.monotonic() + random_.uniform(0.5, 1.5) * kill_every_s
    took = time.monotonic() - began
    for process in working:  # an Event to end them would stay locked by one that was killed while it looked
        process.kill()
        process.join()
    result = _count(engine, jobs, placers, kills, took)
    engine.dispose()
    return result


def _fill(engine: Engine, many: int, offers: int, random_: random.Random) -> None:
    half = offers // 2
    put_offers(engine, [
        *(make_offer("L40S", 1.0 + n / 100, region=f"r{n}") for n in range(half)),
        *(make_offer("H100-SXM", 3.0 + n / 100, region=f"r{n}") for n in range(offers - half)),
    ])  # fmt: skip
    tenants = [DEFAULT_TENANT, add_tenant(engine, "wide").id, add_tenant(engine, "narrow", max_gpus=QUOTA_GPUS).id]
    with engine.begin() as connection:
        connection.exec_driver_sql(LEDGER)
    # most ask for a region, as data and law have it; the others could go anywhere, and stand in everybody's way
    places: list[list[str]] = [[f"r{n}"] for n in range(half)]
    specs = [
        spec_as_sent(make_spec(constraints={"gpu_count": size, "regions": regions}))
        for size in SIZES for regions in (*places, *([[]] * max(1, half // ANYWHERE)))
    ]  # fmt: skip
    now = datetime.now(UTC)
    with transaction(engine) as session:
        for _ in range(many):
            jobs.add(
                session, job_id=new_id(), tenant_id=random_.choice(tenants), name="placed under fire",
                spec=random_.choice(specs), spec_sha256="", priority=random_.choice((40, 50, 60)),
                max_attempts=1, idempotency_key=None, now=now,
            )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    """One clock for all processes, whenever they were started."""

    base: datetime
    began: float

    def now(self) -> datetime:
        return self.base + timedelta(seconds=FASTER * (time.time() - self.began))


def _placer(database_url: str, clock: _Clock, seed: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    engine = make_engine(database_url, pool_size=1)  # its own: the parent's connections stay the parent's
    knowledge = know(FixedPredictor(gpu_hours=0.1))
    random_ = random.Random(seed)  # noqa: S311 - it chooses which attempt to work on
    while True:
        now = clock.now()
        placed = place_waiting(engine, knowledge, now=now, limit=random_.choice((5, 10, 20)))
        worked = _work(engine, now)
        if not placed and not worked:
            time.sleep(0.05)


def _work(engine: Engine, now: datetime) -> int:
    """Claim what was placed and end it; take over what somebody left who was killed in between.

    Attempts that others work on now are passed by, as a broker gives each doorbell to one worker.
    """
    with engine.connect() as connection:
        query = sa.text(
            "SELECT id, state FROM attempts WHERE state <> 'ended' "
            "AND (state = 'reserved' OR coalesce(lease_expires_at, next_poll_at) <= :now) ORDER BY random() LIMIT 20"
        )
        open_ = [(row.id, row.state) for row in connection.execute(query, {"now": now})]
    return sum(_end(engine, attempt_id, state, now) for attempt_id, state in open_)


def _end(engine: Engine, attempt_id: UUID, state: str, now: datetime) -> bool:
    if state in ("reserved", "claimed"):
        work = attempts.claim(engine, attempt_id, now=now, lease_s=30.0)
        if work is None:
            return False
        # on a slow machine the lease may have gone to another by now
        look_at = now + timedelta(seconds=30)
        if not attempts.mark_starting(engine, attempt_id, work.lease_token, {}, now=now, next_poll_at=look_at):
            return False
        attempts.mark_running(engine, attempt_id, work.lease_token, {}, now=now, next_poll_at=look_at)
    result = AttemptResult(outcome=Outcome.COMPLETED, used_s=60.0, runtime_s=60.0, simulated=True)
    return attempts.finish(engine, attempt_id, result, now=now)


def _count(engine: Engine, jobs: int, placers: int, kills: int, took: float) -> Result:
    with transaction(engine) as session:
        off = len(imbalances(session))
    return Result(
        jobs=jobs, placers=placers, kills=kills, seconds=round(took, 1), jobs_per_s=round(jobs / took, 1),
        commits_seen=_scalar(engine, "SELECT count(*) FROM tally"),
        unbalanced=off + _scalar(engine, "SELECT count(*) FROM tally WHERE counted <> held"),
        oversold=_scalar(engine, "SELECT count(*) FROM tally WHERE counted > capacity OR counted < 0"),
        over_quota=_scalar(engine, "SELECT count(*) FROM quota_tally, tenants WHERE held > max_gpus"),
        most_held_of_quota=_scalar(engine, "SELECT coalesce(max(held), 0) FROM quota_tally"),
        unfinished=_scalar(engine, "SELECT count(*) FROM jobs WHERE ended_at IS NULL"),
        not_completed=_scalar(engine, "SELECT count(*) FROM jobs WHERE ended_at IS NOT NULL AND state <> 'completed'"),
        doubled=_scalar(engine, "SELECT count(*) FROM (SELECT 1 FROM attempts GROUP BY job_id HAVING count(*) > 1) d"),
        left_behind=_scalar(engine, "SELECT count(*) FROM reservations WHERE released_at IS NULL"),
    )  # fmt: skip


def _scalar(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text(query)).scalar_one())


def main() -> int:
    """Run it on a server of its own, and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--placers", type=int, default=16)
    parser.add_argument("--offers", type=int, default=40)
    parser.add_argument("--kill-every", type=float, default=1.0, metavar="S", help="on average")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with running_server("embedded") as server, server.migrated_database() as url:
        result = run(
            url, jobs=given.jobs, placers=given.placers, kill_every_s=given.kill_every, offers=given.offers,
            seed=given.seed,
        )  # fmt: skip
    print(json.dumps({**asdict(result), "seed": given.seed, "exact": result.exact}))
    return 0 if result.exact else 1


if __name__ == "__main__":
    sys.exit(main())
