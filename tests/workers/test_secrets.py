"""A command finds its secrets in its environment; they rest on no disk and stand in no log and no row."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.domain.states import JobState, Outcome
from scheduler.services.knowledge import know
from scheduler.services.secrets import delete_secret, put_secret
from scheduler.services.submit import submit_job
from scheduler.services.vault import Vault, new_key
from scheduler.storage.tables import DEFAULT_TENANT
from tests.support.offers import make_custom_spec
from tests.workers.conftest import leave_nothing
from tests.workers.workshop import Workshop
from workers.backends.local import local_backend
from workers.backends.supervised import Supervised
from workers.handing_out import HandingOut

VALUE = "s3cr3t-of-the-house"
PRINTS = (
    "import os, sys; v = os.environ['TOKEN']; print(len(v), v); print('x' + v[:7], end=''); print(v, file=sys.stderr)"
)


@pytest.fixture
def workshop(engine: sa.Engine, tmp_path: Path) -> Iterator[Workshop]:
    """A workshop whose local backend hands out secrets."""
    new_key(tmp_path / "keys")
    vault = Vault(tmp_path / "keys")
    made = Workshop(engine, tmp_path)
    handing = HandingOut(engine=engine, vault=vault, files_cap_bytes=1000)
    backend = local_backend(tmp_path, log_cap_bytes=8192, hand_over=handing.of)
    made.backends["local"] = backend
    put_secret(engine, vault, DEFAULT_TENANT, "house", VALUE, now=made.clock())
    yield made
    leave_nothing(backend)


def submit(workshop: Workshop, script: str = PRINTS) -> UUID:
    spec = make_custom_spec(
        run={"command": [sys.executable, "-c", script], "secrets": {"TOKEN": "house"}},
        constraints={"providers": ["local"]},
    )
    done = submit_job(
        workshop.engine, know(workshop.predictor), spec, tenant_id=DEFAULT_TENANT, now=workshop.clock(),
        idempotency_key="k",
    )  # fmt: skip
    return done.job.id


def test_the_command_has_the_value_and_nothing_else_does(workshop: Workshop) -> None:
    backend = workshop.backends["local"]
    assert isinstance(backend, Supervised)
    seen: list[str] = []
    job_id = submit(workshop, PRINTS + "; import time; time.sleep(0.6)")
    attempt = workshop.attempts(job_id)[0].id
    folder = backend.directory / str(attempt)

    def look() -> bool:
        seen.extend(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
        return workshop.job(job_id).state is JobState.COMPLETED

    workshop.turn_until(look)
    assert workshop.printed(job_id) == f"{len(VALUE)} [secret]\nx{VALUE[:7]}"
    assert workshop.printed(job_id, "stderr") == "[secret]\n"
    assert any("work" in text or "command" in text for text in seen)
    assert not any(VALUE in text for text in seen)
    with workshop.engine.connect() as connection:
        tables = connection.execute(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars()
        for table in list(tables):
            rows = connection.execute(sa.text(f'SELECT t::text FROM "{table}" t')).scalars().all()  # noqa: S608
            assert not any(VALUE in row for row in rows), table


def test_a_job_whose_secret_was_deleted_fails_for_good(workshop: Workshop) -> None:
    job_id = submit(workshop)
    delete_secret(workshop.engine, DEFAULT_TENANT, "house")
    assert workshop.turn_until_over(job_id).state is JobState.FAILED
    (attempt,) = workshop.attempts(job_id)
    assert (attempt.outcome, attempt.reason) == (
        Outcome.FAILED,
        "the secret house was deleted since the job was submitted",
    )


def test_a_backend_that_hands_nothing_over_is_not_asked_to(workshop: Workshop) -> None:
    workshop.backends["local"] = local_backend(workshop.folder, log_cap_bytes=8192)
    job_id = submit(workshop)
    assert workshop.turn_until_over(job_id).state is JobState.FAILED
    assert "gives commands no secrets and no files" in str(workshop.attempts(job_id)[0].reason)
