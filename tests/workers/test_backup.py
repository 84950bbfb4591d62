"""A backup taken while jobs run and restored elsewhere: no job is lost, none runs twice, nothing is billed twice."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from scheduler.domain.states import JobState
from scheduler.embedded.postgres import pg_binary
from scheduler.services.cancel import cancel_job
from scheduler.services.import_offers import put_offers
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.offers import make_offer
from tests.support.postgres import PostgresServer
from tests.workers.conftest import leave_nothing
from tests.workers.test_reconciler import cloud_of, left_commands, scalar, submit
from tests.workers.workshop import Workshop


@pytest.fixture
def databases(embedded_postgres_server: PostgresServer) -> Iterator[tuple[str, str]]:
    """One at the newest schema, and an empty one."""
    with embedded_postgres_server.migrated_database() as first, embedded_postgres_server.empty_database() as second:
        yield first, second


def dump_and_restore(source: str, target: str) -> None:
    """What docs/operations.md says to do."""
    plain = [make_url(url).set(drivername="postgresql").render_as_string(False) for url in (source, target)]
    dumped = subprocess.run([pg_binary("pg_dump"), "--format=custom", plain[0]], capture_output=True, check=True).stdout
    subprocess.run(
        [pg_binary("pg_restore"), "--exit-on-error", "--no-owner", "--dbname", plain[1]], input=dumped, check=True
    )


def test_a_restored_backup_goes_on_where_it_was(databases: tuple[str, str], tmp_path: Path) -> None:
    first, second = (sa.create_engine(url) for url in databases)
    before = Workshop(first, tmp_path, time_scale=1e-3)
    before.backends["simulated"] = replace(cloud_of(before), make_order=left_commands(cloud_of(before)))
    put_offers(first, [make_offer("L40S", 1.0, provider="cloud", provision_s=60.0, capacity_gpus=8)])
    done = submit(before)
    before.turn_until_over(done)
    running = [submit(before, simulation={"runtime_s": runtime_s}) for runtime_s in (2000.0, 2500.0, 1e6)]
    before.turn_until(lambda: all(before.job(job_id).state is JobState.RUNNING for job_id in running))
    local = before.submit(["sh", "-c", f"echo run >> {tmp_path}/ran; sleep 0.3"])
    placed = submit(before)

    dump_and_restore(*databases)

    # what happens after the backup, and is not in it: jobs end, a job comes, its machine is rented
    for job_id in (running[0], local):
        before.turn_until_over(job_id)
    unknown = submit(before, simulation={"runtime_s": 1e6})
    before.turn_until(lambda: before.job(unknown).state is JobState.RUNNING)
    first.dispose()

    after = Workshop(second, tmp_path, time_scale=1e-3, ahead=timedelta(minutes=2))
    after.backends = before.backends
    for job_id in (done, *running[:2], local, placed):
        assert after.turn_until_over(job_id, step_s=0.5).state is JobState.COMPLETED, after.events(job_id)
    assert after.job(running[2]).state is JobState.RUNNING
    assert (tmp_path / "ran").read_text() == "run\n"
    assert scalar(after, "SELECT max(n) FROM (SELECT count(*) AS n FROM attempts GROUP BY job_id) a") == 1
    # the machine that the backup knows nothing of was given back
    live = {report.key for report in cloud_of(after).list()}
    with second.connect() as connection:
        known = set(connection.execute(sa.text("SELECT key FROM machines WHERE state <> 'gone'")).scalars())
    assert live <= known
    assert scalar(after, "SELECT count(*) FROM machine_costs WHERE off_by <> 0") == 0
    twice = "SELECT count(*) FROM (SELECT FROM ledger WHERE kind = 'attempt' GROUP BY attempt_id HAVING count(*) > 1) t"
    assert scalar(after, twice) == 0
    cancel_job(second, DEFAULT_TENANT, running[2], now=after.clock())
    after.turn_until(lambda: not after.rented(), step_s=1)
    assert not cloud_of(after).list()
    leave_nothing(cloud_of(after))
    second.dispose()
