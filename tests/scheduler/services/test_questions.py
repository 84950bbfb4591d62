"""Every question in migrations/README.md is answered by the schema as it is."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
import sqlalchemy as sa

from scheduler.domain.states import Outcome
from scheduler.storage.migrate import migrations_dir
from tests.scheduler.services.conftest import Installation
from tests.support.offers import make_spec

BLOCKS = re.findall(r"```sql\n(.*?)```", (migrations_dir() / "README.md").read_text(encoding="utf-8"), re.DOTALL)
QUESTIONS = [query.strip() for block in BLOCKS for query in block.split(";") if query.strip()]

MUST_BE_EMPTY = ("off_by", "released_at IS NULL", "IS DISTINCT FROM l.micros", "a.state = 'ended' AND m.state")
"""Words of the questions that ask for what must not be."""


@pytest.fixture
def completed(installation: Installation) -> Installation:
    """An installation with one real job that ended, and one that waits."""
    job_id = installation.submit(make_spec(constraints={"gpu_count": 8, "gpu_types": ["L40S"]})).job.id
    installation.submit(make_spec(constraints={"gpu_count": 8, "gpu_types": ["L40S"]}))
    installation.finish(installation.run(job_id), Outcome.COMPLETED, runtime_s=500.0, peak_vram_gib=2.0, used_s=600.0)
    return installation


def ask(installation: Installation, query: str) -> list[dict[str, object]]:
    job = installation.scalar("SELECT id FROM jobs ORDER BY id LIMIT 1")
    named = {"job": job} if ":job" in query else {}
    with installation.engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.text(query), named).mappings()]


def test_there_are_questions() -> None:
    assert len(QUESTIONS) > 5


@pytest.mark.parametrize("query", QUESTIONS, ids=range(len(QUESTIONS)))
def test_each_question_has_an_answer(completed: Installation, query: str) -> None:
    nothing_happened = "outside_domain" in query
    must_be_empty = nothing_happened or any(words in query for words in MUST_BE_EMPTY)
    assert (ask(completed, query) == []) == must_be_empty


def test_the_view_of_predicted_and_actual_shows_both(completed: Installation) -> None:
    (row,) = ask(completed, "SELECT * FROM predicted_and_actual")
    assert (row["runtime_p50_s"], row["runtime_s"]) == (450, 500.0)  # one GPU-hour over eight GPUs
    assert row["usd"] == Decimal("1.333333")  # 600 s of eight GPUs at $1
    assert row["unused_gib"] == Decimal("42.99")  # of the 44.99 an L40S offers
