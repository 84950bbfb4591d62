"""Decisions are parted by month and dropped by policy; what goes on, and what was measured, stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic import command

from scheduler.domain.errors import IdempotencyConflict
from scheduler.domain.states import JobState, Outcome
from scheduler.services import jobs
from scheduler.services.retention import make_months, prune
from scheduler.services.sweep import sweep
from scheduler.storage import parts
from scheduler.storage.ids import new_id
from scheduler.storage.migrate import alembic_config, upgrade
from scheduler.storage.tables import DEFAULT_TENANT
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_spec

YEAR = timedelta(days=365)
OLD = datetime(2031, 3, 10, tzinfo=UTC)
"""In a month of its own: later than the part that held everything when the months were made."""
NOW = OLD + 2 * YEAR


@pytest.fixture
def then(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """The same installation, years later; ids are of its time."""
    for module in ("placing", "placing_new"):
        monkeypatch.setattr(f"scheduler.services.{module}.new_id", lambda: _id_of(installation.now))
    installation.now = OLD
    make_months(installation.engine, now=OLD)
    return installation


def _id_of(moment: datetime) -> object:
    from uuid import UUID  # noqa: PLC0415

    return UUID(int=parts.first_id(moment).int | new_id().int & (1 << 80) - 1)


def test_ids_are_of_their_month() -> None:
    now = datetime.now(UTC)
    month = parts.month_of(now)
    assert parts.first_id(month) < new_id() < parts.first_id(parts.next_month(month))


def test_months_are_made_ahead_once(installation: Installation) -> None:
    assert make_months(installation.engine, now=NOW) == ("2033-03", "2033-04", "2033-05")
    assert make_months(installation.engine, now=NOW) == ()
    sweep(installation.engine, now=NOW + timedelta(days=31), lost_after_s=60)
    with installation.engine.connect() as connection:
        found = connection.execute(sa.text("SELECT to_regclass('decisions_2033_06')")).scalar()
    assert found == "decisions_2033_06"


def test_an_old_month_goes_with_its_candidates_and_the_attempt_stays(then: Installation) -> None:
    job = then.submit(make_spec(), idempotency_key="k").job
    assert then.scalar("SELECT count(*) FROM decisions_2031_03") == 1
    assert int(str(then.scalar("SELECT count(*) FROM candidates"))) > 1
    then.finish(then.run(job.id), Outcome.COMPLETED, runtime_s=1.0, used_s=1.0)
    assert prune(then.engine, older_than=3 * YEAR, now=NOW).decisions == 0
    done = prune(then.engine, older_than=YEAR, now=NOW)
    assert (done.decisions, done.months[0], done.kept) == (1, "2031-03", ())
    assert then.scalar("SELECT count(*) FROM candidates") == 0
    assert then.job(job.id).state is JobState.COMPLETED
    assert [attempt.outcome for attempt in then.attempts(job.id)] == [Outcome.COMPLETED]
    assert jobs.list_decisions(then.engine, DEFAULT_TENANT, job.id) == []
    assert then.scalar("SELECT count(*) FROM predicted_and_actual") == 1
    with pytest.raises(IdempotencyConflict, match="dropped"):
        then.submit(make_spec(), idempotency_key="k")


def test_the_decision_of_a_job_that_goes_on_is_kept(then: Installation) -> None:
    job = then.submit(make_spec()).job
    done = prune(then.engine, older_than=YEAR, now=NOW)
    assert (done.kept, len(jobs.list_decisions(then.engine, DEFAULT_TENANT, job.id))) == (("2031-03",), 1)


def test_what_was_decided_before_the_months_is_still_there_and_so_it_is_after_going_back(
    database_url: str, installation: Installation
) -> None:
    with installation.engine.connect() as connection:
        command.downgrade(alembic_config(connection), "2026_11_25_07")
        connection.commit()
        connection.execute(sa.text("SELECT set_config('lock_timeout', '5s', false)"))
    before = _insert_decision(installation)
    upgrade(database_url)
    assert installation.scalar("SELECT id FROM decisions") == before
    assert installation.scalar("SELECT decision_id FROM candidates") == before
    with installation.engine.connect() as connection:
        command.downgrade(alembic_config(connection), "2026_11_25_07")
        connection.commit()
    assert installation.scalar("SELECT id FROM decisions") == before
    upgrade(database_url)
    assert installation.scalar("SELECT decision_id FROM candidates") == before


def test_candidates_are_shown_as_rows_and_are_rows_again_after_going_back(
    database_url: str, installation: Installation
) -> None:
    submitted = installation.submit(make_spec())
    shown = _candidates(installation)
    assert len(shown) == len(submitted.decision.candidates) > 1
    with installation.engine.connect() as connection:
        command.downgrade(alembic_config(connection), "2026_11_29_02")
        connection.commit()
    assert installation.scalar("SELECT count(*) FROM candidates WHERE id IS NULL") == 0
    assert _candidates(installation) == shown
    assert installation.scalar("SELECT count(*) FROM why") == len(shown)
    upgrade(database_url)
    assert _candidates(installation) == shown
    assert installation.scalar("SELECT count(*) FROM candidate_rows") == len(shown)
    assert jobs.list_decisions(installation.engine, DEFAULT_TENANT, submitted.job.id) == [submitted.decision]


def test_code_from_before_can_still_store_candidates_as_rows(installation: Installation) -> None:
    decision, further = _insert_decision(installation), new_id()
    with installation.engine.begin() as connection:  # a decision and its candidates in one statement
        connection.execute(
            sa.text(
                "WITH made AS (INSERT INTO decisions (id, tenant_id, job_id, number, kind, reason, objective, spec, "
                "model_version, candidates_considered, rejected_by_reason, prediction_ms, decided_at) "
                "SELECT :id, tenant_id, job_id, 2, kind, reason, objective, spec, model_version, 1, '{}', 1, now() "
                "FROM decisions) "
                "INSERT INTO candidates (id, tenant_id, decision_id, rank, offer_id, provider, region, gpu_type, "
                "gpu_count, layout, spot, micros_per_gpu_hour, price_date, provision_s, verdict, reason, reason_text) "
                "SELECT id, tenant_id, :id, rank, offer_id, provider, region, gpu_type, gpu_count, layout, spot, "
                "micros_per_gpu_hour, price_date, provision_s, verdict, reason, reason_text FROM candidates"
            ),
            {"id": further},
        )
    assert installation.scalar("SELECT array_agg(DISTINCT decision_id) FROM candidates") == [decision, further]
    assert installation.scalar("SELECT count(*) FROM candidate_rows") == 2


def _candidates(installation: Installation) -> list[dict[str, object]]:
    with installation.engine.connect() as connection:
        found = connection.execute(sa.text("SELECT * FROM candidates ORDER BY decision_id, rank")).mappings().all()
    return [{name: value for name, value in row.items() if name != "id"} for row in found]


def _insert_decision(installation: Installation) -> object:
    """A decision as the older schema had it."""
    decision = new_id()
    values = {"job": new_id(), "decision": decision, "tenant": DEFAULT_TENANT, "candidate": new_id()}
    with installation.engine.begin() as connection:
        for statement in (
            (
                "INSERT INTO jobs (id, tenant_id, name, state, spec, priority, max_attempts, spec_sha256) "
                "VALUES (:job, :tenant, 'old', 'infeasible', '{}', 50, 1, '')"
            ),
            (
                "INSERT INTO decisions (id, tenant_id, job_id, number, kind, reason, objective, spec, model_version, "
                "candidates_considered, rejected_by_reason, prediction_ms, decided_at) "
                "VALUES (:decision, :tenant, :job, 1, 'refusal', 'r', 'cost', '{}', 'm', 1, '{}', 1, now())"
            ),
            (
                "INSERT INTO candidates (id, tenant_id, decision_id, rank, offer_id, provider, region, gpu_type, "
                "gpu_count, layout, spot, micros_per_gpu_hour, price_date, provision_s, verdict, reason, reason_text) "
                "VALUES (:candidate, :tenant, :decision, 1, :candidate, 'p', '', 'L40S', 1, '{}', false, 1, "
                "'2026-08-01', 0, 'rejected', 'vram', 't')"
            ),
        ):
            connection.execute(sa.text(statement), values)
    return decision
